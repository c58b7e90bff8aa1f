r"""Clip and video accuracy of a network on a video database.

Example:
    .venv/bin/python tools/test_net.py --test_data=data/sample/test_lmdb \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl
"""

import _start  # noqa: F401

# isort: split

import contextlib
import logging
import pathlib

from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.evaluation_output import EvaluationOutput
from r2plus1d.cli.from_evaluation_flags import (
    arguments_of_engine,
    arguments_of_run,
    evaluation,
    open_engine,
    open_journal,
    open_reader,
)
from r2plus1d.cli.main import INTERRUPTED, TOO_MANY_FAILURES, run
from r2plus1d.cli.report_output import REPORT, refuse_multi_label, require_report
from r2plus1d.cli.sharding import has_ray, is_sharded
from r2plus1d.cluster.actor import Counts, Worker
from r2plus1d.cluster.run import become_actor, settle, shards_done
from r2plus1d.errors import InputError
from r2plus1d.evaluation import shards
from r2plus1d.evaluation.evaluate import evaluate
from r2plus1d.results.hold import holding, holding_failures

log = logging.getLogger(__name__)

PROGRAM = 'test_net'

SCORING = {
    'num_iter': (flag_types.integer(0), 0, 'batches to run; 0: the whole database'),
    'top_k': (flag_types.integer(1), 5, 'k of the second video accuracy'),
    'aggregation': (flags.AGGREGATION, 'mean', 'over the clips of a video'),
    'by_class': (
        flag_types.bit,
        False,
        '1: print the accuracy of each class too, and which classes are taken for which',
    ),
    'output': (flag_types.written, None, 'CSV of predictions, one row for each video'),
    'overwrite': (
        flag_types.bit,
        False,
        '1: begin again, whatever an interrupted run with the same output left',
    ),
    'labels': (
        pathlib.Path,
        None,
        f'{flags.LABELS}; for the output and the report; those of the weights if left out',
    ),
    'failures': (
        flag_types.written,
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
    REPORT,
    flags.SHARDS,
    flags.RAY,
    flags.COPY,
)


def main():
    args = command_line.parse(__doc__, *GROUPS)
    settle(args)
    job = evaluation(args)
    require_report(args.report)
    refuse_multi_label(args)
    output = EvaluationOutput(args, job)
    if is_sharded(args):
        return evaluate_in_shards(args, job, output)
    return evaluate_at_once(args, job, output)


def evaluate_at_once(args, job, output):
    """Score all records, and return the exit status."""
    devices = from_flags.devices(args)
    with (
        holding(job.settings.output, args.report),
        holding_failures(job.settings.failures),
        open_reader(args, job) as reader,
        open_engine(args, job) as engine,
        open_journal(args, job, reader, engine) as journal,
    ):
        log.info('%s on %d videos of %s', job.network.name, len(reader), args.test_data)
        log.info('engine %s, %s, on %s', engine.name, engine.precision, devices)
        result = evaluate(reader, engine, job.settings, journal=journal, **output.told())
    return output.finish(result, engine=f'{engine.name}, {engine.precision}, on {devices}')


def evaluate_in_shards(args, job, output):
    """Run one shard, or merge; the exit status of failures is that of the whole."""
    if job.settings.output is None:
        raise InputError('shard, merge and ray need --output, beside which the shards are')
    if job.settings.stop_at_failure:
        raise InputError('on_error=fail is of one run; with shards, leave it out')
    with open_reader(args, job) as reader:
        of_run = arguments_of_run(args, job, reader)
        if has_ray(args):
            merged = merge_on_cluster(args, job, reader, of_run, output)
            return output.finish(merged) if merged else TOO_MANY_FAILURES
        if args.shard is not None:
            with open_engine(args, job) as engine:
                of_run.update(arguments_of_engine(args, engine))
                done = shards.run_shard(
                    reader, engine, job.settings, of_run, args.shard, overwrite=args.overwrite
                )
            if done.ended:
                return INTERRUPTED
            print(f'shard {args.shard}: videos: {done.records}, scored: {done.scored}, failed: '
                  f'{done.failed}', flush=True)  # fmt: skip
        merged = shards.merge(reader, job.settings, of_run, after=args.shard, **output.told())
    return output.finish(merged) if merged else 0


def merge_on_cluster(args, job, reader, of_run, output):
    """Do all shards and merge them; None if some could not be done."""
    with shards_done(
        args, PROGRAM, job.settings.output, arguments=of_run, records=len(reader)
    ) as are_done:
        return shards.merge(reader, job.settings, of_run, **output.told()) if are_done else None


@contextlib.contextmanager
def open_worker(words):
    """Give the Worker of an actor of Ray, for the driver's command line."""
    args = command_line.parse(__doc__, *GROUPS, argv=words)
    args.overwrite = False  # the driver has removed the shards
    become_actor(args)
    job = evaluation(args)
    with open_reader(args, job) as reader, open_engine(args, job) as engine:
        kind = arguments_of_engine(args, engine)
        of_run = {**arguments_of_run(args, job, reader), **kind}

        def run_shard(shard):
            result = shards.run_shard(reader, engine, job.settings, of_run, shard)
            if result.ended:
                raise InputError(f'shard {shard} was ended: {result.ended}')
            return Counts(result.records, result.failed)

        yield Worker(kind, run_shard)


if __name__ == '__main__':
    run(main)
