"""One device of PyTorch's: clips in, rows out. It imports PyTorch."""

import collections
import contextlib
import math

import numpy as np
import torch

from r2plus1d.backends.pytorch.module import PlanModule
from r2plus1d.errors import BackendError, InputError
from r2plus1d.networks.input import RGB_MEAN, RGB_STD

DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
BF16_CAPABILITY = (8, 0)  # of Ampere, the first GPUs that have it

# Two or four together take 10% less time a clip. But how the last layer's sums are made depends on
# the number of clips and on a clip's place among them.
CPU_CLIPS_A_RUN = 1
# Enough to fill a large GPU; the activations of R(2+1)D-34 then take a few GB.
GPU_CLIPS_A_RUN = 32
GPU_PIXELS_A_RUN = 16 * 32 * 112 * 112


def require(devices, precision):
    """Raise InputError unless PyTorch sees the Devices and they have the precision."""
    if precision not in DTYPES:
        raise InputError(f'precision is {precision}; engine torch knows {", ".join(DTYPES)}')
    if devices.kind == 'cpu':
        _require_of_cpu(precision)
    else:
        _require_gpus(devices.ids)
        _require_of_gpus(devices.ids, precision)


def _require_of_cpu(precision):
    if precision == 'fp16':  # in which PyTorch's convolutions take 70 times as long
        raise InputError('precision is fp16, which is for GPUs; a CPU has fp32 and bf16')
    if precision == 'bf16' and not _cpu_has_bf16():
        raise InputError('precision is bf16, which this CPU does not have; it has fp32')


def _cpu_has_bf16():
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def _require_gpus(ids):
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if any(i >= seen for i in ids):
        raise InputError(
            f'gpus is {",".join(map(str, ids))}; PyTorch sees {seen or "no"} GPUs here. '
            '--gpus= (nothing) runs on the CPU'
        )


def _require_of_gpus(ids, precision):
    for i in ids:
        if precision == 'bf16' and torch.cuda.get_device_capability(i) < BF16_CAPABILITY:
            name = torch.cuda.get_device_name(i)
            raise InputError(f'precision is bf16, which GPU {i} ({name}) lacks; it has fp32, fp16')


def clips_a_run(network, kind):
    """Return how many clips a device of the kind computes together."""
    if kind == 'cpu':
        return CPU_CLIPS_A_RUN
    return max(1, min(GPU_CLIPS_A_RUN, GPU_PIXELS_A_RUN // math.prod(network.data_shape[1:])))


def open_device(kind, number, *, precision, clips):
    """Return a CpuDevice or a GpuDevice."""
    if kind == 'cpu':
        return CpuDevice(torch.device('cpu'), precision=precision, clips=clips)
    return GpuDevice(torch.device('cuda', number), precision=precision, clips=clips)


class CpuDevice:
    """Computes chunks of clips one after the other, in this process.

    Args:
        device: torch.device.
        precision: a key of DTYPES.
        clips: how many are computed together; a shorter chunk is filled up with zeros.

    Attributes:
        ahead: chunks that are worth submitting before the first one's rows are collected.
        pid: of its own process; it has none.
    """

    ahead = 1
    pid = None

    def __init__(self, device, *, precision, clips):
        self._device, self._dtype, self._clips = device, DTYPES[precision], clips
        self._pending = collections.deque()
        # As transform.normalize has it
        inverse = np.float32(1) / np.asarray(RGB_STD, np.float32)
        self._mean, self._inverse = (
            torch.from_numpy(np.asarray(v, np.float32)).reshape(1, -1, 1, 1, 1).to(device)
            for v in (RGB_MEAN, inverse)
        )

    def load(self, plan, values):
        """Take a Plan and {name: array} of its initializers."""
        with self._memory_for('the weights'):
            self._module = PlanModule(plan, values, self._dtype).to(self._device)

    def wait(self):
        """Return when the weights are there."""

    def submit(self, pixels):
        """Begin to compute up to `clips` clips, uint8 RGB or normalized float32."""
        assert 1 <= len(pixels) <= self._clips, len(pixels)
        assert pixels.dtype in (np.uint8, np.float32), pixels.dtype
        filled = np.zeros((self._clips, *pixels.shape[1:]), pixels.dtype)
        filled[: len(pixels)] = pixels
        with self._memory_for(f'{self._clips} clips'), torch.inference_mode():
            self._pending.append((len(pixels), *self._start(torch.from_numpy(filled))))

    def collect(self):
        """Return {output: float32 array of N rows} of the chunk submitted first."""
        count, values, finished = self._pending.popleft()
        finished()
        return {name: value[:count].numpy() for name, value in values.items()}

    def close(self):
        """Free the memory."""
        self._module = None
        self._pending.clear()

    @contextlib.contextmanager
    def _memory_for(self, what):
        try:
            yield
        except torch.cuda.OutOfMemoryError:
            raise BackendError(f'{self._device} has too little free memory for {what}') from None

    def _start(self, clips):
        """Return ({output: tensor in the main memory}, function that returns once it is filled)."""
        return self._compute(clips), lambda: None

    def _compute(self, clips):
        data = clips.contiguous(memory_format=torch.channels_last_3d)
        if data.dtype == torch.uint8:
            data = (data.float() - self._mean) * self._inverse
        return self._module(data.to(self._dtype))


class GpuDevice(CpuDevice):
    """The same on a GPU: submit returns at once, a chunk is copied while another is computed."""

    ahead = 2

    def __init__(self, device, **options):
        super().__init__(device, **options)
        self._copies = torch.cuda.Stream(device)

    def _start(self, clips):
        # The number of clips never changes, so that it pays to time cuDNN's kernels once.
        with (
            torch.cuda.device(self._device),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=False),
        ):
            values = self._compute(self._upload(clips))
            return self._download(values)

    def _upload(self, clips):
        compute = torch.cuda.current_stream()
        with torch.cuda.stream(self._copies):
            data = clips.pin_memory().to(self._device, non_blocking=True)
        compute.wait_stream(self._copies)
        data.record_stream(compute)
        return data

    def _download(self, values):
        pinned = {}
        for name, value in values.items():
            pinned[name] = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
            pinned[name].copy_(value, non_blocking=True)
        finished = torch.cuda.Event()
        finished.record()
        return pinned, finished.synchronize
