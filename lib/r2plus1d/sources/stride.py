"""From one clip of a video file to the next: a number of frames, or seconds by timestamps."""

import contextlib
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Optional, Union

from r2plus1d.datasets.dense_list import clip_starts
from r2plus1d.errors import InputError, RecordError, require_integer


class Stride(NamedTuple):
    """From one clip's first frame to the next one's: frames, or seconds if they are not None."""

    frames: int = 1
    seconds: Optional[float] = None


def stride_of(value: Union[Stride, int, str]) -> Stride:
    """Return a Stride of frames, such as 8, or of seconds, such as '0.5s'.

    Raises:
        InputError: neither of them.
    """
    if isinstance(value, Stride):
        return value
    with contextlib.suppress(ValueError):
        if isinstance(value, str):
            is_time = value.endswith('s')
            return Stride(seconds=float(value[:-1])) if is_time else Stride(int(value))
    if isinstance(value, str):
        raise InputError(f'stride is {value!r}; frames, such as 8, or seconds, such as 0.5s')
    require_integer('stride', value, 1)
    return Stride(int(value))


def check_stride(stride: Stride) -> None:
    """Raise InputError for a stride that leads nowhere."""
    if stride.seconds is None and stride.frames < 1:
        raise InputError(f'stride is {stride.frames} frames; at least 1')
    if stride.seconds is not None and not 0 < stride.seconds < math.inf:
        raise InputError(f'stride is {stride.seconds} seconds; more than 0')


def starts_by_time(
    times: Sequence[Fraction], *, required: int, seconds: float, frame_seconds: float
) -> list[int]:
    """First frames of the clips: those that are shown nearest to 0, `seconds`, 2 `seconds` ...

    At equal distance it is the frame with an even number. A frame begins one clip at most.

    Args:
        times: when each frame of the video is shown, in seconds, strictly ascending.
        required: frames that a clip needs.
        frame_seconds: how long a frame is shown, on average.

    Raises:
        RecordError: the video has fewer frames, or `seconds` are less than one of its frames.
    """
    if seconds < frame_seconds * (1 - 1e-6):
        raise RecordError(
            f'stride is {seconds:g} seconds, and one frame of it is {frame_seconds:.4g}; '
            'give that much at least'
        )
    step = Fraction(str(seconds))
    last = clip_starts(num_frames=len(times), required=required, stride=1)[-1]
    return [number for number in range(last + 1) if _is_nearest(times, number, step)]


def _is_nearest(times, number, step):
    """Whether a multiple of `step` is nearer to this frame than to those beside it."""
    time = times[number]
    before = (times[number - 1] + time) / 2 if number else Fraction(0)
    if number + 1 < len(times):
        after = (time + times[number + 1]) / 2
    else:
        after = time + (time - times[number - 1] if number else step) / 2
    multiple = math.ceil(before / step) * step
    if number % 2:  # an odd frame gives way in the middle
        multiple += step * (multiple == before)
        return multiple < after
    return multiple <= after
