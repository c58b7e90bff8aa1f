#!/usr/bin/env python3
r"""Writes CSV lists of the clips that dense prediction looks at, from a CSV list of videos.

Example:
    .venv/bin/python data/create_dense_list.py \
        --list_file=data/sample/test_list.csv \
        --clip_length=9 --output=output/dense
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.datasets import dense_list, lists
from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_csv
from r2plus1d.results.progress import Progress

log = logging.getLogger(__name__)

OPTIONS = {
    'list_file': (pathlib.Path, flags.REQUIRED, 'CSV list of org_video,label and video_id'),
    'output': (pathlib.Path, flags.REQUIRED, 'prefix: OUTPUT_1.csv, OUTPUT_2.csv ... are made'),
    'clip_length': (
        flag_types.integer(1),
        32,
        'frames of the video that a clip needs: (frames of the clip - 1) x sampling rate + 1, and '
        'the frame gap more for optical flow; 32 flow frames at rate 1 with gap 1 need 33',
    ),
    'stride': (flag_types.integer(1), 8, "frames from one clip's first to the next one's"),
    'num_splits': (flag_types.integer(1), 10, 'lists; all clips of a video are in the same one'),
    'use_truncated': (
        flag_types.bit,
        False,
        '1: take clips of what a file that was cut short still has, and warn',
    ),
    'on_error': (
        flag_types.one_of('fail', 'continue'),
        'fail',
        'what rows of the list that cannot be used end: the run, before anything is written, or '
        'nothing; they count as videos that fail then',
    ),
    'num_threads': (
        flag_types.integer(1, flag_types.MOST_THREADS),
        4,
        'videos read at the same time',
    ),
    'max_failures': (flag_types.integer(0), 0, 'exit status 3 if more videos fail'),
}


def main():
    args = command_line.parse(__doc__, OPTIONS)
    rows, bad = dense_list.read_videos(args.list_file, on_error=args.on_error)
    dense_list.check_splits(len(rows), args.num_splits)
    paths = [dense_list.list_path(args.output, n) for n in range(1, args.num_splits + 1)]
    failures = dense_list.list_path(args.output, 'failures')
    if args.list_file.resolve() in [path.resolve() for path in (*paths, failures)]:
        raise InputError(f'{args.list_file} would be overwritten: name another --output')
    args.output.parent.mkdir(parents=True, exist_ok=True)
    videos = find_clips(rows, args)
    failed = [video for video in videos if video.failure]
    write_failures(failures, failed, bad)
    usable = [video for video in videos if not video.failure]
    for path, split in zip(paths, dense_list.deal(usable, args.num_splits)):
        lists.write_rows(path, (row for video in split for row in video.clip_rows()))
    warn_of_others(args.output, args.num_splits)
    num_failed = len(failed) + len(bad)
    report(usable, num_failed, paths)
    return TOO_MANY_FAILURES if num_failed > args.max_failures else 0


def find_clips(rows, args):
    settings = {
        'required': args.clip_length,
        'stride': args.stride,
        'threads': args.num_threads,
        'use_truncated': args.use_truncated,
    }
    videos, failed = [], 0
    with Progress(len(rows), unit='videos', every=1000) as progress:
        for video in dense_list.find_clips(rows, **settings):
            videos.append(video)
            failed += video.failure is not None
            progress.step(f'failed: {failed}')
    return videos


def write_failures(path, failed, bad):
    if not failed and not bad:
        path.unlink(missing_ok=True)  # an earlier run's
        return
    with complete_csv(path, ['video_id', 'path', 'reason']) as write:
        for video in failed:
            write([video.row.video_id, video.row.video, video.failure])
        for row in bad:  # whatever id it has
            write(['', row.video, f'line {row.line} of the list: {row.reason}'])
    log.warning('%d videos failed; they are listed in %s', len(failed) + len(bad), path)


def warn_of_others(prefix, num_splits):
    others = ', '.join(map(str, dense_list.other_lists(prefix, num_splits)))
    if others:
        log.warning('left by an earlier run, and not of this one: %s', others)


def report(usable, num_failed, paths):
    clips = sum(len(video.starts) for video in usable)
    names = ' ... '.join(map(str, paths[:1] + paths[1:][-1:]))
    count = f'{len(paths)} lists' if len(paths) > 1 else '1 list'
    print(f'{len(usable)} videos, {clips} clips in {count}: {names}; failed: {num_failed}')


if __name__ == '__main__':
    run(main)
