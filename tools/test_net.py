r"""Clip and video accuracy of a network on a video database.

Example:
    .venv/bin/python tools/test_net.py --test_data=data/sample/test_lmdb \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import INTERRUPTED, TOO_MANY_FAILURES, run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.evaluation.evaluate import EvaluationSettings, evaluate
from r2plus1d.networks import cost
from r2plus1d.results.class_names import read_class_names

log = logging.getLogger(__name__)

SCORING = {
    'num_iter': (flag_types.integer(0), 0, 'batches to run; 0: the whole database'),
    'top_k': (flag_types.integer(1), 5, 'k of the second video accuracy'),
    'aggregation': (flags.AGGREGATION, 'mean', 'over the clips of a video'),
    'output': (pathlib.Path, None, 'CSV of predictions, one row a video'),
    'labels': (
        pathlib.Path,
        None,
        'class names, one a line, for the output; those of an .onnx file if left out',
    ),
    'failures': (
        pathlib.Path,
        None,
        'CSV of failed records; failures.csv beside --output if left out',
    ),
    'max_failures': (flag_types.integer(0), 0, 'exit status 3 if more records fail'),
    'on_error': (
        flag_types.one_of('continue', 'fail'),
        'continue',
        'what a failed record ends: nothing, or the run',
    ),
    'display_iter': (flag_types.integer(1), 10, 'batches between two lines of progress in a log'),
}
GROUPS = (
    flags.DATABASE,
    flags.WEIGHTS,
    flags.NETWORK,
    flags.CLIPS,
    flags.ENGINE,
    flags.DEVICES,
    SCORING,
)


def main():
    args = flags.parse(__doc__, *GROUPS)
    stored = from_flags.take_weights(args)
    refuse_unread(args)
    network, clips = from_flags.network(args), from_flags.clip_settings(args)
    devices = from_flags.devices(args)
    settings = evaluation_settings(args, args.batch_size * len(devices.ids), stored)
    weights = from_flags.load_weights(network, stored)
    limit = args.num_iter * settings.batch_size or None
    with (
        from_flags.open_reader(args, settings.batch_size, clips=clips, limit=limit) as reader,
        from_flags.engine(
            args, network, [network.prediction], from_onnx=stored.onnx is not None
        ) as engine,
    ):
        log.info('%s on %d videos of %s', network.name, len(reader), args.test_data)
        log.info('engine %s, %s, on %s', engine.name, engine.precision, devices)
        engine.load(weights)
        result = evaluate(reader, engine, settings)
    return report(result, network, args.max_failures, settings)


def evaluation_settings(args, batch_size, stored):
    names = stored.class_names
    if args.labels:
        names = read_class_names(args.labels, args.num_labels)
    beside = args.output.parent if args.output else pathlib.Path()
    return EvaluationSettings(
        batch_size=batch_size,
        aggregation=args.aggregation,
        top_k=args.top_k,
        output=args.output,
        class_names=names,
        failures=args.failures or beside / 'failures.csv',
        stop_at_failure=args.on_error == 'fail',
        display_iter=args.display_iter,
    )


def report(result, network, max_failures, settings):
    """Print the totals and return the exit status."""
    if result.ended:
        rest = result.records - result.scored - result.failed
        print(f'partial: {result.ended}, {rest} of {result.records} videos not reached')
        if settings.output:
            log.warning('the predictions so far are in %s.partial', settings.output)
    if result.failed:
        log.warning('%d failed, listed in %s', result.failed, settings.failures)
    if result.failed > max_failures:
        log.warning('exit status %d: max_failures is %d', TOO_MANY_FAILURES, max_failures)
    if not result.scored:
        log.warning('no video was scored: the accuracies below say nothing')
    multiply_adds, parameters = cost.totals(network)
    print(f'videos: {result.records}, scored: {result.scored}, failed: {result.failed}')
    print(f'Test accuracy: {result.score}')
    print(f'FLOPs: {multiply_adds / 1e9:.3f}, params: {parameters / 1e6:.3f}')
    if result.ended == 'interrupted':
        return INTERRUPTED
    return TOO_MANY_FAILURES if result.ended or result.failed > max_failures else 0


if __name__ == '__main__':
    run(main)
