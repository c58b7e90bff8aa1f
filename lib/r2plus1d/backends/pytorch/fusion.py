"""Convolutions that add and cut off at 0 on their way out, in oneDNN on a CPU.

A ReLU or a sum of its own reads and writes each value once more: in bfloat16 these take more time
than the convolutions of a narrow or a grouped network.
"""

import collections
import dataclasses
from collections.abc import Collection, Sequence
from typing import Optional

import torch

from r2plus1d.backends.pytorch.convolution import IMAGES, Sizes, plain
from r2plus1d.networks.graph import Node

# What makes memory that one value alone refers to.
MAKERS = ('Conv', 'Relu', 'Sum', 'MaxPool')


def is_there() -> bool:
    """Whether PyTorch was built with such convolutions for this CPU."""
    operators = torch.ops.mkldnn
    return torch.backends.mkldnn.is_available() and hasattr(operators, '_convolution_pointwise_')


def fuse(nodes: Sequence[Node], kept: Collection[str]) -> tuple[list[Node], dict[str, bool]]:
    """Put each ReLU, and a sum before it, into the convolution that they follow.

    Args:
        nodes: in the order in which they run.
        kept: values that have to be there at the end.

    Returns:
        (nodes, {output of such a convolution: whether what it adds may be written over}). It has
        the output of the ReLU, and the other term of a sum as a second input.
    """
    readers = collections.Counter(name for node in nodes for name in node.inputs)
    readers.update(list(kept))  # of a mapping the names
    last_reader = {name: node.output for node in nodes for name in node.inputs}
    last_reader.update(dict.fromkeys(kept, ''))
    fused: list[Node] = []
    endings: dict[str, bool] = {}
    for node in nodes:
        found = _fused(node, fused, readers, last_reader) if node.kind == 'Relu' else None
        if found is None:
            fused.append(node)
            continue
        conv, in_place, gone = found
        fused[len(fused) - gone :] = [dataclasses.replace(conv, output=node.output, blob=node.blob)]
        endings[node.output] = in_place
    return fused, endings


def _fused(relu, before, readers, last_reader):
    """(convolution, its ending, how many of the nodes `before` it stands for), if there is one."""
    if not before or before[-1].output != relu.inputs[0] or readers[relu.inputs[0]] > 1:
        return None
    last = before[-1]
    if last.kind == 'Conv' and len(last.inputs) == 1:
        return last, False, 1
    if last.kind != 'Sum' or len(before) < 2:
        return None
    conv = before[-2]
    others = [name for name in last.inputs if name != conv.output]
    if conv.kind != 'Conv' or len(conv.inputs) > 1 or readers[conv.output] > 1 or len(others) != 1:
        return None
    (other,) = others
    makers = {node.output: node.kind for node in before}
    in_place = (
        makers.get(other) in MAKERS
        and last_reader[other] == last.output
        and other not in conv.inputs
    )
    return dataclasses.replace(conv, inputs=(*conv.inputs, other)), in_place, 2


def convolve_to(
    in_place: bool,
    data: torch.Tensor,
    weight: torch.Tensor,
    bias: Optional[torch.Tensor],
    stride: Sizes,
    pad: Sizes,
    group: int,
    other: Optional[torch.Tensor] = None,
) -> torch.Tensor:
    """Return the convolution of images or clips, plus `other` if there is one, cut off at 0.

    Args:
        in_place: `other` may be written over.
    """
    window = (weight, bias, pad, stride, (1,) * len(stride), group)
    if other is None:
        return torch.ops.mkldnn._convolution_pointwise(data, *window, 'relu', [], '')
    if not _is_there_in(data, other):
        return torch.relu_(plain(data, weight, bias, stride, pad, group).add_(other))
    place = other if in_place else other.clone()
    return torch.ops.mkldnn._convolution_pointwise_.binary(
        place, data, *window, 'add', 1.0, 'relu', [], ''
    )


def _is_there_in(data, other):
    """Whether PyTorch has the sum for them: for bfloat16 only where the channels come last.

    With sides of 1, and in images that are views of clips, it does not see that they do.
    """
    if data.dtype is torch.float32:
        return True
    return data.dim() != IMAGES and not data.is_contiguous() and not other.is_contiguous()
