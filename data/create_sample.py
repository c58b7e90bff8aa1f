#!/usr/bin/env python
"""Make the sample: short videos of eight motions, with lists to build databases from.

Example:
    .venv/bin/python data/create_sample.py --split=all
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib
import sys

from tqdm import tqdm

from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import run
from r2plus1d.datasets import sample, synthetic

log = logging.getLogger(__name__)

COUNTS = ', '.join(f'{count} for {split}' for split, count in sample.VIDEOS_PER_CLASS.items())
SAMPLE = {
    'output': (pathlib.Path, pathlib.Path('data/sample'), 'directory of the sample'),
    'split': (flag_types.one_of(*sample.SPLITS, 'all'), 'test', 'what to make'),
    'seed': (flag_types.integer(0, flag_types.LARGEST_SEED), 0, 'seed of everything in the videos'),
    'videos_per_class': (
        flag_types.integer(1),
        None,
        f'videos of each class; {COUNTS} when left out',
    ),
}


def main():
    args = command_line.parse(__doc__, SAMPLE)
    splits = sample.SPLITS if args.split == 'all' else [args.split]
    total = 0
    for split in splits:
        total += sample.create_split(
            args.output,
            split,
            seed=args.seed,
            videos_per_class=args.videos_per_class,
            watch=lambda finished, count, split=split: watch(finished, count, split),
        )
    print(f'{total} videos of {len(synthetic.CLASSES)} classes in {args.output}')


def watch(finished, count, split):
    """A bar on a terminal, a line for each quarter elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(finished, split, count, unit='video')
        return
    for done, video in enumerate(finished, 1):
        yield video
        if done * 4 // count > (done - 1) * 4 // count:
            log.info('%s: %d of %d videos', split, done, count)


if __name__ == '__main__':
    run(main)
