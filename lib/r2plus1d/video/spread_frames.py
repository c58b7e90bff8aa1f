"""A few frames of a video, spread over all of it, for people to look at."""

import os
from typing import Union

import numpy as np

from r2plus1d.errors import RecordError
from r2plus1d.video.budget import Budget, memory_errors_named
from r2plus1d.video.decode import Video

LARGEST_ASPECT = 4.0  # width by height of a picture; what is wider or narrower is squeezed


def spread_frames(
    source: Union[bytes, str, 'os.PathLike[str]'], budget: Budget, *, count: int, height: int
) -> list[np.ndarray]:
    """Return at most `count` frames from the middles of equal parts of a video, as stored.

    A file that was cut short is taken as far as it goes.

    Args:
        source: bytes of an encoded file, or the path of one.
        height: of the frames, in pixels; their width follows from the video's.

    Returns:
        uint8 arrays, height x width x 3, RGB.

    Raises:
        RecordError: not a video, or over budget.
    """
    with memory_errors_named(), Video(source, budget, use_truncated=True) as video:
        aspect = video.width * float(video.pixel_aspect) / video.height
        width = round(height * min(max(aspect, 1 / LARGEST_ASPECT), LARGEST_ASPECT))
        num_frames = video.count_frames_exactly()
        if not num_frames:
            raise RecordError('no frame can be decoded')
        wanted = {(2 * i + 1) * num_frames // (2 * count) for i in range(count)}
        return [picture.pixels for picture in video.frames_at(wanted, (width, height))]
