"""Video files, without a database: clips at a stride from the first frame to the last."""

import codecs
import hashlib
import itertools
import os
import pathlib
from collections.abc import Generator, Sequence
from typing import NamedTuple, Optional, Union

from r2plus1d.datasets.dense_list import clip_starts
from r2plus1d.errors import InputError, RecordError
from r2plus1d.sources.grouped import file_state, grouped_samples
from r2plus1d.sources.sample import RecordNeeds, Sample
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.prefetch import prefetch

SUFFIXES = (
    '.mp4', '.m4v', '.mov', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.ts', '.mts', '.m2ts',
    '.wmv', '.flv', '.ogv', '.3gp', '.vob',
)  # fmt: skip
LIST_SUFFIX = '.txt'


class Stride(NamedTuple):
    """From one clip's first frame to the next one's: frames, or seconds if they are not None."""

    frames: int = 1
    seconds: Optional[float] = None


class VideoFiles:
    """The clips of video files, in the order of the files and then of their first frames.

    A file that cannot be read, or is shorter than a clip, is one record that fails.

    Args:
        paths: of video files.
        settings: ClipSettings with decode_type `frame`.
        stride: Stride.
        threads: files looked at at the same time; nothing is decoded yet.
        limit: use the first clips only; None is all.

    Attributes:
        identity: text that differs if the clips do.
    """

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        settings: ClipSettings,
        stride: Stride,
        *,
        threads: int = 4,
        limit: Optional[int] = None,
    ) -> None:
        self.settings, self.needs = settings, RecordNeeds(num_labels=None)
        tasks = ((path, settings.required, stride) for path in paths)
        self._records = []
        for number, (path, clips) in enumerate(zip(paths, prefetch(
            _clips_of, tasks, threads=threads, ahead=threads
        ))):  # fmt: skip
            self._records += [(number, path, start, failure) for start, failure in clips]
        self._records = self._records[:limit]
        text = '\n'.join([*map(repr, self._records), *map(file_state, paths)])
        self.identity = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def __enter__(self) -> 'VideoFiles':
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Nothing is open between two calls."""

    def __len__(self) -> int:
        """Clips, and files that fail."""
        return len(self._records)

    def samples(
        self, first: int = 0, *, threads: int = 4, batch: int = 1
    ) -> Generator[Sample, None, None]:
        """Yield the Sample of each clip; see DatabaseSource.samples. Its video id is its file's."""
        numbers = range(first, len(self))
        stretches = [list(s) for _, s in itertools.groupby(numbers, lambda i: self._records[i][0])]
        yield from grouped_samples(
            stretches, self._open, self.settings, threads=threads, batch=batch
        )

    def _open(self, indices):
        samples = []
        for index in indices:
            number, path, start, failure = self._records[index]
            samples.append(
                Sample(
                    index,
                    str(index),
                    str(path),
                    video_id=number,
                    start_frame=start,
                    failure=failure,
                )
            )
        return samples, self._records[indices[0]][1]


def _clips_of(path, required, stride):
    """[(first frame, None)] of each clip of a file, or [(None, why there are none)]."""
    try:
        with Video(path) as video:
            num_frames = video.count_packets()
            starts = _starts(num_frames, required, stride, video.frames_a_second)
    except RecordError as error:
        return [(None, error.reason)]
    return [(start, None) for start in starts]


def _starts(num_frames, required, stride, frames_a_second):
    if stride.seconds is None:
        return clip_starts(num_frames=num_frames, required=required, stride=stride.frames)
    if not frames_a_second:
        raise RecordError('it does not say how many frames a second it has: give stride in frames')
    step = stride.seconds * float(frames_a_second)
    last = clip_starts(num_frames=num_frames, required=required, stride=1)[-1]
    starts = itertools.takewhile(lambda s: s <= last, (round(i * step) for i in itertools.count()))
    return sorted(set(starts))


def find_videos(places: Sequence[Union[str, pathlib.Path]]) -> list[pathlib.Path]:
    """Return the paths of the video files that `places` name, each once, in order.

    Args:
        places: paths of files; of folders, in which files with a video's suffix are looked for,
            sorted by name; and of .txt files with a path a line.

    Raises:
        InputError: one is not there, or there are no videos.
    """
    found: dict[pathlib.Path, None] = {}
    for place in map(pathlib.Path, places):
        for path in _expanded(place):
            found[path] = None
    if not found:
        shown = ', '.join(map(str, places))
        raise InputError(f'no videos in {shown}: files that end in {", ".join(SUFFIXES)}')
    return list(found)


def _expanded(place):
    if place.is_dir():
        files = sorted(path for path in place.rglob('*') if path.is_file())
        return [path for path in files if path.suffix.lower() in SUFFIXES]
    if not place.exists():
        raise InputError(f'{place} does not exist; videos takes files, folders and .txt lists')
    if place.suffix.lower() != LIST_SUFFIX:
        return [place]
    lines = os.fsdecode(place.read_bytes().removeprefix(codecs.BOM_UTF8)).splitlines()
    paths = [pathlib.Path(line.strip()) for line in lines if line.strip()]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise InputError(
            f'{place}: {len(missing)} of {len(paths)} videos do not exist, the first {missing[0]}'
        )
    return paths
