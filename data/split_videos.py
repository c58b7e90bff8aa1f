#!/usr/bin/env python3
r"""Splits a folder of classes, CLASS/VIDEO, into videos to train on and videos to test on.

Example:
    .venv/bin/python data/split_videos.py --videos=my_videos --output=output/lists
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.datasets import check, class_folders, split
from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_csv

log = logging.getLogger(__name__)

OPTIONS = {
    'videos': (pathlib.Path, flags.REQUIRED, 'folder with a folder of videos for each class'),
    'output': (pathlib.Path, flags.REQUIRED, 'folder of train.csv, test.csv and labels.txt'),
    'split_by': (
        flag_types.one_of(*split.SPLIT_BY),
        'source',
        'what stays on one side; source: videos whose names are the same up to the last _, such as '
        'clips of one recording; video: each for itself',
    ),
    'test_share': (flag_types.share, 0.2, 'share of the videos of each class that is held out'),
    'test_list': (pathlib.Path, None, 'text file of the videos to hold out, CLASS/NAME a line'),
    'seed': (flag_types.integer(0, flag_types.LARGEST_SEED), 0, 'seed of the choice'),
    'num_threads': (flag_types.integer(1), 4, 'videos checked at the same time'),
}


def main():
    args = command_line.parse(__doc__, OPTIONS)
    classes = class_folders.find_class_videos(args.videos)
    paths = [str(path) for paths in classes.values() for path in paths]
    problems = check.find_problems(paths, threads=args.num_threads)
    name_broken(args.output, {path: why for path, why in problems.items() if why is not None})
    videos = class_folders.good_videos(args.videos, classes, problems)
    held = held_out(args, videos)
    class_folders.write_lists(args.output, args.videos, list(classes), videos, held)
    print(
        f'{len(videos) - len(held)} videos to train on and {len(held)} held out, of '
        f'{len(classes)} classes, in {args.output}'
    )


def name_broken(output, broken):
    """Log and list the videos that cannot be used, or remove an earlier run's list."""
    path = output / 'broken.csv'
    for video, why in broken.items():
        log.warning('left out: %s: %s', video, why)
    if broken:
        with complete_csv(path, ('video', 'reason')) as write_row:
            for row in broken.items():
                write_row(row)
    else:
        path.unlink(missing_ok=True)


def held_out(args, videos):
    """Names of the videos that are held out; classes without any are named."""
    if args.test_list:
        names = [video.name for video in videos]
        held = class_folders.read_test_list(args.test_list, args.videos, names)
        require_apart(args.test_list, videos, held)
        return held
    held, whole = split.split_by_seed(
        videos, split_by=args.split_by, share=args.test_share, seed=args.seed
    )
    for name, count in whole.items():
        log.warning('%s: %s; none is held out', name, why_whole(count))
    if not held:
        raise InputError(
            f'{args.videos}: in each class {why_whole(2)}, so none can be held out; '
            '--split_by=video (SPLIT_BY of finetune.sh) takes each video for itself, --test_list '
            'names those to hold out'
        )
    return held


def why_whole(count):
    if count == 1:
        return 'it has one video, which is trained on'
    return 'all videos are of one source by their names up to the last _'


def require_apart(path, videos, held):
    """Warn of the same bytes on both sides."""
    tested = {video.content: video.name for video in videos if video.name in held}
    for video in videos:
        if video.name not in held and video.content in tested:
            log.warning('%s: %s is also trained on, as %s', path, tested[video.content], video.name)


if __name__ == '__main__':
    run(main)
