"""One shard of a source: neighbouring records in the order in which the source gives them."""

import contextlib
import dataclasses
from collections.abc import Generator, Iterator
from typing import Any, Optional, Protocol

from r2plus1d.devices import Shard
from r2plus1d.sources.sample import RecordNeeds, Sample
from r2plus1d.video.clip_settings import ClipSettings


class CutSource(Protocol):
    """A source that can be cut between two videos: a DatabaseSource, or VideoFiles."""

    settings: ClipSettings
    needs: RecordNeeds

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...

    def cut(self, place: int) -> int: ...

    def index_at(self, place: int) -> int: ...

    def samples(
        self, first: int = 0, *, last: Optional[int] = None, threads: int = 4, batch: int = 1
    ) -> Generator[Sample, None, None]: ...


class SourcePart:
    """The Samples of one shard. No video is cut: its neighbouring records are in one shard.

    Args:
        source: CutSource.
        shard: Shard; all shards of one count together have each record once.
        numbered: give a Sample its place in the shard as its index, not that in the source.

    Attributes:
        begin, end: places in the order of `source.samples`.
    """

    def __init__(self, source: CutSource, shard: Shard, *, numbered: bool = False) -> None:
        begin, end = shard.part(len(source))
        self.begin, self.end = source.cut(begin), source.cut(end)
        self.settings, self.needs = source.settings, source.needs
        self._source, self._numbered = source, numbered

    def __len__(self) -> int:
        return self.end - self.begin

    def __iter__(self) -> Iterator[Sample]:
        return self.samples()

    def samples(self, first: int = 0, **how: Any) -> Generator[Sample, None, None]:
        """Yield the Sample of each record but for the `first`; `how` as of the source."""
        begin = self.begin + first
        with contextlib.closing(self._source.samples(begin, last=self.end, **how)) as samples:
            for place, sample in enumerate(samples, first):
                yield dataclasses.replace(sample, index=place) if self._numbered else sample
