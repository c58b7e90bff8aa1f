"""The times of PyTorch's operators, where each is counted once."""

import contextlib
import types

import pytest

from r2plus1d.backends.installed import has

if not has('torch'):
    pytest.skip('needs PyTorch 2', allow_module_level=True)

import torch  # noqa: E402
from torch.autograd import DeviceType  # noqa: E402

from r2plus1d.backends.pytorch.profile import STEPS, profile_steps  # noqa: E402


def event(key, kind, milliseconds):
    """A row of the profiler: an operator's has the time of its kernels on the GPU as well."""
    return types.SimpleNamespace(
        key=key, device_type=kind, count=2 * STEPS,
        self_device_time_total=1000 * STEPS * milliseconds, self_cpu_time_total=0,
    )  # fmt: skip


def test_kernels_of_a_gpu_are_not_counted_twice(monkeypatch):
    rows = [event('aten::conv3d', DeviceType.CPU, 3), event('cudnn_kernel', DeviceType.CUDA, 3)]
    profiler = types.SimpleNamespace(key_averages=lambda: rows)
    monkeypatch.setattr(torch.profiler, 'profile', lambda **_: contextlib.nullcontext(profiler))
    found = profile_steps(lambda: None, torch.device('cuda', 0))
    assert found == [(3, 'aten::conv3d', '2_times')]
