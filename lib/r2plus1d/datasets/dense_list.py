"""Dense prediction's clips: of every video, those at a stride from its first frame to its last.

A video of N frames, of which a clip needs R, at the stride S:

    frame    0 1 2 3 4 5 6 7 8 9 ...  N-1
    clip 0   |<---- R --->|
    clip 1       |<---- R --->|              starts at S
    clip 2           |<---- R --->|          starts at 2 S, and so on up to N - R
"""

import logging
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Optional, TypeVar, Union

from r2plus1d.datasets import lists
from r2plus1d.errors import InputError, RecordError
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.extent import extent_of
from r2plus1d.video.prefetch import prefetch
from r2plus1d.video.sampling import MAX_FRAMES

log = logging.getLogger(__name__)

T = TypeVar('T')


class DenseVideo(NamedTuple):
    """The clips of one video, or why there are none.

    Attributes:
        row: its lists.Row, with a video id.
        starts: first frames of its clips; empty if it failed.
        failure: the reason, or None.
    """

    row: lists.Row
    starts: tuple[int, ...] = ()
    failure: Optional[str] = None

    def clip_rows(self) -> list[lists.Row]:
        """Return a lists.Row for each clip."""
        return [self.row._replace(start_frame=start) for start in self.starts]


def clip_starts(*, num_frames: int, required: int, stride: int) -> list[int]:
    """First frames of the clips: num_frames=20, required=8, stride=4 -> [0, 4, 8, 12].

    Raises:
        RecordError: the video has fewer frames than a clip needs.
    """
    if num_frames < required:
        raise RecordError(f'too few frames: {num_frames}, and a clip needs {required}')
    return list(range(0, num_frames - required + 1, stride))


def read_videos(
    path: Union[str, pathlib.Path], *, on_error: str = 'fail'
) -> tuple[list[lists.Row], list[lists.BadRow]]:
    """Return (rows of the list at `path`, each with a video id of its own; rows left out).

    The ids are the list's column video_id if it has one, else the numbers of the rows from 0, of
    which those that are left out keep theirs.

    Args:
        on_error: `fail`: rows that cannot be used are an error; `continue`: they are left out, as
            long as there are others.

    Raises:
        InputError: as lists.read_rows, or two rows have one video id.
    """
    has_ids = lists.has_column(path, lists.VIDEO_ID)
    good, bad = lists.examine_rows(path, use_video_id=has_ids)
    if on_error == 'fail' or not good:
        lists.require_no_bad_rows(path, good, bad)
    rows = [row for _, row in good]
    if not has_ids:
        lines = sorted(line for line, *_ in [*good, *bad])
        numbers = {line: number for number, line in enumerate(lines)}
        return [row._replace(video_id=numbers[line]) for line, row in good], bad
    _require_own_ids(path, rows)
    return rows, bad


def _require_own_ids(path, rows):
    """Refuse an id that two rows have: the predictions of different videos would be averaged."""
    first = {}
    for number, row in enumerate(rows, 1):
        earlier = first.setdefault(row.video_id, number)
        if earlier != number:
            raise InputError(
                f'{path}: rows {earlier} and {number} under the header, {rows[earlier - 1].video} '
                f'and {row.video}, share the video_id {row.video_id}; a video has one of its own'
            )


def find_clips(
    rows: Iterable[lists.Row],
    *,
    required: int,
    stride: int,
    threads: int,
    use_truncated: bool = False,
) -> Iterator[DenseVideo]:
    """Yield the DenseVideo of each row, in order.

    Files are read; they are decoded only where their frames cannot be counted otherwise. As
    Caffe2's VideoInput decodes no more of a video, clips lie in its first sampling.MAX_FRAMES; a
    warning names a video that has more.

    Args:
        required: frames from a clip's first to its last.
        stride: frames from a clip's first to the next one's.
        threads: videos read at the same time; each is held in memory meanwhile.
        use_truncated: use a file that was cut short as far as it goes.
    """
    tasks = ((row, required, stride, use_truncated) for row in rows)
    yield from prefetch(_dense_video, tasks, threads=threads, ahead=threads)


def _dense_video(row, required, stride, use_truncated):
    how = {'most': MAX_FRAMES, 'use_truncated': use_truncated}
    try:
        extent = DECODERS.call(DEFAULT_BUDGET, extent_of, row.video, DEFAULT_BUDGET, **how)
        if extent.truncated:
            log.warning('%s: %s; clips are of what is there', row.video, extent.truncated)
        elif extent.complaint:
            log.warning('%s: %s; clips are of what FFmpeg reads', row.video, extent.complaint)
        warn_of_more(row.video, extent.num_frames, MAX_FRAMES)
        num_frames = min(extent.num_frames, MAX_FRAMES)
        starts = clip_starts(num_frames=num_frames, required=required, stride=stride)
    except RecordError as error:
        return DenseVideo(row, failure=error.reason)
    return DenseVideo(row, tuple(starts))


def warn_of_more(path: Union[str, pathlib.Path], found: int, most: int) -> None:
    """Warn of a video with more frames than are used."""
    if found > most:
        log.warning('%s: clips are of its first %d frames; it has more', path, most)


def check_splits(num_videos: int, num_splits: int) -> None:
    """Raise InputError unless each list gets a video."""
    if num_videos < num_splits:
        raise InputError(
            f'num_splits is {num_splits}, and {num_videos} videos can be used: lists would be empty'
        )


def deal(videos: Sequence[T], num_splits: int) -> list[Sequence[T]]:
    """Deal out the videos, as cards: 5 in 2 lists -> [[0, 2, 4], [1, 3]].

    So the classes of a list that is sorted by class are spread over all lists.
    """
    check_splits(len(videos), num_splits)
    return [videos[split::num_splits] for split in range(num_splits)]


def list_path(prefix: Union[str, pathlib.Path], split: Union[int, str]) -> pathlib.Path:
    """The list of a split, from 1; or of another name, such as `failures`."""
    prefix = pathlib.Path(prefix)
    if not prefix.name:
        raise InputError(f'output is {prefix}; it is where the names of the lists begin')
    return prefix.with_name(f'{prefix.name}_{split}.csv')


def other_lists(prefix: Union[str, pathlib.Path], num_splits: int) -> list[pathlib.Path]:
    """Return the lists that a run with more splits left under the same prefix, in their order."""
    prefix, numbers = pathlib.Path(prefix), []
    for entry in prefix.parent.iterdir():
        number = entry.stem[len(prefix.name) + 1 :]
        if number.isdecimal() and entry == list_path(prefix, int(number)):
            numbers.append(int(number))
    return [list_path(prefix, number) for number in sorted(numbers) if number > num_splits]
