"""Optical flow as Caffe2's VideoInput computes it: Farneback's, on cropped grey frames."""

import collections
import math
from collections.abc import Hashable, Sequence
from typing import Any

import cv2
import numpy as np

from r2plus1d.networks.input import GRAY, MAGNITUDE, RGB_MEAN, RGB_STD, XY, normalize
from r2plus1d.video.clip_settings import ClipSettings

FARNEBACK: dict[str, Any] = {
    'pyr_scale': math.sqrt(2) / 2,
    'levels': 5,
    'winsize': 10,
    'iterations': 2,
    'poly_n': 7,
    'poly_sigma': 1.5,
    'flags': cv2.OPTFLOW_FARNEBACK_GAUSSIAN,
}


class Flows:
    """Flow between frames of one video, computed once however many clips share the two.

    Args:
        settings: ClipSettings with `flow`.

    Attributes:
        num_computed: flows between two frames that were computed, not remembered.
    """

    def __init__(self, settings: ClipSettings) -> None:
        self._settings = settings
        self._place = {offset: i for i, offset in enumerate(settings.offsets)}
        # Clips that come in the order of their starts share with the one before, crop by crop.
        self._capacity = 2 * settings.crops * len(settings.offsets)
        self._known: collections.OrderedDict[tuple[Hashable, Hashable], np.ndarray] = (
            collections.OrderedDict()
        )
        self.num_computed = 0

    def clip(self, frames: np.ndarray, keys: Sequence[Hashable]) -> np.ndarray:
        """Return the normalized flow of one clip.

        Args:
            frames: uint8 F x H x W x 3, the cropped frames at settings.offsets.
            keys: for each frame what tells it from every other of this video: its index and crop.

        Returns:
            float32 C x length x H x W.
        """
        settings, wanted = self._settings, self._settings.flow
        assert wanted is not None
        frames = np.ascontiguousarray(frames)
        grays = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
        channels = []
        for start in range(0, settings.length * settings.rate, settings.rate):
            steps = range(start, start + wanted.gap + 1)
            chosen = steps if wanted.aggregate else (steps[0], steps[-1])
            flow = self._chain([self._place[offset] for offset in chosen], grays, keys)
            first = self._place[start]
            channels.append(_channels(flow, frames[first], grays[first], wanted.data_type))
        return np.stack(channels, axis=1)

    def _chain(self, places, grays, keys):
        """Flow from the first to the last of the frames at `places`, H x W x 2, in pixels."""
        total = self._between(places[0], places[1], grays, keys)
        if len(places) > 2:
            total = total.copy()
        for first, second in zip(places[1:], places[2:]):
            _advance(total, self._between(first, second, grays, keys))
        return total

    def _between(self, first, second, grays, keys):
        pair = keys[first], keys[second]
        if pair not in self._known:
            self.num_computed += 1
            self._known[pair] = cv2.calcOpticalFlowFarneback(
                grays[first], grays[second], None, **FARNEBACK
            )
            if len(self._known) > self._capacity:
                self._known.popitem(last=False)
        self._known.move_to_end(pair)
        return self._known[pair]


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
        extra = _normalized(frame.transpose(2, 0, 1).astype(np.float32), (RGB_MEAN, RGB_STD))
    return np.concatenate([xy, extra])


def _normalized(channels, statistics):
    return normalize(channels[None, :, None], *statistics)[0, :, 0]
