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

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.datasets import annotations, lists
from r2plus1d.errors import InputError
from r2plus1d.results.complete import CSV_FILE, complete_file, require_place

log = logging.getLogger(__name__)

OPTIONS = {
    'dataset': (flag_types.one_of(*annotations.DATASETS), flags.REQUIRED, 'whose files these are'),
    'annotations': (pathlib.Path, flags.REQUIRED, "Kinetics' CSV, or the folder of split files"),
    'videos': (pathlib.Path, flags.REQUIRED, 'folder of the videos'),
    'subset': (flag_types.one_of(*annotations.SUBSETS), 'train', 'of HMDB51 and UCF101'),
    'split': (flag_types.integer(1), 1, 'of HMDB51 and UCF101, 1 to 3'),
    'output': (flag_types.written, flags.REQUIRED, 'CSV list to write'),
    'labels': (flag_types.written, None, 'text file of class names to write, one a line'),
    'max_missing': (flag_types.integer(0), 0, 'exit status 3 if more videos are missing'),
    'on_error': (
        flag_types.one_of('continue', 'fail'),
        'continue',
        'what a line that cannot be read ends: nothing, or the run; it counts as a missing video',
    ),
}


def main():
    args = command_line.parse(__doc__, OPTIONS)
    require_place(args.output)
    require_place(args.labels)
    listed = annotations.entries(
        args.dataset, args.annotations, subset=args.subset, split=args.split
    )
    if listed.bad_lines and args.on_error == 'fail':
        raise InputError(f'{listed.bad_lines[0]}; --on_error=continue goes on without such lines')
    rows, missing = annotations.rows(listed.names, listed.entries, args.videos)
    lists.write_rows(args.output, rows)
    if args.labels:
        with complete_file(args.labels, 'w', encoding='utf-8', newline='') as file:
            file.writelines(f'{name}\n' for name in listed.names)
    where = f'{len(missing)} videos are missing in {args.videos.resolve()}'
    write_beside(args.output, '.missing.txt', missing, where)
    bad = listed.bad_lines
    write_beside(args.output, '.bad_lines.txt', bad, f'{len(bad)} lines cannot be read')
    total = len(rows) + len(missing) + len(bad)
    print(f'{len(rows)} of {total} videos of {len(listed.names)} classes in {args.output}')
    return TOO_MANY_FAILURES if len(missing) + len(bad) > args.max_missing else 0


def write_beside(output, suffix, lines, what):
    """Write a text beside the list, or remove an earlier run's where there is nothing to say."""
    path = output.with_suffix(suffix)
    if not lines:
        path.unlink(missing_ok=True)
        return
    with complete_file(path, 'w', **CSV_FILE) as file:
        file.writelines(f'{line}\n' for line in lines)
    log.warning('%s; they are listed in %s', what, path)


if __name__ == '__main__':
    run(main)
