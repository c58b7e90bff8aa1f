"""The way of chunks through shared memory to a GPU, whose operations come late, and back."""

import contextlib
import multiprocessing
import threading

import numpy as np
import pytest

from r2plus1d.backends.pytorch import engine as torch_engine
from r2plus1d.errors import InputError
from r2plus1d.networks.folding import Plan
from r2plus1d.networks.graph import Node

try:
    torch_engine.require()
except InputError as lacking:
    pytest.skip(str(lacking), allow_module_level=True)

import torch

from late_cuda import COMPUTE, OTHERS, LateCuda
from r2plus1d.backends.pytorch.chunks import run_batches
from r2plus1d.backends.pytorch.gpu import SLOTS, GpuDevice
from r2plus1d.backends.pytorch.worker import WorkerDevice, _answer

SHAPE, CLIPS = (3, 2, 4, 4), 2
CHUNK_BYTES = CLIPS * 4 * 3 * 2 * 4 * 4
PLAN = Plan((Node('ReduceBackMean', ('data',), 'mean', 'mean'),), {}, {}, {'mean': (3,)})
BATCHES = [
    np.full((length, *SHAPE), number, np.float32) for number, length in enumerate([3, 1, 4, 2, 5])
]


class InThread(WorkerDevice):
    """A WorkerDevice whose work is done by a thread, once the first chunks are there."""

    def __init__(self, monkeypatch, eager):
        self._name, self._submitted, self._slot_bytes = 'gpu 0', 0, CHUNK_BYTES
        self._pipe, theirs = multiprocessing.Pipe()
        self._memory = np.zeros(SLOTS * CHUNK_BYTES, np.uint8)
        cuda = LateCuda(eager)
        cuda.put_in_place(monkeypatch)
        self._thread = threading.Thread(target=self._work, args=(theirs, cuda), daemon=True)

    def _work(self, pipe, cuda):
        with contextlib.suppress(EOFError, OSError), cuda:
            device = GpuDevice(torch.device('cuda', 0), precision='fp32', clips=CLIPS)
            device.pin(self._memory)
            device.load(PLAN, {})
            _answer(pipe, self._memory, device)

    def collect(self):
        if not self._thread.ident:
            self._thread.start()  # whatever the load, the first chunks are all there by now
        return super().collect()

    def close(self):
        self._pipe.close()
        self._thread.join()


class OnePlace(InThread):
    """It writes each chunk over the one before, whether that has been read or not."""

    def submit(self, parts):
        self._submitted = 0
        super().submit(parts)


def largest_difference(kind, eager):
    with pytest.MonkeyPatch.context() as patch:
        device = kind(patch, eager)
        found = list(run_batches([device], BATCHES, size=CLIPS))
        device.close()
    assert [len(rows['mean']) for rows in found] == [len(batch) for batch in BATCHES]
    return max(
        np.nan_to_num(np.abs(rows['mean'] - number).max(), nan=np.inf)
        for number, rows in enumerate(found)
    )


@pytest.mark.parametrize('eager', ['', COMPUTE, OTHERS])
def test_rows_are_those_of_their_clips(eager):
    assert largest_difference(InThread, eager) < 1e-6


def test_shared_memory_that_is_used_again_too_early_is_seen():
    assert largest_difference(OnePlace, '') > 0.5
