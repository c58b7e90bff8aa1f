"""Video files, each a sample with clips that are spread over it or drawn at random."""

import os
from collections.abc import Iterator, Sequence

from r2plus1d.errors import InputError, RecordError
from r2plus1d.sources.file_state import look_at, require_unchanged
from r2plus1d.sources.sample import RecordNeeds, Sample, with_clips
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.prefetch import prefetch
from r2plus1d.video.read_clips import read_clips


class WholeVideos:
    """Iterates over video files as Samples, in their order; a file that fails has the reason.

    Args:
        paths: of the files; datasets.video_files.find_videos looks for them.
        settings: ClipSettings without start frames.
        threads: videos decoded at the same time.
        ahead: Samples kept ready besides, which bounds memory.

    Raises:
        InputError: settings that need start frames, which files do not have.
    """

    needs = RecordNeeds(num_labels=None)

    def __init__(
        self,
        paths: Sequence['os.PathLike[str]'],
        settings: ClipSettings,
        *,
        threads: int = 4,
        ahead: int = 4,
    ) -> None:
        if settings.has_start_frames:
            raise InputError(f'decode_type is {settings.decode_type}; files have no start frames')
        self.settings = settings
        self._paths, self._threads, self._ahead = list(paths), threads, ahead
        self._states = [look_at(path) for path in self._paths]

    def __len__(self) -> int:
        """Number of files."""
        return len(self._paths)

    def __iter__(self) -> Iterator[Sample]:
        tasks = ((index, os.fspath(path)) for index, path in enumerate(self._paths))
        yield from prefetch(self._read, tasks, threads=self._threads, ahead=self._ahead)

    def _read(self, index: int, path: str) -> Sample:
        key = str(index)
        try:
            require_unchanged(path, self._states[index])
            clips = DECODERS.call(self.settings.budget, read_clips, path, self.settings, draw=index)
        except RecordError as error:
            return Sample(index, key, path, failure=error.reason)
        return with_clips(Sample(index, key, path), clips)
