"""Batches as chunks through devices that compute later, and back."""

import collections

import numpy as np
import pytest

from r2plus1d.backends.pytorch.chunks import run_batches


class Device:
    """Doubles clips when their rows are collected; keeps the lengths of its chunks."""

    def __init__(self, ahead=3):
        self.ahead, self.chunks, self._under_way = ahead, [], collections.deque()

    def submit(self, parts):
        self._under_way.append(np.concatenate(parts))
        self.chunks.append(len(self._under_way[-1]))
        assert len(self._under_way) <= self.ahead

    def collect(self):
        clips = self._under_way.popleft()
        return {'twice': 2 * clips, 'clip': clips}

    @property
    def idle(self):
        return not self._under_way


def batches_of(*lengths):
    """Numbers counted on from batch to batch; None for None."""
    begin = 0
    for length in lengths:
        yield None if length is None else np.arange(begin, begin + length)
        begin += length or 0


@pytest.mark.parametrize('count', [1, 2, 3])
@pytest.mark.parametrize('ahead', [1, 3])
@pytest.mark.parametrize('size', [1, 2, 4, 100])
@pytest.mark.parametrize(
    'lengths', [(), (5,), (1, 1, 1, 1), (3, 4, 5, 6), (None,), (None, 3, None, None, 9, 1, None)]
)
def test_every_batch_has_its_rows(count, ahead, size, lengths):
    devices = [Device(ahead) for _ in range(count)]
    found = list(run_batches(devices, batches_of(*lengths), size=size))
    assert len(found) == len(lengths)
    for rows, batch in zip(found, batches_of(*lengths)):
        if batch is None:
            assert rows is None
        else:
            np.testing.assert_array_equal(rows['twice'], 2 * batch)
            np.testing.assert_array_equal(rows['clip'], batch)
    assert all(device.idle for device in devices)


def test_only_the_last_chunk_is_not_full():
    device = Device()
    list(run_batches([device], batches_of(3, 3, 3, 1), size=4))
    assert device.chunks == [4, 4, 2]


def test_before_a_none_everything_is_known():
    """A record that failed is told when all before it is done, not when more has come."""
    device, read = Device(), []

    def batches():
        for batch in batches_of(3, None, 3):
            read.append(batch)
            yield batch

    found = run_batches([device], batches(), size=4)
    assert len(next(found)['clip']) == 3
    assert next(found) is None
    assert len(read) == 2
    found.close()


def test_devices_are_ahead_of_the_rows():
    device, read = Device(ahead=3), []

    def batches():
        for batch in batches_of(*[1] * 9):
            read.append(batch)
            yield batch

    found = run_batches([device], batches(), size=1)
    next(found)
    assert len(read) == 3
    next(found)
    assert len(read) == 4
    found.close()
    assert device.idle, 'what nobody wants was left on its way'


def test_an_error_comes_after_the_rows_before_it():
    def batches():
        yield from batches_of(3, 2, 2)
        raise OSError('the disk')

    found = []
    with pytest.raises(OSError, match='the disk'):
        for rows in run_batches([Device(), Device()], batches(), size=4):
            found.append(len(rows['clip']))  # noqa: PERF401
    assert found == [3, 2, 2]


def test_dtypes_are_not_mixed_in_a_chunk():
    device = Device()
    batches = [np.zeros(3, np.uint8), np.ones(3, np.float32)]
    found = list(run_batches([device], batches, size=4))
    assert [rows['clip'].dtype for rows in found] == [np.uint8, np.float32]
    assert device.chunks == [3, 3]
