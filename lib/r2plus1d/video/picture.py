"""One frame of a video, decoded."""

from typing import NamedTuple

import numpy as np


class Picture(NamedTuple):
    """One frame of a video.

    Attributes:
        index: its place among the frames that were asked for.
        pixels: uint8 H x W x 3, RGB.
        seconds: when it is shown, from the beginning of the video; NaN if that is not known.
    """

    index: int  # type: ignore[assignment]  # tuple.index, which nobody calls
    pixels: np.ndarray
    seconds: float
