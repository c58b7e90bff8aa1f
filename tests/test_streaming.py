"""Batches through an engine that works ahead, and one that does not: the same rows in order."""

import collections
import types

import numpy as np
import pytest

from r2plus1d.inference.prediction import predict_batches
from r2plus1d.inference.streaming import run_each


class Plain:
    """Gives twice the clips; keeps the lengths of its batches."""

    def __init__(self):
        self.batches = []

    def run(self, pixels):
        self.batches.append(len(pixels))
        return {'twice': 2 * pixels}


class Ahead(Plain):
    """Reads two batches more before it yields the first one's rows."""

    def run_each(self, batches):
        held = collections.deque()
        for pixels in batches:
            held.append(None if pixels is None else self.run(pixels))
            if len(held) > 2:
                yield held.popleft()
        yield from held


def sample(number, *, failure=None):
    clips = types.SimpleNamespace(pixels=np.full((2, 1), number, np.uint8))
    return types.SimpleNamespace(index=number, failure=failure, clips=None if failure else clips)


SAMPLES = [
    sample(0), sample(1), sample(2), sample(3, failure='bad'), sample(4, failure='bad'), sample(5),
    sample(6), sample(7), sample(8, failure='bad'),
]  # fmt: skip


@pytest.mark.parametrize('kind', [Plain, Ahead])
def test_every_sample_comes_once_with_its_rows(kind):
    engine = kind()
    batches = list(predict_batches(SAMPLES, engine, batch_size=2))
    assert [[s.index for s, _ in batch] for batch in batches] == [
        [0, 1],
        [2],
        [3],
        [4],
        [5, 6],
        [7],
        [8],
    ]
    for given, outputs in (pair for batch in batches for pair in batch):
        if given.failure:
            assert outputs is None
        else:
            np.testing.assert_array_equal(outputs['twice'], 2 * given.clips.pixels)
    assert engine.batches == [4, 2, 4, 2]


def test_nothing_is_read_ahead_of_a_plain_engine():
    read = []

    def reader():
        for given in SAMPLES:
            read.append(given.index)
            yield given

    batches = predict_batches(reader(), Plain(), batch_size=2)
    next(batches)
    assert read == [0, 1]
    batches.close()


class Interrupted(Plain):
    def run(self, pixels):
        raise KeyboardInterrupt


def test_what_reads_ends_with_an_interruption():
    """Even where somebody keeps the error, and with it all that was under way."""
    ended = []

    def reader():
        try:
            yield from SAMPLES
        finally:
            ended.append(True)

    with pytest.raises(KeyboardInterrupt) as kept:
        list(predict_batches(reader(), Interrupted(), batch_size=2))
    assert kept.value.__traceback__ is not None and ended


@pytest.mark.parametrize('kind', [Plain, Ahead])
def test_an_empty_source(kind):
    assert list(predict_batches([], kind(), batch_size=2)) == []


def test_no_engine_runs_nothing():
    assert list(run_each(None, [None, None])) == [None, None]
