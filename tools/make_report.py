r"""A page about an evaluation, in one file of HTML, from the CSV of its predictions.

Example:
    .venv/bin/python tools/make_report.py \
        --predictions=output/plain.csv --report=output/plain.html \
        --test_data=data/sample/test_lmdb
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import command_line, flags
from r2plus1d.cli.main import run
from r2plus1d.cli.report_output import (
    REPORT,
    VIDEOS,
    describe_database,
    describe_file,
    require_report,
    save_report,
)
from r2plus1d.evaluation.read_predictions import Predictions, read_failures
from r2plus1d.evaluation.tally import Tally
from r2plus1d.results.class_names import read_class_names

log = logging.getLogger(__name__)

INPUT = {
    'predictions': (
        pathlib.Path,
        flags.REQUIRED,
        'CSV that --output of test_net.py or dense_prediction_*.py made',
    ),
    'failures': (pathlib.Path, None, 'CSV of the records that failed, which the run made'),
    'labels': (pathlib.Path, None, f'{flags.LABELS}; for numbers in the CSV'),
}


def main():
    args = command_line.parse(
        __doc__, INPUT, REPORT, VIDEOS, positional=('predictions',), report=flags.REQUIRED
    )
    require_report(args.report)
    predictions = Predictions(args.predictions, read_class_names(args.labels, None))
    tally = Tally(predictions.num_labels, top_k=predictions.top_k, most_mistakes=args.mistakes)
    for outcome in predictions:
        tally.add(outcome)
    for record, reason in read_failures(args.failures) if args.failures else ():
        tally.fail(record, reason)
    files = {'predictions': describe_file(args.predictions)}
    if args.test_data:
        files['database'] = describe_database(args.test_data)
    save_report(
        args, tally, title=f'Predictions of {args.predictions}', details=files,
        class_names=predictions.class_names, failures_known=args.failures is not None,
    )  # fmt: skip
    for measure in tally.measures():
        print(f'{measure.name}: {measure.share:.5f} ({measure.low:.5f} to {measure.high:.5f})')
    log.info('the report is in %s', args.report)


if __name__ == '__main__':
    run(main)
