"""What a network is to be given: its clips' length and size, optical flow, normalization."""

import dataclasses
from collections.abc import Sequence
from typing import Optional

import numpy as np

from r2plus1d.errors import InputError

# Mean and standard deviation of each channel, of VideoInput
RGB_MEAN = (110.201, 100.64, 95.9966)
RGB_STD = (58.1489, 56.4701, 55.3324)
XY = ((0.0046635, 0.0046261), (0.972347, 0.755146))
MAGNITUDE = ((0.963986,), (1.43588,))  # of |x| + |y| of the normalized x and y
GRAY = ((102.976,), (55.3691,))
# What accompanies the flow's x and y
EXTRA_CHANNELS = {
    'xy': ((), ()),
    'xy_magnitude': MAGNITUDE,
    'xy_gray': GRAY,
    'xy_rgb': (RGB_MEAN, RGB_STD),
}


@dataclasses.dataclass(frozen=True)
class FlowSettings:
    """How optical flow is computed, and what accompanies it.

    Attributes:
        gap: frames between the two of which a flow is computed.
        aggregate: follow the flow frame by frame over the gap instead of in one step.
        data_type: a key of EXTRA_CHANNELS, what accompanies the flow's x and y.
    """

    gap: int = 2
    aggregate: bool = False
    data_type: str = 'xy'

    @property
    def channels(self) -> int:
        return len(XY[0]) + len(EXTRA_CHANNELS[self.data_type][0])


@dataclasses.dataclass(frozen=True)
class Input:
    """What a network is to be given, whatever the videos and whichever clips of them.

    Attributes:
        length, rate: frames of a clip and the step between them.
        flow: FlowSettings for optical flow, None for RGB; then `length` and `rate` are the flow's.
        video_res_type, scale_w, scale_h, short_edge: how frames are resized, see
            video.resize.output_size; in pixels.
        crop_size: height and width of the input, in pixels.

    Raises:
        InputError: a crop that is larger than the frames.
    """

    length: int = 16
    rate: int = 1
    flow: Optional[FlowSettings] = None
    video_res_type: str = 'scale'
    scale_w: int = 171
    scale_h: int = 128
    short_edge: int = 128
    crop_size: int = 112

    def __post_init__(self) -> None:
        sides = {'scale': min(self.scale_w, self.scale_h), 'short_edge': self.short_edge}
        if self.crop_size > sides.get(self.video_res_type, self.crop_size):
            side = sides[self.video_res_type]
            raise InputError(f'crop_size is {self.crop_size}, larger than frames resized to {side}')

    @property
    def channels(self) -> int:
        return self.flow.channels if self.flow else len(RGB_MEAN)

    @property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, standard deviation) of the channels, in their order."""
        if self.flow is None:
            return RGB_MEAN, RGB_STD
        mean, deviation = EXTRA_CHANNELS[self.flow.data_type]
        return XY[0] + mean, XY[1] + deviation


def normalize(values: np.ndarray, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Return (values - mean) * (1 / std) per channel in float32, as VideoInput rounds it.

    Args:
        values: N C T H W, float32 or uint8.
        mean, std: C numbers each.
    """
    means = np.asarray(mean, np.float32)
    inverse = np.float32(1) / np.asarray(std, np.float32)
    if values.dtype == np.uint8:
        return _normalize_bytes(values, means, inverse)
    shape = (-1, 1, 1, 1)
    return (values - means.reshape(shape)) * inverse.reshape(shape)


def normalize_rgb(pixels: np.ndarray) -> np.ndarray:
    """Return uint8 RGB pixels, N 3 T H W, as the networks see them: normalized float32."""
    return normalize(pixels, RGB_MEAN, RGB_STD)


def _normalize_bytes(values: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """The same by tables of the 256 possible results: one look-up a value."""
    levels = np.arange(256, dtype=np.float32)
    out = np.empty(values.shape, np.float32)
    for channel in range(values.shape[1]):
        table = (levels - mean[channel]) * inverse[channel]
        np.take(table, values[:, channel], out=out[:, channel])
    return out
