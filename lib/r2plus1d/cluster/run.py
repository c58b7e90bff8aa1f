"""What --ray asks for: the shards of a program on a cluster, before they are merged."""

import argparse
import contextlib
import functools
import logging
import pathlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from r2plus1d.cluster.actor import Counts
from r2plus1d.cluster.connection import connected, require_ray
from r2plus1d.cluster.driver import ShardJob, run_shards
from r2plus1d.cluster.needs import Needs
from r2plus1d.cluster.program import open_program
from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.results.arguments import differing, require_same
from r2plus1d.results.hold import Hold
from r2plus1d.results.shards import ShardFolder, engine_arguments

log = logging.getLogger(__name__)

CORES_OF_GPU = 4  # that decode for it
SHARDS_OF_ACTOR = 20  # at least, so that those with slow videos even out
RECORDS_OF_SHARD = 2000
MOST_SHARDS = 10_000  # that follow from the records


def settle(args: argparse.Namespace) -> None:
    """Let each actor use what Ray gives it; nothing without --ray.

    The network has as many threads as its actor has cores, on any node: the sums of some engines
    depend on them.

    Raises:
        InputError: Ray is not installed, or flags name what Ray chooses.
    """
    if args.ray is None:
        return
    require_ray()
    if args.gpus:
        raise InputError(
            'gpus names GPUs, which Ray chooses; give num_gpus, how many GPUs each actor takes'
        )
    args.ray_cores = args.ray_cores or max(1, CORES_OF_GPU * args.num_gpus)
    if 'num_decode_threads' not in args.given:
        args.num_decode_threads = args.ray_cores
    if not args.num_gpus and 'engine_threads' not in args.given and args.engine != 'caffe2':
        args.engine_threads = args.ray_cores


def become_actor(args: argparse.Namespace) -> None:
    """Turn the driver's options into those of its actors."""
    settle(args)
    args.ray, args.shard = None, Shard()
    for names in (args.given, args.given.changed):
        names.difference_update(('ray', 'ray_shards', 'ray_cores'))


@contextlib.contextmanager
def shards_done(
    args: argparse.Namespace,
    program: str,
    output: pathlib.Path,
    *,
    arguments: Mapping[str, Any],
    records: int,
    replace: bool = False,
    words: Optional[Sequence[str]] = None,
) -> Iterator[bool]:
    """Do the shards on the cluster, and hold the output; merge them within the block.

    Args:
        args: options of flags.RAY and flags.DEVICES, and `overwrite`.
        program: its name; see program.open_program.
        output: what is made of the shards.
        arguments: of the run, but for ENGINE_ARGUMENTS.
        records: how many there are.
        replace: begin shards of other arguments again.
        words: the command line, if not that of this process.

    Gives:
        Whether all are done; otherwise some were given up, which is logged.

    Raises:
        InputError: another run holds the output, there are shards of another count or of other
            arguments, or nothing can be done on the cluster.
    """
    shards, needs = ShardFolder(output), Needs(args.ray_cores, args.num_gpus)
    with contextlib.ExitStack() as stack:
        stack.callback(Hold(output, shards.path / 'driver.lock').release)
        before = None if shards.is_empty() else shards.count()
        shards.require_count(args.ray_shards or before or 1)
        command = list(sys.argv[1:] if words is None else words)
        with connected(args.ray, needs):
            count = args.ray_shards or before or shard_count(needs, records)
            done, kind = _done(shards, count, arguments, again=args.overwrite, replace=replace)
            worker = functools.partial(open_program, program, command)
            given_up = run_shards(ShardJob(worker, shards, count, records, done, kind), needs)
        _tell(shards, count, given_up)
        yield not given_up


def shard_count(needs: Needs, records: int) -> int:
    """Return how many shards so many records are cut into on the cluster that is `connected`."""
    import ray

    actors = sum(needs.fitting(node['Resources']) for node in ray.nodes() if node['Alive'])
    of_records = min(MOST_SHARDS, records // RECORDS_OF_SHARD)
    return max(1, min(records, max(SHARDS_OF_ACTOR * actors, of_records)))


def _done(shards, count, arguments, *, again, replace):
    """Return ({number: Counts} of the shards that are done, the ENGINE_ARGUMENTS of all)."""
    done, kind = {}, None
    for shard in (Shard(index, count) for index in range(count)):
        if again:
            shards.forget(shard)
            shutil.rmtree(shards.folder(shard), ignore_errors=True)
        if not shards.is_done(shard):
            continue
        note = shards.read(shard)
        own = engine_arguments(note.arguments)
        wanted = {**arguments, **(own if kind is None else kind)}
        if replace and differing(note.arguments, wanted):
            shards.forget(shard)
            continue
        require_same(shards.folder(shard), note.arguments, wanted)
        kind = own if kind is None else kind
        done[shard.index] = Counts(note.end - note.begin, int(note.counts.get('failed', 0)))
    return done, kind


def _tell(shards, count, given_up):
    for number, reason in given_up.items():
        shard = Shard(number, count)
        log.warning('shard %s was given up: %s; see %s', shard, reason, shards.folder(shard))
    if given_up:
        log.warning(
            '%d of %d shards are not done; the same command tries them again, and merges',
            len(given_up), count,
        )  # fmt: skip
