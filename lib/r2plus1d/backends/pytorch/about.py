"""What PyTorch has on this machine."""

import torch

from r2plus1d.backends.pytorch import device, gpu_checks


def devices() -> list[tuple[str, list[str]]]:
    """Return (name, precisions) of the processor and of each GPU."""
    found = [('CPU', ['fp32', *(['bf16'] if device.cpu_has_bf16() else [])])]
    for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        precisions = [name for name in device.DTYPES if gpu_checks.has_precision(i, name)]
        found.append((f'GPU {i}, {torch.cuda.get_device_name(i)}', precisions))
    return found
