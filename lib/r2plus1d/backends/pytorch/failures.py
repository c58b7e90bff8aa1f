"""What PyTorch says of a device that fails, in one line. It imports PyTorch."""

import contextlib
from collections.abc import Iterator

import torch

from r2plus1d.errors import BackendError

GIB = 2**30
# In the text of RuntimeErrors of CUDA and its libraries
OF_THE_DEVICE = (
    'CUDA error', 'cuDNN error', 'CUBLAS_STATUS', 'CUDA driver', 'CUDA out of memory', 'NCCL error',
)  # fmt: skip
OF_MEMORY = ('out of memory', 'ALLOC_FAILED')
# All kernels that cuDNN tried failed, of which it does not say why: mostly for lack of workspace.
WITHOUT_KERNEL = 'unable to find an engine'


@contextlib.contextmanager
def failures_in_words(device: torch.device, what: str, advice: str = '') -> Iterator[None]:
    """Turn the failures of a device into one line each.

    Args:
        what: the memory is for.
        advice: what takes less of it.

    Raises:
        BackendError: too little free memory, on the GPU or for cuDNN's workspace; a lost device.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        has_no_kernel = WITHOUT_KERNEL in text
        if not has_no_kernel and not any(part in text for part in OF_THE_DEVICE):
            raise
        if has_no_kernel or any(part in text for part in OF_MEMORY):
            what += ', or cuDNN has no kernel for them' if has_no_kernel else ''
            raise BackendError(
                f'{device} has too little free memory for {what}{_free(device)}{advice}'
            ) from None
        raise BackendError(f'{device} failed: {text.strip().splitlines()[0]}') from None


def _free(device):
    """How much is free, where the device still says it."""
    try:
        free, total = torch.cuda.mem_get_info(device)
    except (RuntimeError, AssertionError, ValueError):
        return ''
    return f': {free / GIB:.1f} of {total / GIB:.1f} GiB are free'
