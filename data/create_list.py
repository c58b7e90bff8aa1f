#!/usr/bin/env python3
r"""Writes a CSV list of Kinetics', HMDB51's or UCF101's videos from their own split files.

Example:
    .venv/bin/python data/create_list.py --dataset=hmdb51 --videos=hmdb51 \
        --annotations=testTrainMulti_7030_splits --output=train.csv
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import flag_types, flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.datasets import annotations, lists

log = logging.getLogger(__name__)

OPTIONS = {
    'dataset': (flag_types.one_of(*annotations.DATASETS), flags.REQUIRED, 'whose files these are'),
    'annotations': (pathlib.Path, flags.REQUIRED, "Kinetics' CSV, or the folder of split files"),
    'videos': (pathlib.Path, flags.REQUIRED, 'folder of the videos'),
    'subset': (flag_types.one_of(*annotations.SUBSETS), 'train', 'of HMDB51 and UCF101'),
    'split': (flag_types.integer(1), 1, 'of HMDB51 and UCF101, 1 to 3'),
    'output': (pathlib.Path, flags.REQUIRED, 'CSV list to write'),
    'labels': (pathlib.Path, None, 'text file of class names to write, one a line'),
    'max_missing': (flag_types.integer(0), 0, 'exit status 3 if more videos are missing'),
}


def main():
    args = flags.parse(__doc__, OPTIONS)
    names, listed = annotations.entries(
        args.dataset, args.annotations, subset=args.subset, split=args.split
    )
    rows, missing = annotations.rows(names, listed, args.videos)
    lists.write_rows(args.output, rows)
    if args.labels:
        args.labels.write_text(''.join(f'{name}\n' for name in names), encoding='utf-8')
    absent = args.output.with_suffix('.missing.txt')
    absent.unlink(missing_ok=True)
    if missing:
        absent.write_text(''.join(f'{place}\n' for place in missing), encoding='utf-8')
        log.warning('%d videos are missing; they are listed in %s', len(missing), absent)
    print(f'{len(rows)} of {len(listed)} videos of {len(names)} classes in {args.output}')
    return TOO_MANY_FAILURES if len(missing) > args.max_missing else 0


if __name__ == '__main__':
    run(main)
