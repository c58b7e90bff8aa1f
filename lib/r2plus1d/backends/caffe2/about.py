"""What Caffe2 has on this machine."""

from caffe2.python import workspace

from r2plus1d.backends.caffe2.replicas import has_kernels
from r2plus1d.devices import Devices


def devices() -> list[tuple[str, list[str]]]:
    """Return (name, precisions) of the processor and of each GPU."""
    found = [('CPU', ['fp32'])]
    for i in range(workspace.NumGpuDevices() if workspace.has_gpu_support else 0):
        runs = has_kernels(Devices('gpu', (i,)))
        found.append((f'GPU {i}', ['fp32'] if runs else ['none, it is too new']))
    return found
