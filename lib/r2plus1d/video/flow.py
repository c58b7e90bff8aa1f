"""Optical flow as Caffe2's VideoInput computes it: Farneback's, on cropped grey frames."""

import dataclasses
import math

import cv2
import numpy as np

from r2plus1d.video import transform

FARNEBACK = {
    'pyr_scale': math.sqrt(2) / 2,
    'levels': 5,
    'winsize': 10,
    'iterations': 2,
    'poly_n': 7,
    'poly_sigma': 1.5,
    'flags': cv2.OPTFLOW_FARNEBACK_GAUSSIAN,
}
# Mean and standard deviation of what follows the flow's x and y.
XY = ((0.0046635, 0.0046261), (0.972347, 0.755146))
MAGNITUDE = ((0.963986,), (1.43588,))
GRAY = ((102.976,), (55.3691,))
RGB = (transform.RGB_MEAN, transform.RGB_STD)
EXTRA_CHANNELS = {'xy': 0, 'xy_magnitude': 1, 'xy_gray': 1, 'xy_rgb': 3}


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
    def channels(self):
        return 2 + EXTRA_CHANNELS[self.data_type]


def flow_of(windows, settings):
    """Return the normalized flow of clips.

    Args:
        windows: uint8 rows x F x H x W x 3, the cropped frames at settings.offsets.
        settings: ClipSettings with `flow`.

    Returns:
        float32 rows x C x length x H x W.
    """
    return np.stack([_clip_flow(frames, settings) for frames in windows])


def _clip_flow(frames, settings):
    place = {offset: i for i, offset in enumerate(settings.offsets)}
    grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in np.ascontiguousarray(frames)]
    channels = []
    for start in range(0, settings.length * settings.rate, settings.rate):
        steps = range(start, start + settings.flow.gap + 1)
        chosen = steps if settings.flow.aggregate else (steps[0], steps[-1])
        flow = _chain([grays[place[offset]] for offset in chosen])
        first = place[start]
        channels.append(_channels(flow, frames[first], grays[first], settings.flow.data_type))
    return np.stack(channels, axis=1)


def _chain(grays):
    """Flow from the first to the last of grey frames, H x W x 2, in pixels."""
    total = _farneback(grays[0], grays[1])
    for first, second in zip(grays[1:], grays[2:]):
        _advance(total, _farneback(first, second))
    return total


def _farneback(first, second):
    return cv2.calcOpticalFlowFarneback(first, second, None, **FARNEBACK)


def _advance(total, step):
    """Add to each pixel's flow, in place, that of the pixel to which it has led so far."""
    height, width = total.shape[:2]
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    x = np.clip(np.rint(xs + total[..., 0]), 0, width - 1).astype(np.intp)
    y = np.clip(np.rint(ys + total[..., 1]), 0, height - 1).astype(np.intp)
    total += step[y, x]


def _channels(flow, frame, gray, data_type):
    """One flow frame's normalized channels, C x H x W."""
    xy = _normalized(flow.transpose(2, 0, 1), XY)
    if data_type == 'xy':
        return xy
    if data_type == 'xy_magnitude':
        # VideoInput takes the magnitude of what is already normalized.
        extra = _normalized(np.abs(xy).sum(axis=0, keepdims=True), MAGNITUDE)
    elif data_type == 'xy_gray':
        extra = _normalized(gray[None].astype(np.float32), GRAY)
    else:
        extra = _normalized(frame.transpose(2, 0, 1).astype(np.float32), RGB)
    return np.concatenate([xy, extra])


def _normalized(channels, statistics):
    return transform.normalize(channels[None, :, None], *statistics)[0, :, 0]
