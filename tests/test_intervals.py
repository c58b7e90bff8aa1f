"""Wilson's interval and McNemar's test, against published values and plain sums."""

import math
from fractions import Fraction

import pytest

from r2plus1d.evaluation.intervals import mcnemar, wilson


@pytest.mark.parametrize(
    ('right', 'count', 'low', 'high'),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_is_the_published_interval(right, count, low, high):
    assert wilson(right / count, count) == pytest.approx((low, high), abs=5e-5)
    mirrored = wilson(1 - right / count, count)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=5e-5)


def test_wilson_without_trials_is_everything():
    assert wilson(0.0, 0) == (0.0, 1.0)


@pytest.mark.parametrize(
    ('lost', 'gained'), [(0, 5), (10, 3), (3, 10), (1, 0), (20, 21), (0, 40), (7, 7), (0, 0)]
)
def test_mcnemar_is_the_exact_sum(lost, gained):
    count = lost + gained
    tail = sum(math.comb(count, i) for i in range(min(lost, gained) + 1))
    assert mcnemar(lost, gained) == pytest.approx(float(min(1, Fraction(2 * tail, 2**count))))


def test_mcnemar_of_many_videos():
    assert mcnemar(1000, 1000) == 1
    assert 0 < mcnemar(100_000, 101_500) < 0.001
    assert 0.5 < mcnemar(100_000, 100_200) < 0.7
    assert mcnemar(0, 200_000) == 0
