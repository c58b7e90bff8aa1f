#!/usr/bin/env python3
r"""Builds a database (LMDB) of the videos that a CSV list names, or of their paths.

Example:
    .venv/bin/python data/create_video_db.py \
        --list_file=data/sample/test_list.csv --output_file=output/test_lmdb
"""

import _start  # noqa: F401

# isort: split

import logging
import os
import pathlib
import random

from r2plus1d.cli import flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.datasets import lists
from r2plus1d.datasets.database import DATA_FILE
from r2plus1d.datasets.database_writer import DatabaseWriter, check_output
from r2plus1d.datasets.record import MAX_VIDEO_BYTES, Record
from r2plus1d.errors import InputError
from r2plus1d.results.progress import Progress

log = logging.getLogger(__name__)

RECORDS_BETWEEN_LINES = 1000

OPTIONS = {
    'list_file': (pathlib.Path, flags.REQUIRED, 'CSV list of org_video,label and more'),
    'output_file': (pathlib.Path, flags.REQUIRED, 'folder of the database to be made'),
    'use_list': (flag_types.bit, False, '1: store the paths of the videos, not the videos'),
    'use_video_id': (flag_types.bit, False, '1: store the column video_id'),
    'use_start_frame': (flag_types.bit, False, '1: store the column start_frm; needs --use_list=1'),
    'shuffle': (flag_types.bit, True, '0: keep the order of the list'),
    'seed': (flag_types.integer(0), 0, 'seed of the shuffle'),
    'overwrite': (flag_types.bit, False, '1: replace an existing database that differs'),
}  # fmt: skip


def main():
    args = flags.parse(__doc__, OPTIONS)
    if args.use_start_frame and not args.use_list:
        raise InputError('--use_start_frame=1 needs --use_list=1')
    check_output(args.output_file, args.overwrite)
    rows = lists.read_rows(
        args.list_file,
        use_start_frame=args.use_start_frame,
        use_video_id=args.use_video_id,
        max_video_bytes=None if args.use_list else MAX_VIDEO_BYTES,
    )
    if args.use_list and not all(pathlib.Path(row.video).is_absolute() for row in rows):
        log.warning(
            'relative paths are stored as they are: they hold from %s only', pathlib.Path.cwd()
        )
    if args.shuffle:
        random.Random(args.seed).shuffle(rows)
    with DatabaseWriter(args.output_file, len(rows), overwrite=args.overwrite) as writer:
        write(rows, writer, use_list=args.use_list)
    size = (args.output_file / DATA_FILE).stat().st_size
    what = f'{len(rows)} records ({size / 1e6:.1f} MB)'
    if writer.unchanged:
        print(f'unchanged: {what} in {args.output_file}')
    else:
        print(f'wrote {what} to {args.output_file}')


def write(rows, writer, *, use_list):
    stored = 0
    with Progress(len(rows), unit='records', every=RECORDS_BETWEEN_LINES) as progress:
        for row in rows:
            made = record(row, use_list)
            writer.add(made)
            stored += len(made.video)
            progress.step(f'{stored / 1e6:.1f} MB')


def record(row, use_list):
    video = os.fsencode(row.video) if use_list else pathlib.Path(row.video).read_bytes()
    return Record(video, row.labels, row.start_frame, row.video_id)


if __name__ == '__main__':
    run(main)
