"""What is looked at in the videos of a list before a database is made of them."""

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Optional, Union

from r2plus1d.datasets.lists import BadRow, GoodRow
from r2plus1d.errors import InputError, RecordError
from r2plus1d.results.progress import Progress
from r2plus1d.video.budget import DEFAULT_BUDGET, memory_errors_named
from r2plus1d.video.decode import Video
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.prefetch import prefetch

log = logging.getLogger(__name__)

SIZE = (171, 128)  # width and height of the frame that is converted, VideoInput's own
VIDEOS_BETWEEN_LINES = 1000

AnyPath = Union[str, 'os.PathLike[str]']


def check_videos(videos: Sequence[str], *, threads: int) -> Iterator[Optional[str]]:
    """Yield what is wrong with each video, in order; None where nothing is.

    A video is opened, its packets are read to the end, and its first frame is decoded. A warning
    names one that can be used, but is damaged as far as that is seen.

    Args:
        videos: paths.
        threads: videos read at the same time.
    """
    checked = prefetch(_check, ((video,) for video in videos), threads=threads, ahead=threads)
    for video, (problem, damage) in zip(videos, checked):
        if damage:
            log.warning('%s: %s; it is used as far as FFmpeg reads it', video, damage)
        yield problem


def find_problems(videos: Iterable[str], *, threads: int) -> dict[str, Optional[str]]:
    """Return {path: what is wrong with the video, or None}; each is opened once, see check_videos.

    Progress goes to stderr.
    """
    videos = list(dict.fromkeys(videos))
    problems = {}
    with Progress(len(videos), unit='videos', every=VIDEOS_BETWEEN_LINES) as progress:
        for video, problem in zip(videos, check_videos(videos, threads=threads)):
            problems[video] = problem
            progress.step('checked')
    return problems


def _check(video):
    """(why a video cannot be used or None, what is damaged of one that can or None)."""
    try:
        return None, DECODERS.call(DEFAULT_BUDGET, require_frame, video)
    except RecordError as error:
        return error.reason, None


def require_frame(video: AnyPath) -> Optional[str]:
    """Return what is damaged of a video, as far as its packets and its first frame show it.

    Raises:
        RecordError: it cannot be read to its end, or its first frame does not decode.
    """
    with memory_errors_named(), Video(video) as opened:
        if next(opened.frames_at({0}, SIZE), None) is None:
            raise RecordError('no frame decodes')
        if opened.num_undecodable:
            return f'{opened.num_undecodable} packets or frames are damaged'
        return opened.complaint


def split_rows(
    rows: Sequence[GoodRow], problems: dict[str, Optional[str]]
) -> tuple[list[GoodRow], list[BadRow]]:
    """Return (rows whose video has no problem, the others), by what is wrong with each path."""
    good, bad = [], []
    for line, row in rows:
        problem = problems.get(row.video)
        if problem is None:
            good.append(GoodRow(line, row))
        else:
            bad.append(BadRow(line, row.video, f'{row.video}: {problem}'))
    return good, bad


def require_own_ids(path: AnyPath, rows: Sequence[GoodRow]) -> None:
    """Raise InputError if two videos share a video id: their clips would be taken for one video's.

    Rows of one file, such as its clips, may share one. Rows without an id are passed over.

    Args:
        path: of the list, for the message.
    """
    first: dict[int, GoodRow] = {}
    files: dict[str, str] = {}
    for here in rows:
        if here.row.video_id is None:
            continue
        earlier = first.setdefault(here.row.video_id, here)
        one, other = (
            files.setdefault(video, os.path.realpath(video))
            for video in (earlier.row.video, here.row.video)
        )
        if one != other:
            raise InputError(
                f'{path}: lines {earlier.line} and {here.line}, {earlier.row.video} and '
                f'{here.row.video}, share the video_id {here.row.video_id}; only clips of one '
                'video do'
            )
