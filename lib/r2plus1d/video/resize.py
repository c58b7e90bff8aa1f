"""Sizes, crops and values: pure functions that do to frames what Caffe2's VideoInput does."""

import numpy as np

from r2plus1d.errors import RecordError


def output_size(
    *,
    width: int,
    height: int,
    video_res_type: str,
    scale_w: int,
    scale_h: int,
    short_edge: int,
    crop_size: int,
) -> tuple[int, int]:
    """Return the (width, height) to which frames of `width` x `height` are resized.

    Args:
        video_res_type: `scale` to scale_w x scale_h; `short_edge` keeps the aspect ratio;
            `original` enlarges only what is smaller than the crop.
    """
    if video_res_type == 'scale':
        return scale_w, scale_h
    if video_res_type == 'short_edge':
        return _with_short_edge(width, height, short_edge)
    if min(width, height) < crop_size:
        return _with_short_edge(width, height, crop_size)
    return width, height


def _with_short_edge(width, height, edge):
    ratio = np.float32(edge) / np.float32(min(width, height))
    if width < height:
        return edge, _round(ratio * np.float32(height))
    return _round(ratio * np.float32(width)), edge


def _round(value):
    """C's round(): halves go away from zero, where Python's go to the even number."""
    return int(np.floor(value + np.float32(0.5)))


def crop_offsets(*, width: int, height: int, crop_size: int, crops: int) -> list[tuple[int, int]]:
    """Return [(top, left)]: one crop at the centre, several evenly along the longer side."""
    _require_crop(width, height, crop_size)
    top, left = (height - crop_size) // 2, (width - crop_size) // 2
    if crops == 1:
        return [(top, left)]
    spare = max(width, height) - crop_size
    along = [i * spare // (crops - 1) for i in range(crops)]
    return [(top, x) for x in along] if width >= height else [(y, left) for y in along]


def random_crop_offset(
    rng: np.random.Generator, *, width: int, height: int, crop_size: int
) -> tuple[int, int]:
    """Return a (top, left), uniform over all places where the crop fits."""
    _require_crop(width, height, crop_size)
    top = rng.integers(0, height - crop_size, endpoint=True)
    return int(top), int(rng.integers(0, width - crop_size, endpoint=True))


def _require_crop(width, height, crop_size):
    if min(width, height) < crop_size:
        raise RecordError(f'frames of {width} x {height} are smaller than the crop of {crop_size}')
