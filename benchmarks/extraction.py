"""Feature extraction: what decoding each video once saves. Ten seconds on two cores.

    .venv/bin/python benchmarks/extraction.py

The dense clips of one video are read in a random order, without a network: grouped, as
tools/extract_features.py does it, and one clip at a time. Times are medians over --repeats rounds,
in each of which the two take turns.
"""

import pathlib
import random
import statistics
import tempfile

import machine
import videos

from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.clip import Work
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.read_clips import read_clips

BENCHMARK = {
    'repeats': (flag_types.integer(1), 3, 'rounds'),
    'frames': (flag_types.integer(16), 300, 'of the video'),
    'clips': (flag_types.integer(1), 250, 'of the video'),
}
CLIP = ClipSettings(length=8, decode_type='start')
THREADS = 4


def main():
    args = command_line.parse(__doc__, BENCHMARK)
    if args.clips > args.frames - CLIP.required + 1:
        raise InputError(f'clips is {args.clips}; {args.frames} frames have fewer starts')
    starts = list(range(args.clips))
    random.Random(0).shuffle(starts)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        (video,) = videos.write_videos(folder, 1, size=(160, 120), num_frames=args.frames, fps=25)
        database = videos.write_clip_database(folder / 'lmdb', [(video, s, 0) for s in starts])
        ways = {
            'grouped': lambda: grouped(database),
            'one clip at a time': lambda: one_by_one(video, starts),
        }
        rounds = [[machine.timed(way) for way in ways.values()] for _ in range(args.repeats)]
    print(machine.description())
    print(f'{args.clips} dense clips of {CLIP.length} frames, of one video of {args.frames} frames')
    print(f'{"":<20} {"decoded":>8} {"converted":>9} {"seconds":>8}')
    for name, results in zip(ways, zip(*rounds)):
        work = results[0][0]
        seconds = statistics.median(seconds for _, seconds in results)
        print(f'{name:<20} {work.decoded:>8} {work.converted:>9} {seconds:>8.2f}')
    ratio = statistics.median(alone[1] / together[1] for together, alone in rounds)
    print(f'one clip at a time / grouped: {ratio:.1f} (median of {args.repeats})')


def grouped(database):
    needs = RecordNeeds(num_labels=None, use_local_file=True)
    with DatabaseSource(database, CLIP, needs, by_video=True) as reader:
        samples = reader.samples(threads=THREADS, batch=32)
        return sum((sample.clips.work for sample in samples), Work())


def one_by_one(video, starts):
    clips = (read_clips(video, CLIP, start_frame=start) for start in starts)
    return sum((clip.work for clip in clips), Work())


if __name__ == '__main__':
    run(main)
