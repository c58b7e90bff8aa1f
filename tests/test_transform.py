"""Sizes, crops and values."""

import numpy as np
import pytest

from r2plus1d.errors import RecordError
from r2plus1d.networks.input import RGB_MEAN, RGB_STD, normalize
from r2plus1d.video.resize import crop_offsets, output_size, random_crop_offset


def size(width, height, kind, short_edge=128, crop_size=112):
    return output_size(
        width=width,
        height=height,
        video_res_type=kind,
        scale_w=171,
        scale_h=128,
        short_edge=short_edge,
        crop_size=crop_size,
    )


def test_output_size():
    assert size(340, 256, 'scale') == (171, 128)
    assert size(340, 256, 'short_edge') == (170, 128)
    assert size(256, 340, 'short_edge') == (128, 170)
    assert size(200, 200, 'short_edge') == (128, 128)
    assert size(340, 256, 'original') == (340, 256)
    assert size(100, 90, 'original') == (124, 112)  # 100 * 112 / 90 = 124.4
    assert size(90, 100, 'original') == (112, 124)


def test_halves_round_away_from_zero():
    assert size(205, 200, 'short_edge', short_edge=100) == (103, 100)  # 102.5, even would be 102
    assert size(203, 200, 'short_edge', short_edge=100) == (102, 100)  # 101.5


def test_crops():
    def offsets(width, height, crops):
        return crop_offsets(width=width, height=height, crop_size=112, crops=crops)

    assert offsets(171, 128, 1) == [(8, 29)]
    assert offsets(171, 128, 3) == [(8, 0), (8, 29), (8, 59)]
    assert offsets(128, 227, 2) == [(0, 8), (115, 8)]
    assert offsets(112, 112, 1) == [(0, 0)]


def test_a_frame_smaller_than_the_crop_is_refused():
    with pytest.raises(RecordError, match='111 x 200 are smaller than the crop of 112'):
        crop_offsets(width=111, height=200, crop_size=112, crops=1)
    with pytest.raises(RecordError, match='200 x 111'):
        rng = np.random.default_rng(0)
        random_crop_offset(rng, width=200, height=111, crop_size=112)


def test_random_crops_reach_every_place():
    rng = np.random.default_rng(0)
    places = {random_crop_offset(rng, width=12, height=11, crop_size=10) for _ in range(99)}
    assert places == {(top, left) for top in range(2) for left in range(3)}


def test_normalize_is_the_float32_formula_bit_for_bit():
    levels = np.arange(256, dtype=np.uint8)
    pixels = np.broadcast_to(levels, (1, 3, 1, 1, 256))
    mean, std = (np.array(n, np.float32) for n in (RGB_MEAN, RGB_STD))
    shape = (3, 1, 1, 1)
    expected = (pixels.astype(np.float32) - mean.reshape(shape)) * (
        np.float32(1) / std.reshape(shape)
    )
    for given in (pixels, pixels.astype(np.float32)):
        result = normalize(given, RGB_MEAN, RGB_STD)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, expected)
    assert not np.array_equal(expected[0, 0], (levels - np.float64(110.201)) / 58.1489)
