"""Whether this build of PyTorch computes on a GPU, and what it lacks there. It imports PyTorch."""

import logging
import re
from collections.abc import Sequence

import torch

from r2plus1d.errors import InputError

log = logging.getLogger(__name__)

CAPABILITY = {'bf16': (8, 0), 'tf32': (8, 0)}  # of Ampere, the first GPUs that have them
# Its 3D convolutions of 16 bits are slow or wrong.
BAD_CUDNN = range(90800, 91500)
NO_GPU = '--gpus= (nothing) runs on the CPU'


def require_gpus(ids: Sequence[int], precision: str, names: Sequence[str] = ()) -> None:
    """Raise InputError unless PyTorch computes in the precision on GPUs.

    Args:
        names: of the GPUs, as the user knows them; their numbers are used when left out.
    """
    called = dict(zip(ids, names or map(str, ids)))
    _require_driver(','.join(called.values()))
    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if any(i >= seen for i in ids):
        raise InputError(
            f'gpus is {",".join(called.values())}; PyTorch sees {seen or "no"} GPUs here. {NO_GPU}'
        )
    for i in ids:
        _require_kernels(i, called[i])
        if not has_precision(i, precision):
            there = ', '.join(p for p in ('fp32', 'tf32', 'bf16', 'fp16') if has_precision(i, p))
            raise InputError(
                f'precision is {precision}, which GPU {called[i]} '
                f'({torch.cuda.get_device_name(i)}) lacks; it has {there}'
            )


def has_precision(number: int, precision: str) -> bool:
    """Whether a GPU that PyTorch sees computes in the precision."""
    return torch.cuda.get_device_capability(number) >= CAPABILITY.get(precision, (0, 0))


def _require_driver(asked):
    """Refuse a driver that is too old for the build; none at all is said by the number of GPUs."""
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        text = str(error).strip()
        if 'too old' in text or 'insufficient' in text:
            raise InputError(
                f'gpus is {asked}; the driver of NVIDIA is too old for this PyTorch, which was '
                f'built for CUDA {torch.version.cuda}: a newer driver runs it, or a PyTorch for an '
                f'older CUDA. {NO_GPU}'
            ) from None


def _require_kernels(number, called):
    """Refuse a GPU for which the build has no kernels, which CUDA says when the first one runs."""
    built = torch.cuda.get_arch_list()
    capability = torch.cuda.get_device_capability(number)
    if not built or runs_on(capability, built):
        return
    raise InputError(
        f'GPU {called} ({torch.cuda.get_device_name(number)}) has compute capability '
        f'{capability[0]}.{capability[1]}; this PyTorch was built for {", ".join(built)}. '
        f'docs/installation.md names another; {NO_GPU}'
    )


def runs_on(capability: tuple[int, int], built: Sequence[str]) -> bool:
    """Whether kernels for `built`, as sm_86 or compute_90, run on a GPU of the capability.

    Those of an sm run on GPUs of the same first number and the same second or a higher one; those
    of a compute are compiled for any later GPU. Letters, as in sm_90a, mean that one GPU only.
    """
    for name in built:
        found = re.fullmatch(r'(sm|compute)_(\d+)(\d)([a-z]?)', name)
        if found is None:
            continue
        its = int(found[2]), int(found[3])
        if its == capability or (found[1] == 'compute' and its <= capability and not found[4]):
            return True
        if not found[4] and its[0] == capability[0] and its <= capability:
            return True
    return False


def warn_of_cudnn(precision: str, has_3d: bool) -> None:
    """Warn of releases of cuDNN whose 3D convolutions of 16 bits are slow or wrong.

    Args:
        has_3d: whether the network has convolutions that are computed in 3D.
    """
    if not has_3d or precision not in ('bf16', 'fp16'):
        return
    try:
        version = torch.backends.cudnn.version() or 0
    except RuntimeError:  # cuDNN is too new for another GPU of this machine, an old one
        return
    if version in BAD_CUDNN:
        log.warning(
            'cuDNN %d.%d computes 3D convolutions of %s slowly or wrongly: install '
            'nvidia-cudnn 9.15 or later, or take --precision=tf32 or fp32',
            version // 10000, version // 100 % 100, precision,
        )  # fmt: skip
