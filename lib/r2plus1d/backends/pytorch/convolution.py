"""Convolutions of clips; those with a side of 1, the halves of a (2+1)D one, are computed in 2D.

PyTorch has faster kernels in 2D. On data in channels_last_3d both forms are views, so nothing is
copied. The results differ from the 3D form's by float32 rounding.
"""

from collections.abc import Iterable
from typing import Callable, Optional, Union

import torch
from torch.nn import functional

from r2plus1d.networks.graph import Node, Window

Sizes = tuple[int, ...]

IMAGES = 4  # dimensions of N x C x H x W


def plain(
    data: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional[torch.Tensor],
    stride: Sizes,
    pad: Sizes,
    group: int,
    other: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """Return the convolution of images or clips, and nothing else."""
    assert other is None
    function = functional.conv2d if data.dim() == IMAGES else functional.conv3d
    return function(data, weight, bias, stride, pad, groups=group)


def convolve(
    data: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional[torch.Tensor],
    stride: Sizes,
    pad: Sizes,
    group: int = 1,
    other: Optional[torch.Tensor] = None,
    *,
    conv: Callable[..., torch.Tensor] = plain,
) -> torch.Tensor:
    """Return the convolution of `data`, N x C x T x H x W, with `weight`.

    Args:
        weight: O x C / group x t x h x w.
        stride, pad: (t, h, w).
        group: channels and filters are so many groups, which have nothing in common.
        other: what `conv` puts together with the result, of the same shape.
        conv: computes it in 2D or 3D, as `plain`.
    """
    kernel = tuple(weight.shape[2:])
    if kernel == (1, 1, 1) and pad == (0, 0, 0):
        # With a stride in it, oneDNN in PyTorch 2.13 writes outside of the gradient's memory.
        data = data[:, :, :: stride[0], :: stride[1], :: stride[2]]
        stride = (1, 1, 1)
    if _is_of_images(kernel, stride, pad):
        form: Union[_Images, _Times] = _Images(len(data))
        weight, stride, pad = weight.squeeze(2), stride[1:], pad[1:]
    elif _is_of_times(kernel, stride, pad):
        form = _Times(data.shape[3:])
        weight, stride, pad = weight.squeeze(4), (stride[0], 1), (pad[0], 0)
    else:
        if _is_wrong_in_onednn(data, weight, pad):
            data, pad = functional.pad(data, (0, 0, 0, 0, pad[0], pad[0])), (0, *pad[1:])
        return conv(data, weight, bias, stride, pad, group, other)
    other = None if other is None else form.of(other)
    return form.back(conv(form.of(data), weight, bias, stride, pad, group, other))


def has_3d(nodes: Iterable[Node]) -> bool:
    """Whether `convolve` computes the convolution of a node in 3D."""
    windows = (node.window for node in nodes if node.kind == 'Conv')
    return any(window is not None and not _is_factored(window) for window in windows)


def _is_factored(window: Window) -> bool:
    is_point = window.kernel == (1, 1, 1) and window.pad == (0, 0, 0)
    return is_point or _is_of_images(*window) or _is_of_times(*window)


def _is_wrong_in_onednn(data, weight, pad):
    """Whether the weight's gradient would be memory that nothing was written to.

    In bfloat16 oneDNN leaves it so where every place reads zeros beside the clip: of 2 frames with
    a kernel of 3. Seen in PyTorch 2.14 on a processor with AVX-512 and without AMX.
    """
    is_trained = weight.requires_grad and weight.dtype is torch.bfloat16
    return is_trained and not data.is_cuda and pad[0] > 0 and data.shape[2] < weight.shape[2]


def _is_of_images(kernel, stride, pad):
    return kernel[0] == 1 and (stride[0], pad[0]) == (1, 0)


def _is_of_times(kernel, stride, pad):
    return kernel[1:] == (1, 1) and stride[1:] == (1, 1) and pad[1:] == (0, 0)


class _Images:
    """For a 1 x h x w kernel: every image of every clip on its own."""

    def __init__(self, clips):
        self._clips = clips

    def of(self, data):
        return data.transpose(1, 2).flatten(0, 1)

    def back(self, images):
        return images.unflatten(0, (self._clips, -1)).transpose(1, 2)


class _Times:
    """For a t x 1 x 1 kernel: the places of an image lie side by side, as columns of a picture."""

    def __init__(self, size):
        self._size = size

    def of(self, data):
        return data.flatten(3)

    def back(self, pictures):
        return pictures.unflatten(3, self._size)
