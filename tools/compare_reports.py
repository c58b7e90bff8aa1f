r"""Two evaluations of the same videos: which classes gained, which videos changed.

Example:
    .venv/bin/python tools/compare_reports.py \
        output/plain.csv output/mirrored.csv --report=output/compare.html
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.cli.report_output import describe_file, describe_run, require_report
from r2plus1d.errors import InputError, printable
from r2plus1d.evaluation.compare_predictions import Change, compare_predictions
from r2plus1d.evaluation.read_predictions import Predictions
from r2plus1d.pictures.comparison import Changes, write_comparison
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.complete import complete_csv, require_place
from r2plus1d.results.hold import holding

log = logging.getLogger(__name__)

COMPARISON = {
    'predictions': (
        flag_types.paths,
        flags.REQUIRED,
        'two CSVs that --output of test_net.py or dense_prediction_*.py made; the earlier first',
    ),
    'labels': (pathlib.Path, None, f'{flags.LABELS}; for numbers in a CSV'),
    'output': (flag_types.written, None, 'CSV of the videos that only one of them has right'),
    'report': (flag_types.written, None, 'HTML page of the comparison, in one file'),
}


def main():
    args = command_line.parse(__doc__, COMPARISON, positional=('predictions',))
    require_place(args.output)
    require_report(args.report)
    if len(args.predictions) != 2:
        raise InputError(f'{len(args.predictions)} CSVs of predictions; two are compared')
    names = read_class_names(args.labels, None)
    runs = [Predictions(path, names) for path in args.predictions]
    changes = Changes()
    with holding(args.output), complete_csv(args.output, Change._fields) as write:

        def changed(change):
            write([*change[:5], *(f'{p:.6f}' for p in change[5:])])
            changes.add(change)

        comparison = compare_predictions(*runs, changed=changed)
    if args.report:
        files = {name: describe_file(path) for name, path in zip('AB', args.predictions)}
        write_comparison(
            args.report, comparison, changes,
            paths=args.predictions, facts_of_run=describe_run(args, files),
        )  # fmt: skip
        log.info('the comparison is in %s', args.report)
    show(comparison, args.predictions)


def show(found, paths):
    """Print the totals, and a table of the classes that changed."""
    for name, path, run_ in zip('AB', paths, (0, 1)):
        accuracy, low, high = found.accuracy(run_)
        print(f'{name}: {printable(path)}, top 1: {accuracy:.5f} ({low:.5f} to {high:.5f})')
    print(
        f'videos: {found.videos} in both, {found.only_first} only in A, '
        f'{found.only_second} only in B'
    )
    print(
        f'right: {found.both} in both, {found.lost} only in A, {found.gained} only in B, '
        f'{found.neither} in none'
    )
    print(f"McNemar's exact test, two-sided: p = {found.p_value:.4g}")
    rows = [c for c in found.classes if c.right1 != c.right2]
    header = ('class', 'videos', 'right in A', 'right in B', 'change')
    for line in (header, ['---', *['--:'] * 4]) if rows else ():
        print(f'| {" | ".join(line)} |')
    for c in rows:
        name = printable(c.name).replace('|', '\\|')
        print(f'| {name} | {c.videos} | {c.right1} | {c.right2} | {c.right2 - c.right1:+d} |')


if __name__ == '__main__':
    run(main)
