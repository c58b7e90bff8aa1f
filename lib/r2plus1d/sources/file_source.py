"""Video files, without a database: clips at a stride from the first frame to the last."""

import hashlib
import itertools
import pathlib
from collections.abc import Generator, Iterator, Sequence
from typing import Optional

from r2plus1d.datasets.dense_list import clip_starts, warn_of_more
from r2plus1d.errors import RecordError, require_integer
from r2plus1d.sources.file_state import describe_state, look_at, require_unchanged
from r2plus1d.sources.grouped import grouped_samples
from r2plus1d.sources.kept import kept_listing
from r2plus1d.sources.sample import RecordNeeds, Sample
from r2plus1d.sources.stride import Stride, check_stride, starts_by_time
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.extent import extent_of
from r2plus1d.video.prefetch import prefetch


class VideoFiles:
    """The clips of video files, in the order of the files and then of their first frames.

    A file that cannot be read, or is shorter than a clip, is one record that fails.

    Args:
        paths: of video files.
        settings: ClipSettings with decode_type `frame`.
        stride: Stride.
        threads: files looked at at the same time; they are decoded only where that is needed to
            count their frames.
        ahead: clips of a video kept ready besides, which bounds memory.
        limit: use the first clips only; None is all.
        kept: a file that keeps what is seen of the files, so that several runs look at them once;
            see sources.kept.

    Attributes:
        identity: text that differs if the clips do.

    Raises:
        InputError: a stride of less than a frame.
    """

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        settings: ClipSettings,
        stride: Stride,
        *,
        threads: int = 4,
        ahead: int = 1,
        limit: Optional[int] = None,
        kept: Optional[pathlib.Path] = None,
    ) -> None:
        self.settings, self.needs = settings, RecordNeeds(num_labels=None)
        self._threads, self._ahead = threads, ahead
        check_stride(stride)
        if limit is not None:
            require_integer('limit', limit, 1)
        self._records, self._states = [], []
        seen = self._look(paths, stride, kept)
        for number, (path, (state, clips)) in enumerate(zip(paths, seen)):
            self._states.append(state)
            self._records += [(number, path, start, failure) for start, failure in clips]
        self._records = self._records[:limit]
        text = '\n'.join([*map(repr, self._records), *map(describe_state, paths, self._states)])
        self.identity = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _look(self, paths, stride, kept):
        """What _clips_of gives of each file, from the file `kept` where it is there."""
        tasks = ((path, self.settings, stride) for path in paths)
        seen = prefetch(_clips_of, tasks, threads=self._threads, ahead=self._threads)
        if kept is None:
            return seen
        clips = self.settings
        how = [stride, clips.required, clips.use_truncated, clips.budget]
        text = '\n'.join(map(repr, [*how, *paths]))
        of = hashlib.blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()
        return kept_listing(kept, of, lambda: list(seen))

    def cut(self, place: int) -> int:
        """The first place from `place` on, in the order of the records, where a file begins."""
        while 0 < place < len(self) and self._records[place][0] == self._records[place - 1][0]:
            place += 1
        return place

    def index_at(self, place: int) -> int:
        """The index of the record at a place of the order of `samples`: the same."""
        return place

    def __enter__(self) -> 'VideoFiles':
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing is open between two calls."""

    def __len__(self) -> int:
        """Clips, and files that fail."""
        return len(self._records)

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples; see `samples`."""
        return self.samples(threads=self._threads, batch=self._ahead)

    def samples(
        self, first: int = 0, *, last: Optional[int] = None, threads: int = 4, batch: int = 1
    ) -> Generator[Sample, None, None]:
        """Yield the Sample of each clip; see DatabaseSource.samples. Its video id is its file's."""
        numbers = range(first, len(self) if last is None else last)
        stretches = [list(s) for _, s in itertools.groupby(numbers, lambda i: self._records[i][0])]
        yield from grouped_samples(
            stretches, self._open, self.settings, threads=threads, batch=batch
        )

    def _open(self, indices):
        number, path, _, _ = self._records[indices[0]]
        changed = self._change_of(number, path)
        samples = []
        for index in indices:
            _, _, start, failure = self._records[index]
            known = {'video_id': number, 'start_frame': start, 'failure': failure or changed}
            samples.append(Sample(index, str(index), str(path), **known))
        return samples, path

    def _change_of(self, number, path):
        try:
            require_unchanged(path, self._states[number])
        except RecordError as error:
            return error.reason
        return None


def _clips_of(path, settings, stride):
    """(FileState, [(first frame, None)] of each clip), or [(None, why there are none)]."""
    state, by_time = look_at(path), stride.seconds is not None
    how = {'with_times': by_time, 'use_truncated': settings.use_truncated}
    try:
        extent = DECODERS.call(settings.budget, extent_of, path, settings.budget, **how)
        warn_of_more(path, extent.num_frames, extent.most)
        starts = _starts(extent, settings.required, stride)
    except RecordError as error:
        return state, [(None, error.reason)]
    return state, [(start, None) for start in starts]


def _starts(extent, required, stride):
    if stride.seconds is None:
        num_frames = min(extent.num_frames, extent.most)
        return clip_starts(num_frames=num_frames, required=required, stride=stride.frames)
    return starts_by_time(
        extent.times[: extent.most],
        required=required,
        seconds=stride.seconds,
        frame_seconds=extent.frame_seconds,
    )
