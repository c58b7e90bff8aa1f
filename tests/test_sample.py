"""The bundled sample and the encoder that it is made with."""

import csv
import dataclasses
import io
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from r2plus1d.datasets import sample, synthetic
from r2plus1d.errors import InputError
from r2plus1d.video.encode import write_video

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOL = ROOT / 'data' / 'create_sample.py'
FORMATS = [
    ('mp4', 'libx264', 'yuv420p', 25),
    ('mov', 'libx264', 'yuv444p', Fraction(30000, 1001)),
    ('mkv', 'libx264', 'yuv420p', 24),
    ('avi', 'mpeg4', 'yuv420p', 15),
    ('webm', 'libvpx', 'yuv420p', 30),
]


def gradients(count, height=48, width=64):
    """Frames of which each is another, smooth and of moderate colours."""
    y, x = np.mgrid[:height, :width]
    for number in range(count):
        yield np.stack([80 + x + 2 * number, 60 + y, 200 - x], axis=-1).astype(np.uint8)


def read(source):
    """(frames, frames a second, pixel format) of a video."""
    with av.open(source if hasattr(source, 'read') else str(source)) as file:
        stream = file.streams.video[0]
        frames = [frame.to_ndarray(format='rgb24') for frame in file.decode(stream)]
        return np.stack(frames), stream.average_rate, stream.codec_context.pix_fmt


def encoded(frames, **settings):
    file = io.BytesIO()
    write_video(file, frames, **{'fps': 25, 'container': 'mp4', **settings})
    return file.getvalue()


# Encoding


@pytest.mark.parametrize('container, codec, pixel_format, fps', FORMATS)
def test_a_video_has_the_frames_written(container, codec, pixel_format, fps, tmp_path):
    path = tmp_path / f'video.{container}'
    written = write_video(path, gradients(12), fps=fps, codec=codec, pixel_format=pixel_format)
    frames, rate, stored = read(path)
    assert (written, len(frames), rate, stored) == (12, 12, fps, pixel_format)
    assert np.abs(frames.astype(int) - list(gradients(12))).mean() < 4


@pytest.mark.parametrize(
    'codec, container, pixel_format', [('ffv1', 'mkv', 'bgr0'), ('rawvideo', 'avi', 'bgr24')]
)
def test_lossless_codecs_keep_every_pixel(codec, container, pixel_format):
    settings = {'codec': codec, 'container': container, 'pixel_format': pixel_format}
    frames, _, _ = read(io.BytesIO(encoded(gradients(3, 47, 63), **settings)))
    np.testing.assert_array_equal(frames, list(gradients(3, 47, 63)))


def test_a_container_without_options_of_its_own():
    frames, _, _ = read(io.BytesIO(encoded(gradients(3), codec='libvpx', container='ivf')))
    assert len(frames) == 3


def test_odd_sizes_need_a_format_without_subsampling():
    with pytest.raises(InputError, match=r'63 x 47 \(an odd size may need yuv444p\)'):
        encoded(gradients(3, 47, 63))
    frames, _, _ = read(io.BytesIO(encoded(gradients(3, 47, 63), pixel_format='yuv444p')))
    assert frames.shape == (3, 47, 63, 3)


def test_options_reach_the_encoder_and_the_container(tmp_path):
    path = tmp_path / 'video.mp4'
    options = {'g': 6, 'bf': 2, 'sc_threshold': 0, 'movflags': 'faststart'}
    write_video(path, gradients(12), fps=25, options=options)
    content = path.read_bytes()
    assert content.index(b'moov') < content.index(b'mdat')
    with av.open(str(path)) as file:
        packets = [packet for packet in file.demux(video=0) if packet.size]
    assert [packet.is_keyframe for packet in packets] == [True, *[False] * 5] * 2
    assert [packet.pts for packet in packets] != sorted(packet.pts for packet in packets)


def test_frames_are_converted_to_what_the_tags_say():
    frame = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    for tags, stored in [
        ({}, (96, 126, 195)),
        ({'colorspace': 'bt709', 'color_range': 'tv'}, (83, 134, 196)),
        ({'color_range': 'pc'}, (94, 126, 204)),
    ]:
        with av.open(io.BytesIO(encoded([frame] * 3, options={'crf': 1, **tags}))) as file:
            planes = next(file.decode(video=0)).planes
            found = [np.frombuffer(plane, np.uint8)[0] for plane in planes]
        np.testing.assert_allclose(found, stored, atol=1)


def test_the_same_frames_give_the_same_bytes():
    scene, rate = sample.video_scene('clockwise', 3, seed=0, split='test')
    frames = list(synthetic.render(scene))
    assert len({encoded(frames, fps=rate, options={'bf': 3}) for _ in range(4)}) == 1


def test_a_file_appears_only_when_complete(tmp_path):
    path = tmp_path / 'video.mp4'

    def failing():
        yield from gradients(5)
        assert not path.exists()
        raise RuntimeError('no more frames')

    with pytest.raises(RuntimeError, match='no more frames'):
        write_video(path, failing(), fps=25)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'changes, message',
    [
        ({'frames': []}, r'video.mp4: a video needs at least one frame, there are 0'),
        ({'frames': [np.zeros((8, 8, 3))]}, r'frame 0 is float64 of \(8, 8, 3\)'),
        ({'frames': [np.zeros((8, 8), np.uint8)]}, r'frame 0 is uint8 of \(8, 8\)'),
        ({'frames': [*gradients(1), *gradients(1, 8, 8)]}, r'frame 1 is uint8 of \(8, 8, 3\)'),
        ({'codec': 'x999'}, r'video.mp4: cannot encode x999.*no such video encoder'),
        ({'codec': 'aac'}, 'cannot encode aac.*no such video encoder'),
        ({'pixel_format': 'yuv999'}, "not a pixel format: 'yuv999'"),
        ({'container': 'xyz'}, "no container format 'xyz'"),
        ({'container': 'webm'}, "'webm' format does not support 'libx264'"),
        ({'fps': 0}, '0 frames a second'),
        ({'options': {'crff': 20}}, 'unknown option crff'),
        ({'options': {'crf': 'good'}}, 'Invalid argument'),
    ],
)
def test_what_cannot_be_encoded_is_refused(changes, message, tmp_path):
    settings = {'frames': gradients(3), 'fps': 25, **changes}
    with pytest.raises(InputError, match=message):
        write_video(tmp_path / 'video.mp4', **settings)
    assert list(tmp_path.iterdir()) == []


def test_a_file_object_needs_a_container():
    with pytest.raises(InputError, match='name the container'):
        write_video(io.BytesIO(), gradients(3), fps=25)


# What is drawn


def scene_of(label, seed, num_frames=10):
    rng = np.random.default_rng(seed)
    return synthetic.make_scene(label, rng, size=(171, 128), num_frames=num_frames)


def render_some(scene, count):
    return list(itertools.islice(synthetic.render(scene), count))


def measured_motion(frames, states):
    """Medians over a clip: (pixels right, pixels down, radians clockwise, growth) a frame.

    An affine map is fitted to the optical flow on the object between each two frames.
    """
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    found = []
    for first, second, state in zip(grey, grey[1:], states):
        flow = cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 5, 5, 1.1, 0)
        x, y, _, diameter = synthetic.pose(state, first.shape[::-1])
        rows, columns = np.mgrid[: first.shape[0], : first.shape[1]]
        on_object = np.hypot(columns - x, rows - y) < 0.35 * diameter
        places = np.stack([columns - x, rows - y, np.ones_like(rows)], -1)[on_object]
        (xx, xy), (yx, yy), (right, down) = np.linalg.lstsq(places, flow[on_object], rcond=None)[0]
        found.append([right, down, (xy - yx) / 2, (xx + yy) / 2])
    return np.median(found, axis=0)


@pytest.mark.parametrize('label', synthetic.CLASSES)
def test_each_class_moves_as_it_is_named(label):
    slowest = [1.5, 1.5, np.radians(4), 0.02]
    expected = {
        'left': (0, -1), 'right': (0, +1), 'up': (1, -1), 'down': (1, +1),
        'clockwise': (2, +1), 'counterclockwise': (2, -1), 'zoom_in': (3, +1), 'zoom_out': (3, -1),
    }  # fmt: skip
    for seed in range(6):
        scene = scene_of(label, seed)
        motion = measured_motion(list(synthetic.render(scene, noisy=False)), scene.path) / slowest
        strongest = np.abs(motion).argmax()
        assert (strongest, np.sign(motion[strongest])) == expected[label], (seed, motion)
        assert 0.6 < abs(motion[strongest]) < 3


@pytest.mark.parametrize(
    'label, opposite',
    [('left', 'right'), ('up', 'down'), ('clockwise', 'counterclockwise'), ('zoom_in', 'zoom_out')],
)
def test_a_class_played_backwards_is_its_opposite(label, opposite):
    scene = scene_of(label, 3, num_frames=30)
    speed = synthetic.random_speed(label, np.random.default_rng(5))
    forwards = synthetic.state_path(label, scene.path[0], speed, 30)
    backwards = synthetic.state_path(opposite, forwards[-1], speed, 30)
    np.testing.assert_allclose(forwards[::-1], backwards, atol=1e-9)
    one = dataclasses.replace(scene, path=forwards)
    other = dataclasses.replace(
        scene,
        path=backwards,
        camera=scene.camera[::-1],
        drift=scene.drift[::-1],
        noise_at=scene.noise_at[::-1],
    )
    frames = zip(synthetic.render(one), reversed(list(synthetic.render(other))))
    assert max(np.abs(frame.astype(int) - same).max() for frame, same in frames) <= 1


@pytest.mark.parametrize('label', synthetic.CLASSES)
def test_states_are_uniform_in_every_class(label):
    rng = np.random.default_rng(1)
    states = []
    for _ in range(2000):
        start, speed = rng.uniform(size=4), synthetic.random_speed(label, rng)
        states.append(synthetic.state_path(label, start, speed, 25)[-1])
    states = np.sort(states, axis=0)
    distance = np.abs(states - (np.arange(2000) + 0.5)[:, None] / 2000).max(axis=0)
    assert (distance < 1.95 / np.sqrt(2000)).all()  # Kolmogorov-Smirnov at 0.1 percent


def test_the_videos_of_a_number_differ_only_in_motion():
    for number in range(3):
        made = [
            sample.video_scene(label, number, seed=0, split='test') for label in synthetic.CLASSES
        ]
        assert len({(scene.size, rate, len(scene.path)) for scene, rate in made}) == 1
        frames = [render_some(scene, 5) for scene, _ in made]
        assert len({first.tobytes() for first, *_ in frames}) == 1
        assert len({last.tobytes() for *_, last in frames}) == len(synthetic.CLASSES)


def test_splits_share_no_video():
    test, _ = sample.video_scene('left', 0, seed=0, split='test')
    train, _ = sample.video_scene('left', 0, seed=0, split='train')
    assert not np.array_equal(test.texture, train.texture)


# The data set


def snapshot(folder):
    files = [path for path in folder.rglob('*') if path.is_file()]
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def contents(folder):
    return {path.relative_to(folder): data for path, (_, data) in snapshot(folder).items()}


def create(output, *flags):
    command = [sys.executable, TOOL, f'--output={output}', *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A sample of three videos a class, made by the tool."""
    output = tmp_path_factory.mktemp('sample')
    done = create(output, '--videos_per_class=3')
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'24 videos of 8 classes in {output}\n'
    return output


def test_the_list_names_every_video(small):
    assert (small / 'labels.txt').read_text().split() == list(synthetic.CLASSES)
    with (small / 'test_list.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ['org_video', 'label', 'video_id']
    assert [int(row['video_id']) for row in rows] == list(range(24))
    for row in rows:
        path = pathlib.Path(row['org_video'])
        label = synthetic.CLASSES[int(row['label'])]
        assert path.is_absolute() and path.is_file() and path.name.startswith(f'{label}_')
    videos = [path.name for path in (small / 'videos' / 'test').glob('*_*')]
    assert sorted(videos) == sorted(pathlib.Path(row['org_video']).name for row in rows)


def test_videos_are_what_was_drawn(small):
    for number, label in enumerate(['left', 'counterclockwise', 'zoom_in']):
        scene, rate = sample.video_scene(label, number, seed=0, split='test')
        path = small / 'videos' / 'test' / sample.video_name(label, number)
        frames, found_rate, _ = read(path)
        width, height = scene.size
        assert found_rate == rate
        assert frames.shape == (len(scene.path), height, width, 3)
        assert len(frames) >= 40 and 2 <= len(frames) / rate <= 4
        drawn = list(synthetic.render(scene, noisy=False))
        assert np.abs(frames.astype(int) - drawn).mean() < 5


def test_running_again_touches_nothing(small):
    before = snapshot(small)
    done = create(small, '--videos_per_class=3')
    assert (done.returncode, done.stderr) == (0, '')
    assert snapshot(small) == before


def test_another_seed_replaces_the_videos(tmp_path, monkeypatch):
    monkeypatch.setattr(sample, 'MIN_FRAMES', 3)
    monkeypatch.setattr(sample, 'SECONDS', (0.1, 0.2))
    sample.create_split(tmp_path, 'test', seed=0, videos_per_class=1)
    before = contents(tmp_path / 'videos')
    sample.create_split(tmp_path, 'test', seed=1, videos_per_class=1)
    after = contents(tmp_path / 'videos')
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def test_a_killed_run_is_completed_by_the_next(small, tmp_path):
    folder = tmp_path / 'videos' / 'test'
    command = [sys.executable, TOOL, f'--output={tmp_path}', '--videos_per_class=3']
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as running:
        while len(list(folder.glob('left_*'))) == 0 and running.poll() is None:
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL
    finished = {path: path.stat().st_mtime_ns for path in folder.glob('[!.]*_*')}
    assert 1 <= len(finished) < 24 and not (tmp_path / 'test_list.csv').exists()
    for partial in folder.glob('.*'):
        os.utime(partial, (0, 0))  # as if the run had been killed long ago
    assert create(tmp_path, '--videos_per_class=3').returncode == 0
    assert contents(tmp_path / 'videos') == contents(small / 'videos')
    assert finished.items() <= {p: p.stat().st_mtime_ns for p in folder.glob('[!.]*_*')}.items()


@pytest.mark.parametrize('flag', ['--videos_per_class=0', '--split=dev', '--seed=-1'])
def test_wrong_flags_are_refused(flag, tmp_path):
    done = create(tmp_path, flag)
    assert done.returncode == 2
    assert flag.split('=')[1] in done.stderr and done.stderr.count('\n') == 1
