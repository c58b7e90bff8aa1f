"""An evaluation in shards, each a run of its own, and the shards merged to the same results.

    run_shard(source, engine, settings, arguments, Shard(3, 40))   on any machine, in any order
    merge(source, settings, arguments)                             once all of them are done
    merge(source, settings, arguments, after=Shard(3, 40))         the same if they are, else None

Each shard is a ScoreJournal of its own in OUTPUT.shards, so one that was killed goes on where it
was. Merging reads the journals one after another as one run goes on from its own.
"""

import contextlib
import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.evaluation.evaluate import EvaluationSettings, Result, evaluate
from r2plus1d.evaluation.journal import Scored, ScoreJournal
from r2plus1d.evaluation.metrics import VideoScore
from r2plus1d.results.hold import holding
from r2plus1d.results.shards import ENGINE_ARGUMENTS, DoneShard, ShardFolder
from r2plus1d.sources.part import CutSource, SourcePart
from r2plus1d.sources.sample import Sample

log = logging.getLogger(__name__)

SCORES = 'scores'


def run_shard(
    source: CutSource,
    engine: Any,
    settings: EvaluationSettings,
    arguments: Mapping[str, Any],
    shard: Shard,
    *,
    overwrite: bool = False,
) -> Result:
    """Score the records of one shard; go on where an earlier run of it ended.

    Args:
        source: all records.
        engine: with its weights.
        settings: of the whole run; `output` says where the folder of the shards is.
        arguments: plain data, all that decides what is predicted.
        shard: Shard.
        overwrite: begin this shard again.

    Raises:
        InputError: the folder of the shards has some of another count or of other arguments, or
            another process is at work on this shard.
    """
    assert settings.output is not None
    shards = ShardFolder(settings.output)
    part = SourcePart(source, shard)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(shards.holding(shard))
        own = dataclasses.replace(settings, output=None, failures=folder / 'failures.csv')
        journal = stack.enter_context(
            ScoreJournal(folder / SCORES, arguments, overwrite=overwrite, keep=True)
        )
        if journal.done:
            log.info('%d of %d videos are done, in %s', journal.done, len(part), journal.path)
        shards.forget(shard)
        result = evaluate(part, engine, own, journal=journal)
        if not result.ended:
            shards.finish(shard, part.begin, part.end, arguments, failed=result.failed)
    return result


class _Journals:
    """The journals of all shards, one after another, as one ScoreJournal that is full."""

    def __init__(self, shards: ShardFolder, done: Sequence[DoneShard]) -> None:
        self._shards, self._all = shards, done
        self.done = done[-1].end

    def scored(self) -> Iterator[Scored]:
        for each in self._all:
            if each.begin < each.end:
                yield from self._scored(each)

    def _scored(self, each):
        folder, count = self._shards.folder(each.shard), each.end - each.begin
        if not folder.is_dir():
            raise InputError(f'{folder} is not there; run shard {each.shard} again')
        with ScoreJournal(folder / SCORES, each.arguments, keep=True) as journal:
            if journal.done != count:
                raise InputError(
                    f'{folder} has {journal.done} of {count} records; run shard {each.shard} again'
                )
            yield from journal.scored()

    def add(self, batch: Sequence[Scored]) -> None:
        raise AssertionError('every record is in a journal')

    def remove(self) -> None:
        """Whoever merges removes all shards at once."""


def merge(
    source: CutSource,
    settings: EvaluationSettings,
    arguments: Mapping[str, Any],
    *,
    each: Optional[Callable[[Sample, Optional[VideoScore]], Any]] = None,
    report: Callable[[Result], Any],
    after: Optional[Shard] = None,
) -> Optional[Result]:
    """Make totals, predictions and failures of all shards as one run does; remove the shards.

    Args:
        source, settings: as of run_shard.
        arguments: the same; `engine` and `gpus` may be left out.
        each, report: see evaluate.
        after: the shard that has just ended, for a run that merges only if all others are done.

    Returns:
        The Result; None with `after` where others are at work, or another run merges.

    Raises:
        InputError: shards are missing or contradict each other; names them.
        HeldError: another run merges, and `after` is None.
    """
    assert settings.output is not None
    shards = ShardFolder(settings.output)
    with contextlib.ExitStack() as stack:
        if not stack.enter_context(shards.merging(after)):
            return None
        stack.enter_context(holding(settings.output, settings.failures))
        done = shards.all(arguments, len(source), free=ENGINE_ARGUMENTS)
        result = evaluate(
            source, None, settings, journal=_Journals(shards, done), each=each, report=report
        )
        if not result.ended:
            shards.remove()
    return result
