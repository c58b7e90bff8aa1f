"""How many frames a video has, and when they are shown: what is to be known before its clips."""

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Optional, Union

from r2plus1d.errors import RecordError
from r2plus1d.video.budget import Budget, memory_errors_named
from r2plus1d.video.decode import Video


class Extent(NamedTuple):
    """What a video holds.

    Attributes:
        num_frames: that decode; one more than `most` if there are more.
        most: how many may be used.
        times: seconds at which each of the frames is shown; None if they were not asked for.
        frame_seconds: how long a frame is shown, on average.
        truncated: how the file was cut short; None if it is whole.
        complaint: what else is wrong with it, as Video.complaint says.
    """

    num_frames: int
    most: int
    times: Optional[Sequence[Fraction]]
    frame_seconds: float
    truncated: Optional[str]
    complaint: Optional[str] = None


def extent_of(
    source: Union[bytes, str, 'os.PathLike[str]'],
    budget: Budget,
    *,
    most: Optional[int] = None,
    with_times: bool = False,
    use_truncated: bool = False,
) -> Extent:
    """Return the Extent of a video; all is decoded only where frames cannot be counted otherwise.

    Args:
        source: bytes of an encoded file, or the path of one.
        most: frames that may be used; those that the budget allows, if left out.
        with_times: find the times.
        use_truncated: take a file that was cut short as far as it goes.

    Raises:
        RecordError: not a video, cut short, over budget, or without the times that are asked for.
    """
    with memory_errors_named(), Video(source, budget, use_truncated=use_truncated) as video:
        most = video.affordable_frames if most is None else most
        times = _times(video, most + 1) if with_times else None
        found = video.count_frames_exactly(most=most + 1) if times is None else len(times)
        told = video.truncated, video.complaint
        return Extent(found, most, times, video.frame_seconds, *told)


def _times(video, most):
    if not video.frames_a_second:
        raise RecordError('it does not say how many frames a second it has: give stride in frames')
    times = video.frame_times(most=most)
    if times is None:
        raise RecordError('it does not say when its frames are shown: give stride in frames')
    return times
