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

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.datasets import check, lists
from r2plus1d.datasets.database import DATA_FILE
from r2plus1d.datasets.database_writer import DatabaseWriter, check_output
from r2plus1d.datasets.record import MAX_VIDEO_BYTES, Record
from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_csv
from r2plus1d.results.progress import Progress

log = logging.getLogger(__name__)

RECORDS_BETWEEN_LINES = 1000

OPTIONS = {
    'list_file': (pathlib.Path, flags.REQUIRED, 'CSV list of org_video,label and more'),
    'output_file': (flag_types.written, flags.REQUIRED, 'folder of the database to be made'),
    'use_list': (flag_types.bit, False, '1: store the paths of the videos, not the videos'),
    'use_video_id': (flag_types.bit, False, '1: store the column video_id'),
    'use_start_frame': (flag_types.bit, False, '1: store the column start_frm; needs --use_list=1'),
    'shuffle': (flag_types.bit, True, '0: keep the order of the list'),
    'seed': (flag_types.integer(0, flag_types.LARGEST_SEED), 0, 'seed of the shuffle'),
    'overwrite': (flag_types.bit, False, '1: replace an existing database that differs'),
    'check': (flag_types.bit, True, '0: do not open the videos to see whether they decode'),
    'num_threads': (flag_types.integer(1), 4, 'videos checked at the same time'),
    'on_error': (
        flag_types.one_of('fail', 'continue'),
        'fail',
        'what rows that cannot be used end: the run, before anything is written, or nothing; '
        'they are left out then',
    ),
    'max_failures': (flag_types.integer(0), 0, 'exit status 3 if more rows are left out'),
}  # fmt: skip


def main():
    args = command_line.parse(__doc__, OPTIONS)
    if args.use_start_frame and not args.use_list:
        raise InputError('--use_start_frame=1 needs --use_list=1')
    check_output(args.output_file, args.overwrite)
    rows, bad = usable_rows(args)
    if args.use_list and not all(pathlib.Path(row.video).is_absolute() for row in rows):
        log.warning(
            'relative paths are stored as they are: they hold from %s only', pathlib.Path.cwd()
        )
    if args.shuffle:
        random.Random(args.seed).shuffle(rows)
    with DatabaseWriter(args.output_file, len(rows), overwrite=args.overwrite) as writer:
        list_failures(args.output_file, bad)  # within, where no other run does
        write(rows, writer, use_list=args.use_list)
    size = (args.output_file / DATA_FILE).stat().st_size
    what = f'{len(rows)} records ({size / 1e6:.1f} MB)'
    if writer.unchanged:
        print(f'unchanged: {what} in {args.output_file}')
    else:
        print(f'wrote {what} to {args.output_file}')
    return TOO_MANY_FAILURES if len(bad) > args.max_failures else 0


def usable_rows(args):
    """The rows that can be used and the others; the latter are listed, or end the tool."""
    good, bad = lists.examine_rows(
        args.list_file,
        use_start_frame=args.use_start_frame,
        use_video_id=args.use_video_id,
        max_video_bytes=None if args.use_list else MAX_VIDEO_BYTES,
        paths_are_stored=args.use_list,
    )
    check.require_own_ids(args.list_file, good)
    if args.check:
        good, undecodable = check.split_rows(
            good, check.find_problems((row.video for _, row in good), threads=args.num_threads)
        )
        bad = sorted(bad + undecodable)
    if args.on_error == 'fail' or not good:
        lists.require_no_bad_rows(args.list_file, good, bad)
    return [row for _, row in good], bad


def list_failures(database, bad):
    """List the rows that are left out beside the database, or remove an earlier run's list."""
    path = database.with_name(f'{database.name}.failures.csv')
    if not bad:
        path.unlink(missing_ok=True)
        return
    with complete_csv(path, lists.BadRow._fields) as write_row:
        for row in bad:
            write_row(row)
    log.warning('%d rows cannot be used and are left out; they are listed in %s', len(bad), path)


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
