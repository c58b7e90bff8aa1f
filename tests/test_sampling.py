"""Which frames: integers in, integers out."""

import math

import numpy as np
import pytest

from r2plus1d.errors import RecordError
from r2plus1d.video import sampling


def test_offsets():
    assert sampling.rgb_offsets(length=4, rate=1) == [0, 1, 2, 3]
    assert sampling.rgb_offsets(length=3, rate=4) == [0, 4, 8]
    assert sampling.flow_offsets(length=2, rate=3, gap=1) == [0, 1, 3, 4]
    assert sampling.flow_offsets(length=3, rate=1, gap=2) == [0, 1, 2, 3, 4]


def test_uniform_starts_reach_both_ends():
    assert sampling.uniform_starts(num_frames=20, required=8, clips=3) == [0, 6, 12]
    assert sampling.uniform_starts(num_frames=20, required=8, clips=1) == [0]
    assert sampling.uniform_starts(num_frames=8, required=8, clips=4) == [0, 0, 0, 0]


def test_uniform_starts_round_as_float32():
    def in_double(num_frames, required, clips):
        return [math.floor(i * ((num_frames - required) / (clips - 1))) for i in range(clips)]

    cases = [(n, 8, c) for n in range(8, 400) for c in (7, 10, 12)]
    differ = [
        case
        for case in cases
        if in_double(*case)
        != sampling.uniform_starts(num_frames=case[0], required=case[1], clips=case[2])
    ]
    assert differ, 'float32 and double agree everywhere: this test shows nothing'
    num_frames, required, clips = differ[0]
    step = np.float32(num_frames - required) / np.float32(clips - 1)
    expected = [int(np.float32(i) * step) for i in range(clips)]
    assert (
        sampling.uniform_starts(num_frames=num_frames, required=required, clips=clips) == expected
    )


def test_random_starts_are_seeded_and_cover_the_video():
    def draw(seed):
        rng = np.random.default_rng(seed)
        return sampling.random_starts(rng, num_frames=12, required=8, clips=200)

    assert draw(1) == draw(1) != draw(2)
    assert set(draw(1)) == {0, 1, 2, 3, 4}


def test_given_starts_must_fit():
    assert sampling.given_starts([5, 0], num_frames=13, required=8) == [5, 0]
    with pytest.raises(RecordError, match='too few frames: 12, and the clips need 13'):
        sampling.given_starts([5, 0], num_frames=12, required=8)


@pytest.mark.parametrize('clips', [1, 3])
def test_too_few_frames_says_both_numbers(clips):
    with pytest.raises(RecordError, match='too few frames: 7, and the clips need 8'):
        sampling.uniform_starts(num_frames=7, required=8, clips=clips)
    with pytest.raises(RecordError, match='too few frames: 7, and the clips need 8'):
        sampling.random_starts(np.random.default_rng(0), num_frames=7, required=8, clips=clips)


def test_start_timestamp_rounds_down():
    assert sampling.start_timestamp(start=17, duration=143360, num_frames=280) == 8704
    assert sampling.start_timestamp(start=2, duration=100, num_frames=3) == 66
