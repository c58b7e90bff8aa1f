"""Which operators of PyTorch take how long."""

from typing import Callable

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity

STEPS = 3


def profile_steps(step: Callable[[], object], device: torch.device) -> list[tuple[float, str, str]]:
    """Return [(milliseconds of a step, operator, how often it is called)], the slowest first."""
    step()  # the profiler's own beginning is not measured
    activities = [ProfilerActivity.CPU]
    if device.type == 'cuda':
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(STEPS):
            step()
    measured = 'self_device_time_total' if device.type == 'cuda' else 'self_cpu_time_total'
    rows = [
        (getattr(event, measured) / 1000 / STEPS, event.key, f'{event.count // STEPS}_times')
        for event in profiler.key_averages()
        # A GPU's kernels have rows of their own, and are in those of the operators as well.
        if event.device_type == DeviceType.CPU
    ]
    return sorted((row for row in rows if row[0] > 0), reverse=True)
