"""An extraction in shards, each a run of its own, and the shards merged to the same bytes.

    run_shard(job, source, engine, arguments, Shard(3, 40))   on any machine, in any order
    merge(job, source, arguments)                             once all of them are done
    merge(job, source, arguments, after=Shard(3, 40))         the same if they are, else None

Each shard is a Store of its own in OUTPUT.shards, so one that was killed goes on where it was.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.features.entry import Entry
from r2plus1d.features.job import (
    Extracted,
    FeatureJob,
    Source,
    extracted_before,
    fill_store,
    finish,
    open_store,
)
from r2plus1d.features.store import BLOCK_BYTES, Store, discard, is_begun
from r2plus1d.results.arguments import differing, read_arguments
from r2plus1d.results.shards import ENGINE_ARGUMENTS, DoneShard, ShardFolder
from r2plus1d.sources.part import SourcePart
from r2plus1d.video.clip import Work


class ShardTotals(NamedTuple):
    """What became of the records of one shard.

    Attributes:
        shard: Shard.
        records, failed: how many it has, and how many of them have no rows.
        work: Work of decoding in this run.
    """

    shard: Shard
    records: int
    failed: int
    work: Work


def run_shard(
    job: FeatureJob, source: Source, engine: Any, arguments: Mapping[str, Any], shard: Shard
) -> ShardTotals:
    """Extract the records of one shard; go on where an earlier run of it ended.

    Args:
        job, source, engine, arguments: as of job.extract_features, of the whole run.
        shard: Shard.

    Raises:
        InputError: the folder of the shards has some of another count or of other arguments, or
            another process is at work on this shard.
    """
    shards = ShardFolder(job.output.path)
    shards.require_count(shard.count)
    part = SourcePart(source, shard, numbered=True)
    job.output.check(job.columns, len(source) * source.settings.rows)
    folder = shards.folder(shard)
    before = read_arguments(folder / 'arguments.json') if is_begun(folder) else None
    if job.overwrite or (
        job.replace_different and before is not None and differing(before, arguments)
    ):
        shards.forget(shard)
        discard(folder)
    if not len(part):
        shards.finish(shard, part.begin, part.end, arguments, failed=0)
        return ShardTotals(shard, 0, 0, Work())
    with open_store(job, part, engine, arguments, folder) as store:
        if store.done < len(part):
            shards.forget(shard)
        work = fill_store(job, part, engine, store)
        failed = int(store.failed().sum())
    # Whoever sees that it is done has to find its store closed.
    shards.finish(shard, part.begin, part.end, arguments, failed=failed)
    return ShardTotals(shard, len(part), failed, work)


def merge(
    job: FeatureJob,
    source: Source,
    arguments: Mapping[str, Any],
    *,
    after: Optional[Shard] = None,
) -> Optional[Extracted]:
    """Make the output of all shards, byte for byte that of one run, and remove the shards.

    The shards' rows go into a Store of the whole run, batch by batch. A merge that was interrupted
    goes on.

    Args:
        job, source: as of run_shard.
        arguments: the same; `engine` and `gpus` may be left out.
        after: the shard that has just ended, for a run that merges only if all others are done.

    Returns:
        What there is; None with `after` where others are at work, or another run merges.

    Raises:
        InputError: shards are missing or contradict each other; names them.
        HeldError: another run merges, and `after` is None.
    """
    shards = ShardFolder(job.output.path)
    with shards.merging(after) as is_mine:
        if not is_mine:
            return None
        known = merged_before(job, source, arguments)
        if known is not None:
            return known
        done = shards.all(arguments, len(source), free=ENGINE_ARGUMENTS)
        of_all = done[0].arguments
        known = extracted_before(job, len(source) * source.settings.rows, of_all)
        if known is None:
            with open_store(job, source, None, of_all, job.output.partial, batch=1) as store:
                _gather(shards, done, source, store)
                known = finish(job, store, of_all, None)
        shards.remove()
    return known


def merged_before(
    job: FeatureJob, source: Source, arguments: Mapping[str, Any]
) -> Optional[Extracted]:
    """Return what a complete output has, where no shards are left to merge; None otherwise.

    Args:
        arguments: as of merge.

    Raises:
        InputError: the output was made with other arguments.
    """
    shards = ShardFolder(job.output.path)
    if job.overwrite or not shards.is_empty():
        return None
    note = read_arguments(job.output.beside('arguments.json')) or {}
    before = note.get('arguments') or {}
    is_known = 'engine' in arguments
    free = {name: before[name] for name in ENGINE_ARGUMENTS if name in before and not is_known}
    known = extracted_before(job, len(source) * source.settings.rows, {**arguments, **free})
    if known is not None:
        shards.remove()  # what this run saw of the records
    return known


def _gather(shards: ShardFolder, done: Sequence[DoneShard], source: Source, store: Store) -> None:
    """Add to `store` what it lacks of the shards' records, in their order."""
    for each in done:
        if store.done < each.end and each.begin < each.end:
            for entries, arrays in _batches(shards, each, source, store, store.done):
                store.add(entries, arrays)
    if store.done != len(source):
        raise InputError(f'{shards.path}: {store.done} of {len(source)} records were merged')


def _batches(
    shards: ShardFolder, each: DoneShard, source: Source, store: Store, merged: int
) -> Iterator[tuple[list[Entry], dict[str, np.ndarray]]]:
    """Yield (entries, arrays) of a shard's records, with their indices of the whole run.

    Args:
        merged: records of all shards that are merged already.
    """
    folder = shards.folder(each.shard)
    length, row_bytes = each.end - each.begin, sum(c.row_bytes for c in store.columns.values())
    step = max(1, BLOCK_BYTES // max(1, store.rows * row_bytes))
    if not is_begun(folder):
        raise InputError(f'{folder} is not there; run shard {each.shard} again with --overwrite=1')
    with Store(
        folder, store.columns, num_records=length, rows=store.rows, arguments=each.arguments
    ) as part:
        if part.done != length:
            raise InputError(
                f'{folder} has {part.done} of {length} records; run shard {each.shard} again'
            )
        entries = itertools.islice(part.entries(), max(0, merged - each.begin), None)
        while held := list(itertools.islice(entries, step)):
            arrays = {name: part.rows_of(name, held) for name in store.columns}
            places = (source.index_at(each.begin + entry.index) for entry in held)
            yield [entry._replace(index=place) for entry, place in zip(held, places)], arrays
