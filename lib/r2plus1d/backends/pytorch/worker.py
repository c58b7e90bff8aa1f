"""PyTorch's devices in processes of their own. It imports PyTorch."""

import contextlib
import math
import mmap
import multiprocessing
import multiprocessing.reduction
import multiprocessing.resource_tracker
import os
import signal
import traceback

import numpy as np
import torch

from r2plus1d.backends.pytorch.device import open_device
from r2plus1d.errors import BackendError, InputError

SECONDS_TO_END = 10
LARGEST_ITEM = np.dtype(np.float32).itemsize


def open_devices(network, devices, *, precision, clips, ahead, threads=0):
    """Return a device for each of Devices, in this process if it is only one.

    Args:
        clips: most clips of a chunk.
        ahead: most chunks that are submitted to a device before the first one is collected.
        threads: of the CPU, for all devices together; 0 leaves it to PyTorch.
    """
    if threads:
        torch.set_num_threads(threads)
    options = {'precision': precision, 'clips': clips}
    if len(devices.ids) == 1:
        return [open_device(devices.kind, devices.ids[0], **options)]
    its_threads = max(1, torch.get_num_threads() // len(devices.ids))
    size = clips * math.prod(network.data_shape) * LARGEST_ITEM
    return [
        WorkerDevice(devices.kind, i, slots=ahead, slot_bytes=size, threads=its_threads, **options)
        for i in devices.ids
    ]


class WorkerDevice:
    """Has the methods of device.CpuDevice; another process does the work.

    Clips go there through shared memory, rows come back through a pipe. The process ends when the
    pipe is closed, which the end of this process does too, however it comes.

    Args:
        kind, number: of the device.
        slots: most chunks that are submitted before the first one is collected.
        slot_bytes: size of the largest chunk.
        threads: of the process, on a CPU.
        options: for open_device.
    """

    def __init__(self, kind, number, *, slots, slot_bytes, threads, **options):
        self._name = f'{kind} {number}'
        self._slots, self._slot_bytes, self._submitted = slots, slot_bytes, 0
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, slots * slot_bytes, threads, kind, number, options),
            name=f'r2plus1d {self._name}',
            daemon=True,
        )
        _start_deaf_to_ctrl_c(self._process)
        theirs.close()
        self._memory = self._share_memory(slots * slot_bytes)

    @property
    def pid(self):
        """Of the process."""
        return self._process.pid

    def load(self, plan, values):
        self._send('load', plan, values)

    def wait(self):
        self._receive()

    def submit(self, pixels):
        offset = self._submitted % self._slots * self._slot_bytes
        self._submitted += 1
        _view(self._memory, offset, pixels.shape, pixels.dtype)[:] = pixels
        self._send('submit', offset, pixels.shape, pixels.dtype.str)

    def collect(self):
        return self._receive()

    def close(self):
        """End the process at once; there is nothing in it to save."""
        self._pipe.close()
        self._process.terminate()
        self._process.join()

    def _share_memory(self, size):
        # Not multiprocessing's, which lies in /dev/shm: that is small in containers.
        file = os.memfd_create('clips')
        os.ftruncate(file, size)
        with self._end_reported():
            multiprocessing.reduction.send_handle(self._pipe, file, self.pid)
        memory = mmap.mmap(file, size)
        os.close(file)
        return memory

    def _send(self, *message):
        with self._end_reported():
            self._pipe.send(message)

    def _receive(self):
        with self._end_reported():
            kind, content = self._pipe.recv()
        if kind == 'refused':
            raise content
        if kind == 'broken':
            raise RuntimeError(f'in the process for {self._name}: {content}')
        return content

    @contextlib.contextmanager
    def _end_reported(self):
        try:
            yield
        except (EOFError, ConnectionError):
            self._process.join(SECONDS_TO_END)
            raise BackendError(
                f'the process for {self._name} ended with status {self._process.exitcode} '
                '(-9: killed, as when memory runs out)'
            ) from None


def _start_deaf_to_ctrl_c(process):
    """Start a process that Ctrl-C, which a terminal sends to all, does not reach: we end it."""
    multiprocessing.resource_tracker.ensure_running()  # else `start` does it, and lifts the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _view(memory, offset, shape, dtype):
    return np.frombuffer(memory, dtype, math.prod(shape), offset).reshape(shape)


def _serve(pipe, memory_size, threads, kind, number, options):
    """Answer the messages of a WorkerDevice until it closes the pipe."""
    with contextlib.suppress(EOFError, ConnectionError):
        file = multiprocessing.reduction.recv_handle(pipe)
        memory = mmap.mmap(file, memory_size)
        try:
            torch.set_num_threads(threads)
            _answer(pipe, memory, open_device(kind, number, **options))
        except (InputError, BackendError) as error:
            pipe.send(('refused', error))
        except (EOFError, ConnectionError):
            raise
        except Exception:
            pipe.send(('broken', traceback.format_exc()))
        while True:  # until it is read and the pipe closed
            pipe.recv()


def _answer(pipe, memory, device):
    under_way = 0
    while True:
        # What waits in the pipe is begun before the rows of what was begun are waited for.
        while under_way == device.ahead or (under_way and not pipe.poll()):
            pipe.send(('done', device.collect()))
            under_way -= 1
        order, *content = pipe.recv()
        if order == 'submit':
            offset, shape, dtype = content
            device.submit(_view(memory, offset, shape, dtype))
            under_way += 1
        else:
            device.load(*content)
            pipe.send(('done', None))
