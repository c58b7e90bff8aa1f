"""An extraction into files of each video: one run, or shards of it that are put together."""

import csv
import dataclasses
import hashlib
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from r2plus1d.devices import Shard
from r2plus1d.features.extract import extract
from r2plus1d.features.job import FeatureJob, arguments_of
from r2plus1d.features.per_video import (
    FAILURES,
    VideoFolder,
    VideoTotals,
    names_below,
    write_failures,
)
from r2plus1d.results.complete import CSV_FILE
from r2plus1d.results.hold import Hold, holding
from r2plus1d.results.shards import ENGINE_ARGUMENTS, DoneShard, ShardFolder
from r2plus1d.sources.file_source import Stride, VideoFiles
from r2plus1d.video.clip import Work
from r2plus1d.video.clip_settings import ClipSettings


@dataclasses.dataclass(frozen=True, eq=False)
class VideosJob:
    """Video files, and what is extracted of each.

    Attributes:
        job: FeatureJob; its output is a folder.
        paths: of video files.
        clips: ClipSettings with decode_type `frame`.
        options, weights: as in job.arguments_of.
        pool: a key of per_video.POOLS.
        stride: as in job.open_source.
    """

    job: FeatureJob
    paths: Sequence[pathlib.Path]
    clips: ClipSettings
    options: Mapping[str, Any]
    pool: str = 'none'
    stride: Optional[Stride] = None
    weights: Optional[str] = None

    @property
    def step(self) -> Stride:
        """The stride, that of clips which follow each other if none was given."""
        return self.stride or Stride(frames=self.clips.required)

    def arguments(self, engine: Any) -> dict[str, Any]:
        """What decides the numbers of a video."""
        no_videos = VideoFiles([], self.clips, self.step)
        found = arguments_of(self.job, no_videos, engine, self.options, weights=self.weights)
        del found['videos']
        return found

    def arguments_of_shards(self, engine: Any) -> dict[str, Any]:
        """The same, and which videos there are."""
        text = '\n'.join(map(str, self.paths)).encode('utf-8', 'surrogateescape')
        videos = hashlib.blake2b(text, digest_size=16).hexdigest()
        return {**self.arguments(engine), 'pool': self.pool, 'videos': videos}

    def folder(self, engine: Any) -> VideoFolder:
        """Return the VideoFolder of all videos.

        Raises:
            InputError: files would have one name, or a blob cannot be pooled.
        """
        return VideoFolder(
            self.job.output.path, names_below(self.paths), self.job.columns,
            pool=self.pool, arguments=self.arguments(engine), overwrite=self.job.overwrite,
            replace_different=self.job.replace_different,
        )  # fmt: skip

    def fill(self, folder: VideoFolder, missing: Sequence[pathlib.Path], engine: Any) -> Work:
        """Make the files of the videos `missing`; return the Work of decoding them."""
        source = VideoFiles(missing, self.clips, self.step, threads=self.job.settings.threads)
        return extract(source, engine, folder, self.job.settings)


def extract_per_video(videos: VideosJob, engine: Any) -> tuple[VideoFolder, VideoTotals, Work]:
    """Make the files of each video that are not there yet; see features.per_video.

    Raises:
        InputError: what is there was made with other arguments, or files would have one name.
        HeldError: another run writes into the folder.
    """
    with holding(videos.job.output.path):
        folder = videos.folder(engine)
        work = videos.fill(folder, folder.missing(), engine)
        return folder, folder.finish(), work


def run_shard(videos: VideosJob, engine: Any, shard: Shard) -> tuple[VideoTotals, Work]:
    """Make the files of the videos of one shard that are not there yet.

    Raises:
        InputError: as extract_per_video; the folder of the shards has some of another count, or
            another process is at work on this shard.
    """
    shards = ShardFolder(videos.job.output.path)
    shards.require_count(shard.count)
    begin, end = shard.part(len(videos.paths))
    place = shards.folder(shard)
    hold = Hold(place, place / 'lock')
    try:
        shards.forget(shard)
        folder = videos.folder(engine)
        work = videos.fill(folder, folder.missing(begin, end), engine)
        totals = folder.finish(place / FAILURES)
        shards.finish(shard, begin, end, videos.arguments_of_shards(engine), **totals._asdict())
    finally:
        hold.release()
    return totals, work


def merge(
    videos: VideosJob, *, after: Optional[Shard] = None
) -> Optional[tuple[VideoFolder, VideoTotals]]:
    """Put the totals and failures of all shards together, and remove the shards.

    Args:
        after: the shard that has just ended, for a run that merges only if all others are done.
            None is returned where they are not, or where another run merges.

    Raises:
        InputError: shards are missing or contradict each other; names them.
        HeldError: another run merges.
    """
    shards = ShardFolder(videos.job.output.path)
    with shards.merging(after) as is_mine:
        if not is_mine:
            return None
        done = shards.all(
            videos.arguments_of_shards(None), len(videos.paths), free=ENGINE_ARGUMENTS
        )
        counts = [VideoTotals(**each.counts) for each in done]
        write_failures(videos.job.output.path / FAILURES, _failures(shards, done))
        shards.remove()
    return videos.folder(None), VideoTotals(*map(sum, zip(*counts)))


def _failures(shards: ShardFolder, done: Sequence[DoneShard]) -> Iterator[list[str]]:
    for each in done:
        path = shards.folder(each.shard) / FAILURES
        if each.counts['failed']:
            with path.open(**CSV_FILE) as file:
                rows = csv.reader(file)
                next(rows)
                yield from rows
