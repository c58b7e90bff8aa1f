"""A GPU of PyTorch's: chunks are copied there while others are computed. It imports PyTorch."""

import collections
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from r2plus1d.backends.pytorch.convolution import has_3d
from r2plus1d.backends.pytorch.device import CpuDevice
from r2plus1d.backends.pytorch.failures import failures_in_words
from r2plus1d.backends.pytorch.gpu_checks import warn_of_cudnn
from r2plus1d.backends.pytorch.graphs import GraphRunner
from r2plus1d.networks.folding import Plan

log = logging.getLogger(__name__)

SLOTS = 3  # chunks: one is copied to the GPU, one computed, and the rows of one are collected
CHANNELS = 8  # tensor cores take channels by eights


class Slot:
    """The memory of one chunk on its way, which later chunks use again.

    Attributes:
        clips: on the GPU.
        rows: {output: pinned memory of this process}, empty before the first chunk.
        uploaded: the Event after which `clips` is filled.
        finished: the Event after which `rows` is filled.
    """

    def __init__(self, shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> None:
        self.clips = torch.empty(shape, dtype=dtype, device=device)
        self.rows: dict[str, torch.Tensor] = {}
        # Waiting for a blocking event leaves the processor to others.
        self.uploaded = torch.cuda.Event(blocking=True)
        self.finished = torch.cuda.Event(blocking=True)


class GpuDevice(CpuDevice):
    """Has the methods of CpuDevice; `submit` returns at once.

    A chunk is read until its rows are collected: it must not be changed before. One in the memory
    that `pin` was given is copied from there without help of the processor.

    Args:
        device: torch.device.
        precision: a key of DTYPES.
        clips: how many are computed together; a shorter chunk is filled up with zeros.
        deterministic: two runs give the same bits; otherwise cuDNN takes the kernels that it finds
            fastest, which may be others in the next run.
        with_graphs: replay a CUDA graph from the third chunk on.
        channels: those of the convolutions are filled up to multiples of it.
        as_images: compute factored convolutions in 2D.
    """

    ahead = SLOTS

    def __init__(
        self,
        device: torch.device,
        *,
        precision: str,
        clips: int,
        deterministic: bool = False,
        with_graphs: bool = True,
        channels: int = CHANNELS,
        as_images: bool = True,
    ) -> None:
        with failures_in_words(device, 'its context'):
            super().__init__(
                device, precision=precision, clips=clips, channels=channels, as_images=as_images
            )
            self._copies = torch.cuda.Stream(device)
        self._precision, self._deterministic = precision, deterministic
        self._with_graphs, self._run = with_graphs, self._compute
        self._under_way: collections.deque[tuple[int, Slot]] = collections.deque()
        self._slots: dict[Any, Slot] = {}
        self._submitted = 0

    def load(self, plan: Plan, values: Mapping[str, np.ndarray]) -> None:
        warn_of_cudnn(self._precision, not self._form['as_images'] or has_3d(plan.nodes))
        super().load(plan, values)
        # What was captured computes with the parameters of before.
        self._run = GraphRunner(self._compute) if self._with_graphs else self._compute
        self._slots.clear()

    def pin(self, memory: np.ndarray) -> None:
        """Make memory of this process one from which the GPU copies by itself.

        Args:
            memory: uint8, in one piece; it stays where it is as long as the process lives.
        """
        with torch.cuda.device(self._device):  # or CUDA takes memory of the first GPU
            address, size = memory.ctypes.data, memory.nbytes
            status = int(torch.cuda.cudart().cudaHostRegister(address, size, 0))
            if status:
                log.warning(
                    '%s: memory cannot be pinned (%s); copies take longer', self._device, status
                )
                with contextlib.suppress(RuntimeError):  # CUDA says it once more to the next one
                    torch.ones(1, device=self._device)

    def submit(self, parts: Sequence[np.ndarray]) -> None:
        count = self._require_chunk(parts)
        assert len(self._under_way) < self.ahead, 'rows of an earlier chunk were not collected'
        with self._in_words(f'{self._clips} clips'), torch.inference_mode(), self._set():
            slot = self._next_slot(torch.from_numpy(parts[0]))
            self._upload(slot, [torch.from_numpy(part) for part in parts])
            torch.cuda.current_stream().wait_event(slot.uploaded)
            self._download(slot, self._run(slot.clips))
        self._under_way.append((count, slot))

    def collect(self) -> dict[str, np.ndarray]:
        count, slot = self._under_way.popleft()
        with self._in_words(f'{self._clips} clips'):
            slot.finished.synchronize()
        return {name: np.array(rows[:count].numpy()) for name, rows in slot.rows.items()}

    def close(self) -> None:
        super().close()
        self._run = self._compute
        self._under_way.clear()
        self._slots.clear()

    def _next_slot(self, clips):
        key = self._submitted % self.ahead, clips.dtype, clips.shape[1:]
        self._submitted += 1
        if key not in self._slots:
            self._slots[key] = Slot((self._clips, *clips.shape[1:]), clips.dtype, self._device)
            # The computing stream may still write to that memory: what it was before, or a filling.
            self._copies.wait_stream(torch.cuda.current_stream())
        return self._slots[key]

    def _upload(self, slot, parts):
        """Fill the slot, whose last chunk was collected: nothing on the GPU reads it any more."""
        begin = 0
        with torch.cuda.stream(self._copies):
            for part in parts:
                slot.clips[begin : begin + len(part)].copy_(part, non_blocking=True)
                begin += len(part)
            if begin < self._clips:
                slot.clips[begin:].zero_()
            slot.uploaded.record(self._copies)

    def _download(self, slot, values):
        for name, value in values.items():
            if name not in slot.rows:
                slot.rows[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            slot.rows[name].copy_(value, non_blocking=True)
        slot.finished.record(torch.cuda.current_stream())

    @contextlib.contextmanager
    def _set(self) -> Iterator[None]:
        """Make this the current GPU, and set cuDNN.

        The number of clips never changes, so that it pays to time cuDNN's kernels once.
        """
        with (
            torch.cuda.device(self._device),
            torch.backends.cudnn.flags(
                enabled=True,
                benchmark=not self._deterministic,
                deterministic=self._deterministic,
                allow_tf32=self._precision == 'tf32',
            ),
        ):
            yield
