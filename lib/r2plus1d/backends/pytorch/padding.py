"""Channels filled up with zeros, to numbers in which a GPU computes faster.

R(2+1)D's middle filters are 45, 230 or 921. Filters of zeros make channels of zeros, and zeros
times weights of zeros add nothing to what reads them.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from r2plus1d.networks.folding import Plan

# What does not look from one channel to another: zeros stay zeros.
KEEP_CHANNELS = ('Conv', 'SpatialBN', 'Relu', 'Sum', 'AveragePool', 'MaxPool', 'Dropout')
VARIANCE = 3  # its place among a batch norm's parameters


class Width(NamedTuple):
    """How many channels a value has, and to how many it is filled up."""

    true: int
    padded: int


def find_widths(plan: Plan, multiple: int) -> dict[str, Width]:
    """Return {value: Width} of the values that get more channels.

    `data` keeps its own: cuDNN has kernels for it. A plan with a convolution of several groups
    stays as it is.
    """
    if multiple == 1 or any(node.group > 1 for node in plan.nodes):
        return {}
    widths: dict[str, Width] = {}
    for node in plan.nodes:
        if node.kind == 'Conv':
            true = plan.initializers[node.parameters[0]].shape[0]
            width = Width(true, -(-true // multiple) * multiple)
        elif node.kind in KEEP_CHANNELS and node.inputs[0] in widths:
            width = widths[node.inputs[0]]
        else:
            continue
        if width.padded > width.true:
            widths[node.output] = width
    return widths


def pad_values(
    plan: Plan, values: Mapping[str, np.ndarray], widths: Mapping[str, Width]
) -> dict[str, np.ndarray]:
    """Return {name: array} of the plan's initializers for values of these Widths."""
    padded = dict(values)
    for node in plan.nodes:
        if node.kind not in ('Conv', 'SpatialBN') or not {node.output, *node.inputs} & set(widths):
            continue
        made, read = (
            widths[name].padded - widths[name].true if name in widths else 0
            for name in (node.output, node.inputs[0])
        )
        for place, name in enumerate(node.parameters):
            array = values[name]
            more = [(0, made), (0, read)][: array.ndim] + [(0, 0)] * (array.ndim - 2)
            filling = 1 if node.kind == 'SpatialBN' and place == VARIANCE else 0
            padded[name] = np.pad(array, more, constant_values=filling)
    return padded
