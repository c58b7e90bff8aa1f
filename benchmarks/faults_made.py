"""Sound files of every kind that this project reads, small ones, to be damaged.

Each function writes files of one kind into a folder and returns their paths.
"""

import dataclasses
import importlib.util
import itertools
import pickle

import numpy as np

from r2plus1d.datasets.checksums import CHECKSUM_FILE
from r2plus1d.datasets.database import DATA_FILE
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.lists import Row, write_rows
from r2plus1d.datasets.record import Record
from r2plus1d.datasets.synthetic import CLASSES, make_scene, render
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.video.encode import write_video
from r2plus1d.weights import card
from r2plus1d.weights.files import save_minidb, save_pickle

SIZE, NUM_FRAMES, FPS = (176, 144), 24, 25
NETWORK = Network('r2d', 10, clip_length=8, num_labels=5, width=0.03125)
NUM_PATHS = 1000
NAMES = ('archery', 'bowling', 'canoeing', 'diving', 'eating')
PLAIN, LATER = {'bf': 0, 'g': 8}, {'bf': 2, 'g': 8}  # without and with B-frames
FRAGMENTS = {'movflags': 'frag_keyframe+empty_moov'}
# container: (codec, options) of each file
VIDEOS = {
    'mp4': [
        ('libx264', PLAIN),
        ('libx264', LATER),
        ('libx264', {**LATER, 'movflags': 'faststart'}),
        ('libx264', {**PLAIN, **FRAGMENTS}),
        ('libx265', {'x265-params': 'log-level=none:pools=1'}),
        ('mpeg4', LATER),
    ],
    'mov': [('libx264', LATER), ('prores', {}), ('mjpeg', {}), ('qtrle', {})],
    'mkv': [('libx264', LATER), ('ffv1', {}), ('mpeg4', LATER)],
    'webm': [('libvpx-vp9', {'lag-in-frames': 8}), ('libvpx', {})],
    'avi': [('libx264', LATER), ('mpeg4', LATER), ('mjpeg', {}), ('huffyuv', {})],
    'flv': [('libx264', LATER), ('flv', {})],
    'mpegts': [('libx264', LATER), ('mpeg2video', LATER), ('mpeg4', PLAIN)],
    'mpeg': [('mpeg2video', LATER), ('mpeg1video', PLAIN)],
    'gif': [('gif', {})],
    '3gp': [('h263', {}), ('libx264', PLAIN)],
    'nut': [('ffv1', {}), ('libx264', LATER)],
    'asf': [('wmv2', {}), ('mpeg4', PLAIN)],
    'mxf': [('mpeg2video', {'bf': 2, 'g': 8})],
    'ogg': [('libtheora', {}), ('libvpx', {})],
    'ivf': [('libvpx', {})],
    'apng': [('apng', {})],
    'swf': [('flv', {})],
    'rm': [('rv20', {})],
    'h264': [('libx264', LATER)],
    'yuv4mpegpipe': [('rawvideo', {})],
}
FORMATS = {
    'prores': 'yuv422p10le', 'mjpeg': 'yuvj420p', 'huffyuv': 'yuv422p', 'gif': 'rgb8',
    'qtrle': 'rgb24', 'apng': 'rgb24',
}  # fmt: skip


def write_videos(folder, container):
    """Videos of a container, one for each codec that is installed; none if there is none."""
    paths = []
    for number, (codec, options) in enumerate(VIDEOS[container]):
        path, rng = folder / f'{container}{number}', np.random.default_rng(number)
        scene = make_scene(CLASSES[number], rng, size=SIZE, num_frames=NUM_FRAMES)
        settings = {'options': options, 'pixel_format': FORMATS.get(codec, 'yuv420p')}
        try:
            write_video(path, render(scene), fps=FPS, codec=codec, container=container, **settings)
        except InputError as error:
            if 'no such video encoder' not in str(error):
                raise
            continue
        paths.append(path)
    return paths


def write_weights(folder, ending):
    """Files of weights, with a card and, where the format allows, without one."""
    parameters = random_parameters(NETWORK, 0)
    said = card.describe(NETWORK, Input(length=8), class_names=NAMES)
    said.update(card.of_network(NETWORK, batch_norm_folded=False))
    paths = [folder / f'{name}.{ending}' for name in ('card', 'bare')]
    if ending == 'onnx':
        return _write_onnx(paths[0], parameters, said) if importlib.util.find_spec('onnx') else []
    save = save_pickle if ending == 'pkl' else save_minidb
    for path, text in zip(paths, (said, None)):
        save(path, parameters, text)
    return paths


def write_model(folder, name):
    """A file, or the files of a folder, that one model is saved as."""
    network = dataclasses.replace(NETWORK, architecture='r3d', depth=10)
    model = Model(network, Input(length=8), random_parameters(network, 0), NAMES)
    model.save(folder / name)
    settings = sorted((folder / name).glob('*.json'))
    return settings or [folder / name]


def _write_onnx(path, parameters, said):
    from r2plus1d.weights import onnx_file

    onnx_file.save(onnx_file.export(NETWORK, parameters, ['softmax'], metadata=said), path)
    return [path]


def feature_arrays():
    """Of 40 clips."""
    rng, numbers = np.random.default_rng(0), np.arange(40)
    softmax = rng.dirichlet(np.ones(len(NAMES)), 40).astype(np.float32)
    return {'softmax': softmax, 'label': numbers % len(NAMES), 'video_id': numbers}


def write_features(folder):
    path = folder / 'features.pkl'
    path.write_bytes(pickle.dumps(feature_arrays(), protocol=2))
    return [path]


def write_feature_folder(folder):
    """The arrays of a feature folder, each in its file."""
    for name, array in feature_arrays().items():
        np.save(folder / f'{name}.npy', array)
    return sorted(folder.glob('*.npy'))


def write_lists(folder):
    """Lists of videos that are there: plain, and with names that need quotes."""
    videos = [folder / f'{name}.mp4' for name in ('a', 'b', 'one, two', 'd "e"')]
    for video in videos:
        video.write_bytes(b'\0')
    paths = []
    for count in (2, 4):
        rows = [Row(str(videos[i % count]), (i % 5,), 8 * i, i // 4) for i in range(24)]
        paths.append(folder / f'list{count}.csv')
        write_rows(paths[-1], rows)
    return paths


def write_labels(folder):
    path = folder / 'labels.txt'
    path.write_text('\n'.join(NAMES) + '\n')
    return [path]


def write_kinetics(folder):
    """Annotations of Kinetics."""
    path = folder / 'kinetics.csv'
    rows = (f'{NAMES[i % 5]},video{i:06d},{i},{i + 10}' for i in range(24))
    path.write_text('\n'.join(['label,youtube_id,time_start,time_end', *rows]) + '\n')
    return [path]


def write_ucf101(folder):
    """Annotations of UCF101: the classes and one list."""
    index, path = folder / 'classInd.txt', folder / 'trainlist01.txt'
    index.write_text(''.join(itertools.starmap('{} {}\n'.format, enumerate(NAMES, 1))))
    path.write_text(''.join(f'{NAMES[i % 5]}/v_{i:02d}.avi {i % 5 + 1}\n' for i in range(24)))
    return [index, path]


def write_database(folder):
    """A database of videos: what LMDB wrote and the checksums beside it."""
    videos = write_videos(folder, 'mp4')[:2] * 8
    with DatabaseWriter(folder / 'database', len(videos)) as writer:
        for number, video in enumerate(videos):
            writer.add(Record(video.read_bytes(), (number % 5,), video_id=number))
    return [folder / 'database' / name for name in (DATA_FILE, CHECKSUM_FILE)]


def write_path_database(folder):
    """A database of so many paths that its tree has branches."""
    with DatabaseWriter(folder / 'database', NUM_PATHS) as writer:
        for number in range(NUM_PATHS):
            path = f'/videos/{number // 7:06d}.mp4'.encode()
            writer.add(Record(path, (number % 5,), number % 7 * 8, number // 7))
    return [folder / 'database' / name for name in (DATA_FILE, CHECKSUM_FILE)]
