"""One device of PyTorch's: clips in, rows out. It imports PyTorch."""

import collections
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import torch

from r2plus1d.backends.pytorch import fusion, gpu_checks
from r2plus1d.backends.pytorch.failures import failures_in_words
from r2plus1d.backends.pytorch.memory import keep_freed_memory
from r2plus1d.backends.pytorch.module import PlanModule
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.folding import Plan
from r2plus1d.networks.input import RGB_MEAN, RGB_STD
from r2plus1d.networks.network import Network

DTYPES = {
    'fp32': torch.float32,
    'tf32': torch.float32,
    'bf16': torch.bfloat16,
    'fp16': torch.float16,
}

# Two or four together take 10% less time a clip. But how the last layer's sums are made depends on
# the number of clips and on a clip's place among them.
CPU_CLIPS_A_RUN = 1
# Enough to fill a large GPU; the activations of R(2+1)D-34 then take a few GB.
GPU_CLIPS_A_RUN = 32
GPU_PIXELS_A_RUN = 16 * 32 * 112 * 112


def require(devices: Devices, precision: str) -> None:
    """Raise InputError unless PyTorch sees the Devices and they have the precision."""
    require_known(precision)
    if devices.kind == 'cpu':
        _require_of_cpu(precision)
    else:
        gpu_checks.require_gpus(devices.ids, precision, devices.names)


def require_known(precision: str) -> None:
    """Raise InputError unless it is a precision of the engine, on one device or another."""
    if precision not in DTYPES:
        raise InputError(f'precision is {precision}; engine torch knows {", ".join(DTYPES)}')


def _require_of_cpu(precision):
    if precision == 'tf32':
        raise InputError('precision is tf32, which is for GPUs; a CPU has fp32 and bf16')
    if precision == 'fp16':  # in which PyTorch's convolutions take 70 times as long
        raise InputError('precision is fp16, which is for GPUs; a CPU has fp32 and bf16')
    if precision == 'bf16' and not cpu_has_bf16():
        raise InputError('precision is bf16, which this CPU does not have; it has fp32')


def cpu_has_bf16() -> bool:
    """Whether PyTorch computes in bf16 on this processor."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


@contextlib.contextmanager
def threads_as_before() -> Iterator[None]:
    """Give the rest of the program the number of threads back that it had."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clips_a_run(network: Network, kind: str) -> int:
    """Return how many clips a device of the kind computes together."""
    if kind == 'cpu':
        return CPU_CLIPS_A_RUN
    return max(1, min(GPU_CLIPS_A_RUN, GPU_PIXELS_A_RUN // math.prod(network.data_shape[1:])))


class CpuDevice:
    """Computes chunks of clips one after the other, in this process.

    Args:
        device: torch.device.
        precision: a key of DTYPES.
        clips: how many are computed together; a shorter chunk is filled up with zeros.
        channels, as_images: as of PlanModule.

    Attributes:
        ahead: most chunks that are submitted before the first one's rows are collected.
        pid: of its own process; it has none.
    """

    ahead = 1
    pid: Optional[int] = None

    def __init__(
        self,
        device: torch.device,
        *,
        precision: str,
        clips: int,
        channels: int = 1,
        as_images: bool = False,
    ) -> None:
        self._device, self._dtype, self._clips = device, DTYPES[precision], clips
        self._form: dict[str, Any] = {'channels': channels, 'as_images': as_images}
        if device.type == 'cpu':
            self._form['fused'] = fusion.is_there()
            keep_freed_memory()
        self._pending: collections.deque[tuple[int, dict[str, torch.Tensor]]] = collections.deque()
        self._module: Optional[PlanModule] = None
        # As transform.normalize has it
        inverse = np.float32(1) / np.asarray(RGB_STD, np.float32)
        self._mean, self._inverse = (
            torch.from_numpy(np.asarray(v, np.float32)).reshape(1, -1, 1, 1, 1).to(device)
            for v in (RGB_MEAN, inverse)
        )

    def load(self, plan: Plan, values: Mapping[str, np.ndarray]) -> None:
        """Take a Plan and {name: array} of its initializers."""
        with self._in_words('the weights'):
            self._module = PlanModule(plan, values, self._dtype, **self._form).to(self._device)

    def wait(self) -> None:
        """Return when the weights are there."""

    def submit(self, parts: Sequence[np.ndarray]) -> None:
        """Begin to compute a chunk of up to `clips` clips, uint8 RGB or normalized float32.

        Args:
            parts: arrays of clips, all of one shape and dtype, one behind the other.
        """
        count = self._require_chunk(parts)
        filled = np.zeros((self._clips, *parts[0].shape[1:]), parts[0].dtype)
        np.concatenate(parts, out=filled[:count])
        with self._in_words(f'{self._clips} clips'), torch.inference_mode():
            self._pending.append((count, self._compute(torch.from_numpy(filled))))

    def collect(self) -> dict[str, np.ndarray]:
        """Return {output: float32 array of N rows} of the chunk submitted first."""
        count, values = self._pending.popleft()
        return {name: value[:count].numpy() for name, value in values.items()}

    def close(self) -> None:
        """Free the memory."""
        self._module = None
        self._pending.clear()

    def _in_words(self, what):
        return failures_in_words(self._device, what)

    def _require_chunk(self, parts):
        count, dtype = sum(map(len, parts)), parts[0].dtype
        assert 1 <= count <= self._clips, count
        assert dtype in (np.uint8, np.float32), dtype
        return count

    def _compute(self, clips):
        data = clips.contiguous(memory_format=torch.channels_last_3d)
        if data.dtype == torch.uint8:
            data = (data.float() - self._mean) * self._inverse
        return self._module(data.to(self._dtype))
