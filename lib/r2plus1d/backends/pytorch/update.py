"""The update of parameters in Caffe2's form, on lists of tensors at once."""

import ctypes

import torch

MOMENTUM = 0.9


def _in_float32(value: float) -> float:
    """A number as the tensors have it: infinite if it is too large, where PyTorch would raise."""
    return ctypes.c_float(value).value


@torch.no_grad()
def add_decay(
    gradients: list[torch.Tensor], parameters: list[torch.Tensor], weight_decay: float
) -> None:
    """Add the gradient of the L2 penalty, `weight_decay` times the parameters, in place."""
    if weight_decay and gradients:
        torch._foreach_add_(gradients, parameters, alpha=_in_float32(weight_decay))


@torch.no_grad()
def update(
    parameters: list[torch.Tensor],
    gradients: list[torch.Tensor],
    momenta: list[torch.Tensor],
    *,
    rate: float,
) -> None:
    """Make a step of Nesterov SGD, in place, as Caffe2's MomentumSGDUpdate does.

    m' = 0.9 m + rate g, p' = p - (1.9 m' - 0.9 m). The rate is inside the momenta. PyTorch's SGD
    has it outside, so that the two differ from the first change of the rate on.
    """
    if not parameters:
        return
    before = torch._foreach_mul(momenta, MOMENTUM)
    torch._foreach_mul_(momenta, MOMENTUM)
    torch._foreach_add_(momenta, gradients, alpha=_in_float32(rate))
    steps = torch._foreach_mul(momenta, 1 + MOMENTUM)
    torch._foreach_sub_(steps, before)
    torch._foreach_sub_(parameters, steps)
