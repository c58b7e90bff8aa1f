"""An extraction as a tool runs it: all at once, one shard of it, or its shards merged."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from r2plus1d.devices import Shard
from r2plus1d.features import shards, videos
from r2plus1d.features.job import Extracted, FeatureJob, Source, extract_features
from r2plus1d.features.per_video import FAILURES, VideoFolder, VideoTotals
from r2plus1d.features.videos import VideosJob
from r2plus1d.results.shards import ShardFolder
from r2plus1d.video.clip import Work


class Outcome(NamedTuple):
    """What an extraction, or a shard of it, gave.

    Attributes:
        records, failed: how many there are, and how many of them failed.
        lines: what is printed of it.
        failures: the file that lists them.
        work: Work of decoding; None if nothing was decoded for it now.
    """

    records: int
    failed: int
    lines: Sequence[Any]
    failures: pathlib.Path
    work: Optional[Work] = None


@dataclasses.dataclass(frozen=True, eq=False)
class RecordExtraction:
    """One output for all records.

    Attributes:
        job, source, engine, arguments: as of features.job.extract_features.
    """

    job: FeatureJob
    source: Source
    engine: Any
    arguments: Mapping[str, Any]

    @property
    def records(self) -> int:
        """How many records there are."""
        return len(self.source)

    def run(self) -> Outcome:
        """Extract everything."""
        return self._outcome(extract_features(self.job, self.source, self.engine, self.arguments))

    def known(self) -> Optional[Outcome]:
        """Return what a complete output has, where no shards are left to merge."""
        known = shards.merged_before(self.job, self.source, self.arguments)
        return known and self._outcome(known)

    def run_shard(self, shard: Shard) -> Outcome:
        """Extract one shard."""
        done = shards.run_shard(self.job, self.source, self.engine, self.arguments, shard)
        folder = ShardFolder(self.job.output.path).folder(shard)
        counts = _record_counts(done.records, done.failed)
        lines = [f'shard {shard}: {counts}', folder]
        return Outcome(done.records, done.failed, lines, folder, done.work)

    def merge(self, *, after: Optional[Shard] = None) -> Optional[Outcome]:
        """Merge the shards; see features.shards.merge."""
        merged = shards.merge(self.job, self.source, self.arguments, after=after)
        return merged and self._outcome(merged)

    def _outcome(self, extracted: Extracted) -> Outcome:
        totals, work = extracted
        output = self.job.output
        lines = [_record_counts(totals.records, totals.failed)]
        for name, column in self.job.columns.items():
            shape = 'x'.join(map(str, (totals.rows, *column.shape)))
            lines.append(f'{name}: {column.dtype}, {shape}')
        if totals.right is not None:
            lines.append(f'Clip accuracy: {totals.right / totals.rows:.5f}')
        lines.append(str(output.path))
        return Outcome(totals.records, totals.failed, lines, output.beside('failures.csv'), work)


@dataclasses.dataclass(frozen=True, eq=False)
class VideoExtraction:
    """Files of each video.

    Attributes:
        videos: VideosJob.
        engine: with its weights; None where it computes nothing.
    """

    videos: VideosJob
    engine: Any

    @property
    def job(self) -> FeatureJob:
        """What is extracted, and where to."""
        return self.videos.job

    @property
    def arguments(self) -> dict[str, Any]:
        """All that decides what the output becomes."""
        return self.videos.arguments_of_shards(self.engine)

    @property
    def records(self) -> int:
        """How many videos there are."""
        return len(self.videos.paths)

    def run(self) -> Outcome:
        """Extract everything that is not there yet."""
        return self._outcome(*videos.extract_per_video(self.videos, self.engine))

    def known(self) -> None:
        """Return None: each video is looked up by its own files."""

    def run_shard(self, shard: Shard) -> Outcome:
        """Extract one shard."""
        totals, work = videos.run_shard(self.videos, self.engine, shard)
        failures = ShardFolder(self.job.output.path).folder(shard) / FAILURES
        lines = [f'shard {shard}: {_video_counts(totals)}']
        return Outcome(sum(totals), totals.failed, lines, failures, work)

    def merge(self, *, after: Optional[Shard] = None) -> Optional[Outcome]:
        """Merge the shards; see features.videos.merge."""
        merged = videos.merge(self.videos, after=after)
        return merged and self._outcome(*merged)

    def _outcome(
        self, folder: VideoFolder, totals: VideoTotals, work: Optional[Work] = None
    ) -> Outcome:
        lines = [_video_counts(totals), *folder.shapes(), folder.folder]
        return Outcome(sum(totals), totals.failed, lines, folder.folder / FAILURES, work)


Extraction = Union[RecordExtraction, VideoExtraction]


def _record_counts(records: int, failed: int) -> str:
    return f'records: {records}, extracted: {records - failed}, failed: {failed}'


def _video_counts(totals: VideoTotals) -> str:
    return (f'videos: {sum(totals)}, written: {totals.written}, there before: {totals.skipped}, '
            f'failed: {totals.failed}')  # fmt: skip
