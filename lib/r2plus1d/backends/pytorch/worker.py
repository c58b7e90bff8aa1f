"""PyTorch's devices in processes of their own. It imports PyTorch."""

import contextlib
import logging
import math
import mmap
import multiprocessing
import multiprocessing.reduction
import multiprocessing.resource_tracker
import os
import signal
import traceback
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import torch

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.pytorch import gpu_checks
from r2plus1d.backends.pytorch.device import CpuDevice
from r2plus1d.backends.pytorch.gpu import SLOTS, GpuDevice
from r2plus1d.devices import Devices
from r2plus1d.errors import BackendError, InputError
from r2plus1d.networks.folding import Plan
from r2plus1d.networks.network import Network

SECONDS_TO_END = 10
SECONDS_TO_ANSWER = 600  # a GPU computes a chunk in less than one, but first it compares kernels
CUBLAS_WORKSPACE = ':4096:8'  # with which cuBLAS gives the same bits each time
LARGEST_ITEM = np.dtype(np.float32).itemsize


def open_devices(
    network: Network,
    devices: Devices,
    *,
    settings: EngineSettings,
    clips: int,
) -> 'list[Union[CpuDevice, WorkerDevice]]':
    """Return a device for each of Devices; one CPU is in this process.

    A GPU has a process of its own even where it is the only one: there the clips wait in memory
    from which it copies by itself, and nothing else holds up what it is to do next.

    Args:
        settings: their precision and whether it is deterministic; their threads of the CPU are for
            all devices together, 0 leaves them to PyTorch.
        clips: most clips of a chunk.

    Raises:
        InputError, BackendError: a device that cannot be opened.
    """
    if settings.threads:
        torch.set_num_threads(settings.threads)
    options: dict[str, Any] = {'precision': settings.precision, 'clips': clips}
    if devices.kind == 'cpu' and len(devices.ids) == 1:
        return [open_device('cpu', 0, **options)]
    if devices.kind == 'gpu':
        options['deterministic'] = settings.deterministic
    its_threads = max(1, torch.get_num_threads() // len(devices.ids))
    size = clips * math.prod(network.data_shape) * LARGEST_ITEM
    names = devices.names or (None,) * len(devices.ids)
    opened = list[Union[CpuDevice, WorkerDevice]]()
    try:
        for number, name in zip(devices.ids, names):
            place = Place(devices.kind, number, name)
            opened.append(WorkerDevice(place, slot_bytes=size, threads=its_threads, **options))
        for device in opened:
            device.wait()
    except BaseException:
        for device in opened:
            device.close()
        raise
    return opened


def open_device(kind: str, number: int, **options: Any) -> CpuDevice:
    """Return a CpuDevice or a GpuDevice.

    Raises:
        BackendError: a GPU without enough memory.
    """
    if kind == 'cpu':
        in_2d = options['precision'] == 'fp32'  # in bf16 2D is not faster
        return CpuDevice(torch.device('cpu'), as_images=in_2d, **options)
    return GpuDevice(torch.device('cuda', number), **options)


class Place(NamedTuple):
    """A device: its kind, its number, and its UUID if it was named by that."""

    kind: str
    number: int
    name: Optional[str] = None

    def __str__(self) -> str:
        return f'{self.kind} {self.number if self.name is None else self.name}'


class WorkerDevice:
    """Has the methods of device.CpuDevice; another process does the work.

    Clips go there through shared memory, rows come back through a pipe. The process ends when the
    pipe is closed, which the end of this process does too, however it comes.

    Args:
        place: which device.
        slot_bytes: size of the largest chunk.
        threads: of the process, on a CPU.
        options: for open_device.

    Attributes:
        ahead: as of CpuDevice.
    """

    ahead = SLOTS

    def __init__(self, place: Place, *, slot_bytes: int, threads: int, **options: Any) -> None:
        self._name = str(place)
        self._slot_bytes, self._submitted = slot_bytes, 0
        context = multiprocessing.get_context('spawn')
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, self.ahead * slot_bytes, threads, place, options),
            name=f'r2plus1d {self._name}',
            daemon=True,
        )
        _start_deaf_to_ctrl_c(self._process)
        theirs.close()
        self._memory = self._share_memory(self.ahead * slot_bytes)

    @property
    def pid(self) -> Optional[int]:
        """Of the process."""
        return self._process.pid

    def load(self, plan: Plan, values: Mapping[str, np.ndarray]) -> None:
        self._send('load', plan, values)

    def wait(self) -> None:
        """Return when the device is opened, or the weights are there, one after the other."""
        self._receive()

    def submit(self, parts: Sequence[np.ndarray]) -> None:
        """Begin to compute a chunk that is in several arrays, one behind the other."""
        offset = self._submitted % self.ahead * self._slot_bytes
        self._submitted += 1
        shape, dtype = (sum(map(len, parts)), *parts[0].shape[1:]), parts[0].dtype
        np.concatenate(parts, out=_view(self._memory, offset, shape, dtype))
        self._send('submit', offset, shape, dtype.str)

    def collect(self) -> dict[str, np.ndarray]:
        return self._receive()

    def close(self) -> None:
        """End the process at once; there is nothing in it to save."""
        self._pipe.close()
        self._process.kill()  # a process that was stopped takes no other signal
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
            self._wait_for_answer()
            kind, content = self._pipe.recv()
        if kind == 'refused':
            raise content
        if kind == 'broken':
            raise RuntimeError(f'in the process for {self._name}: {content}')
        return content

    def _wait_for_answer(self):
        # Second by second: where both processes were stopped for a while, it counts as one.
        for _ in range(SECONDS_TO_ANSWER):
            if self._pipe.poll(1):
                return
        raise BackendError(
            f'the process for {self._name} has not answered for {SECONDS_TO_ANSWER} seconds; it is '
            'ended. Its device may hang'
        )

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


def _serve(pipe, memory_size, threads, place, options):
    """Answer the messages of a WorkerDevice until it closes the pipe."""
    with contextlib.suppress(EOFError, ConnectionError):
        file = multiprocessing.reduction.recv_handle(pipe)
        memory = mmap.mmap(file, memory_size)
        try:
            torch.set_num_threads(threads)
            device = _open_here(place, memory, options)
            pipe.send(('done', None))
            _answer(pipe, memory, device)
        except (InputError, BackendError) as error:
            pipe.send(('refused', error))
        except (EOFError, ConnectionError):
            raise
        except Exception:
            pipe.send(('broken', traceback.format_exc()))
        while True:  # until it is read and the pipe closed
            pipe.recv()


def _open_here(place, memory, options):
    """Open the device in this process, which is there for nothing else."""
    logging.basicConfig(format='%(message)s', level=logging.WARNING)  # to stderr
    if place.kind == 'cpu':
        return open_device(*place[:2], **options)
    number = place.number
    if place.name is not None:  # CUDA reads it when it is first used
        os.environ['CUDA_VISIBLE_DEVICES'], number = place.name, 0
    if options['deterministic']:
        os.environ['CUBLAS_WORKSPACE_CONFIG'] = CUBLAS_WORKSPACE
        torch.use_deterministic_algorithms(True)
    # An image for GPUs may have set it; convolutions in tf32 are a setting of cuDNN's.
    torch.backends.cuda.matmul.allow_tf32 = False
    names = () if place.name is None else (place.name,)
    gpu_checks.require_gpus([number], options['precision'], names)
    device = open_device('gpu', number, **options)
    device.pin(np.frombuffer(memory, np.uint8))
    return device


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
            device.submit([_view(memory, offset, shape, dtype)])
            under_way += 1
        else:
            device.load(*content)
            pipe.send(('done', None))
