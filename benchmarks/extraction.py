"""Feature extraction: how memory grows with the rows, and what decoding each video once saves.

    .venv/bin/python benchmarks/extraction.py                       # ten minutes on two cores
    .venv/bin/python benchmarks/extraction.py --rows=200,400        # memory over fewer rows
    .venv/bin/python benchmarks/extraction.py --rows=               # decoding alone

Peak memory is that of tools/extract_features.py in a fresh process, softmax of a narrow network as
.npy files, over a dense database whose clips repeat. Decoding is measured on the dense clips of one
video, shuffled: grouped as the tool does it against one clip at a time, without a network. Times
are medians over --repeats rounds, in each of which the two take turns.
"""

import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from pipeline import machine

from r2plus1d.cli import flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.datasets.synthetic import CLASSES, make_scene, render
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.clip import Work
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.encode import write_video
from r2plus1d.video.read_clips import read_clips
from r2plus1d.weights.files import save_pickle

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCHMARK = {
    'rows': (
        flag_types.integers,
        [2000, 20000],
        'measure peak memory over so many rows; none: do not',
    ),
    'videos': (flag_types.integer(1), 40, 'videos whose clips are repeated for those rows'),
    'repeats': (flag_types.integer(1), 3, 'rounds of decoding'),
    'frames': (flag_types.integer(16), 300, 'of the video that is decoded'),
    'clips': (flag_types.integer(1), 250, 'of the video that is decoded'),
    'num_decode_threads': (flag_types.integer(1), 4, 'videos decoded at the same time'),
}
NETWORK = Network('r2d', 10, clip_length=8, num_labels=400, width=0.0625)
FLAGS = ('--model_name=r2d', '--model_depth=10', '--clip_length_rgb=8', '--num_labels=400',
         '--width=0.0625')  # fmt: skip
CLIP = ClipSettings(length=8, decode_type='start')
SIZE, FPS, NUM_FRAMES = (160, 120), 25, 60


def main():
    args = flags.parse(__doc__, BENCHMARK)
    if args.clips > args.frames - CLIP.required + 1:
        raise InputError(f'clips is {args.clips}; {args.frames} frames have fewer starts')
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        decoding(args, pathlib.Path(folder))
        memory(args, pathlib.Path(folder))


def decoding(args, folder):
    """Print the frames decoded and the seconds of grouped extraction and of clip by clip."""
    video = make_video(folder / 'one.mp4', 0, args.frames)
    starts = list(range(args.clips))
    random.Random(0).shuffle(starts)
    write_database(folder / 'one', [(video, start, 0) for start in starts])
    ways = {
        'grouped': lambda: grouped(folder / 'one', args.num_decode_threads),
        'one clip at a time': lambda: one_by_one(video, starts),
    }
    rounds = [[timed(way) for way in ways.values()] for _ in range(args.repeats)]
    print(f'{args.clips} dense clips of {CLIP.length} frames, of one video of {args.frames} frames')
    print(f'{"":<20} {"decoded":>8} {"converted":>9} {"seconds":>8}')
    for name, results in zip(ways, zip(*rounds)):
        (work, _), *_ = results
        seconds = statistics.median(seconds for _, seconds in results)
        print(f'{name:<20} {work.decoded:>8} {work.converted:>9} {seconds:>8.2f}')
    ratio = statistics.median(alone[1] / together[1] for together, alone in rounds)
    print(f'one clip at a time / grouped: {ratio:.1f} (median of {args.repeats})')


def grouped(database, threads):
    needs = RecordNeeds(num_labels=None, use_local_file=True)
    with DatabaseSource(database, CLIP, needs, by_video=True) as reader:
        samples = reader.samples(threads=threads, batch=32)
        return sum((sample.clips.work for sample in samples), Work())


def one_by_one(video, starts):
    clips = (read_clips(video, CLIP, start_frame=start) for start in starts)
    return sum((clip.work for clip in clips), Work())


def memory(args, folder):
    """Print the peak memory over each number of rows."""
    if not args.rows:
        return
    videos = [make_video(folder / f'{i}.mp4', i, NUM_FRAMES) for i in range(args.videos)]
    save_pickle(folder / 'weights.pkl', random_parameters(NETWORK, 0))
    print(f'{"rows":>8} {"peak MB":>8} {"of the first":>12} {"seconds":>8}')
    first = None
    for rows in args.rows:
        peak, seconds = extraction(folder, videos, rows)
        first = first or peak
        print(f'{rows:>8} {peak / 1e6:>8.0f} {peak / first:>12.3f} {seconds:>8.0f}')


def extraction(folder, videos, rows):
    """(peak resident bytes, seconds) of one run of the tool over `rows` clips of `videos`."""
    rng, database = random.Random(0), folder / f'lmdb{rows}'
    write_database(database, [
        (videos[number], rng.randrange(NUM_FRAMES - CLIP.required + 1), number)
        for number in (rng.randrange(len(videos)) for _ in range(rows))
    ])  # fmt: skip
    output = folder / f'features{rows}'
    command = [
        sys.executable, str(ROOT / 'tools' / 'extract_features.py'), *FLAGS,
        f'--test_data={database}', f'--load_model_path={folder / "weights.pkl"}',
        f'--output_path={output}', '--output_format=npy', '--features=softmax',
        '--use_local_file=1',
    ]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise InputError(f'extract_features failed; run it: {" ".join(command)}')
    assert len(np.load(output / 'softmax.npy', 'r')) == rows
    return usage.ru_maxrss * 1024, time.perf_counter() - began


def make_video(path, seed, num_frames):
    label = CLASSES[seed % len(CLASSES)]
    scene = make_scene(label, np.random.default_rng(seed), size=SIZE, num_frames=num_frames)
    write_video(path, render(scene), fps=FPS)
    return path


def write_database(path, clips):
    """Write a dense database of (path of a video, start frame, video id)."""
    with DatabaseWriter(path, len(clips)) as writer:
        for video, start, video_id in clips:
            writer.add(Record(os.fsencode(video), (0,), start, video_id))


def timed(work):
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


if __name__ == '__main__':
    run(main)
