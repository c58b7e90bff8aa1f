"""From the parsed options of tools/test_net.py to what they ask for."""

import argparse
import contextlib
import logging
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Optional

from r2plus1d.cli import from_flags, weight_flags
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.cli.report_output import REPORT
from r2plus1d.datasets.local_copy import local_copy
from r2plus1d.evaluation.evaluate import EvaluationSettings
from r2plus1d.evaluation.journal import ScoreJournal
from r2plus1d.features import job as jobs
from r2plus1d.networks.network import Network
from r2plus1d.results.arguments import of_options
from r2plus1d.results.class_names import read_class_names
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.weights.stored import Stored

log = logging.getLogger(__name__)

# Beside what decides nothing in extraction either, and what the journal records otherwise.
FREE = (
    jobs.FREE
    | {'output', 'labels', 'failures', 'on_error', 'top_k', 'num_iter', 'by_class'}
    | {*REPORT}
)


class Evaluation(NamedTuple):
    """What is run, on what, and how.

    Attributes:
        network, clips, settings: Network, ClipSettings, EvaluationSettings.
        stored: the file of the weights.
        weights: what the engine loads of it.
        limit: the first so many records only; None is all.
    """

    network: Network
    clips: ClipSettings
    settings: EvaluationSettings
    stored: Stored
    weights: Any
    limit: Optional[int]


def evaluation(args: argparse.Namespace) -> Evaluation:
    """Return the Evaluation that the options ask for, once the weights are read.

    Raises:
        InputError: the weights cannot be read, or flags contradict them or do nothing.
    """
    stored = weight_flags.take_weights(args)
    assert stored is not None
    refuse_unread(args)
    network, clips = from_flags.network(args), from_flags.clip_settings(args)
    batch_size = args.batch_size * len(from_flags.devices(args).ids)
    settings = _settings(args, batch_size, stored)
    weights = weight_flags.load_weights(network, stored)
    return Evaluation(network, clips, settings, stored, weights, args.num_iter * batch_size or None)


def _settings(args, batch_size, stored):
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


def open_reader(args: argparse.Namespace, job: Evaluation) -> DatabaseSource:
    """Return the source of the records; use it as a context manager."""
    path = local_copy(args.test_data) if args.copy_database else args.test_data
    return from_flags.open_reader(
        args, job.settings.batch_size, path=path, clips=job.clips, limit=job.limit
    )


@contextlib.contextmanager
def open_engine(args: argparse.Namespace, job: Evaluation) -> Iterator[Any]:
    """Give the engine with its weights."""
    outputs, is_onnx = [job.network.prediction], job.stored.onnx is not None
    with from_flags.engine(args, job.network, outputs, from_onnx=is_onnx) as engine:
        engine.load(job.weights)
        yield engine


def open_journal(
    args: argparse.Namespace, job: Evaluation, reader: DatabaseSource, engine: Any
) -> 'contextlib.AbstractContextManager[Optional[ScoreJournal]]':
    """Give the ScoreJournal beside the output, None without an output."""
    if not args.output:
        return contextlib.nullcontext()
    of_run = {**arguments_of_run(args, job, reader), **arguments_of_engine(args, engine)}
    journal = ScoreJournal(args.output, of_run, overwrite=args.overwrite)
    if journal.done:
        log.info('%d of %d videos are done, in %s', journal.done, len(reader), journal.path)
    return journal


def arguments_of_run(
    args: argparse.Namespace, job: Evaluation, reader: DatabaseSource
) -> dict[str, Any]:
    """Return all that decides what is predicted, but for the engine and its devices."""
    found = of_options(vars(args), free=FREE)
    found.pop('gpus', None)
    found.update(
        test_data=reader.identity, records=job.limit, load_model_path=job.stored.fingerprint
    )
    return found


def arguments_of_engine(args: argparse.Namespace, engine: Any) -> dict[str, Any]:
    """Return the engine and its devices, as results.shards.ENGINE_ARGUMENTS names them."""
    return {'engine': engine.name, 'gpus': str(from_flags.devices(args))}
