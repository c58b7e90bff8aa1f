"""What PyTorch says of a device that fails, in one line. It imports PyTorch."""

import contextlib
from collections.abc import Iterator

import torch

from r2plus1d.errors import BackendError

GIB = 2**30
# In the text of RuntimeErrors of CUDA and its libraries
OF_THE_DEVICE = ('CUDA error', 'cuDNN error', 'CUBLAS_STATUS', 'CUDA driver', 'CUDA out of memory')
OF_MEMORY = ('out of memory', 'ALLOC_FAILED')


@contextlib.contextmanager
def failures_in_words(device: torch.device, what: str) -> Iterator[None]:
    """Turn the failures of a device into one line each.

    Args:
        what: the memory is for.

    Raises:
        BackendError: too little free memory, on the GPU or for cuDNN's workspace; a lost device.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if not any(part in text for part in OF_THE_DEVICE):
            raise
        if any(part in text for part in OF_MEMORY):
            raise BackendError(
                f'{device} has too little free memory for {what}{_free(device)}'
            ) from None
        raise BackendError(f'{device} failed: {text.strip().splitlines()[0]}') from None


def _free(device):
    """How much is free, where the device still says it."""
    try:
        free, total = torch.cuda.mem_get_info(device)
    except (RuntimeError, AssertionError, ValueError):
        return ''
    return f': {free / GIB:.1f} of {total / GIB:.1f} GiB are free'
