"""Networks that compute in 8 bits: the plan of a network with quantizers in its graph.

A value `x` that is quantized becomes unsigned numbers, `x/quantized`, and what they stand for,
`x/dequantized`, which is what all that read `x` now read. It has one scale, or one for each
channel where a depthwise convolution reads it. A convolution that reads such a value has signed
weights, with a scale for each filter. A runtime that knows these operators computes
what lies between them in 8 bits.
"""

import dataclasses
from collections.abc import Mapping
from typing import Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.folding import SIGNED, UNSIGNED, Plan, Tensor
from r2plus1d.networks.graph import Node

INT8, SCALE, ZERO_POINT = '/int8', '/scale', '/zero_point'
QUANTIZED, DEQUANTIZED = '/quantized', '/dequantized'
LEVELS = 256
SMALLEST_SCALE = 1e-9  # of a channel that is always 0
Range = Union[float, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Numbers that calibration finds.

    Attributes:
        ranges: {value: (lowest, highest)} that 8 unsigned bits are to tell apart; 0 is one of
            the 256 numbers. Either two numbers, or two arrays of one number per channel.
        weights: {weights of a convolution: (int8 array, float32 array of one scale per filter)}.
        biases: {bias: float32 array}, with the mean error of the quantized weights taken out.
    """

    ranges: dict[str, tuple[Range, Range]]
    weights: dict[str, tuple[np.ndarray, np.ndarray]]
    biases: dict[str, np.ndarray]

    @property
    def values(self) -> dict[str, np.ndarray]:
        """{initializer: array} of them all."""
        values = dict(self.biases)
        for name, (low, high) in self.ranges.items():
            scale = np.maximum(np.subtract(high, low) / (LEVELS - 1), SMALLEST_SCALE)
            values[name + SCALE] = np.array(scale, np.float32)
            values[name + ZERO_POINT] = np.array(np.round(np.negative(low) / scale), np.uint8)
        for name, (array, scales) in self.weights.items():
            values[name + INT8], values[name + SCALE] = array, scales
        return values

    @property
    def scales(self) -> dict[str, tuple[int, ...]]:
        """{value: shape of its scales}, as `add` takes it."""
        return {name: np.shape(high) for name, (_, high) in self.ranges.items()}


def add(plan: Plan, quantized: Mapping[str, tuple[int, ...]]) -> Plan:
    """Return the Plan of the same network with quantizers behind some of its values.

    Args:
        quantized: {value: shape of its scales}: () or (channels,).
    """
    kinds = dict(plan.initializers)
    nodes: list[Node] = []
    in_8_bits = set(quantized)
    nodes += _quantizers('data') if 'data' in quantized else []
    for node in plan.nodes:
        if node.kind == 'MaxPool' and node.inputs[0] in in_8_bits:
            in_8_bits.add(node.output)  # the largest of 8-bit numbers is one of them
        if node.kind == 'Conv' and node.inputs[0] in in_8_bits:
            weight, *bias = node.parameters
            nodes.append(_weights(weight))
            node = dataclasses.replace(node, inputs=(*node.inputs, weight), parameters=tuple(bias))
            kinds[weight + INT8] = Tensor(kinds[weight].shape, SIGNED)
            kinds[weight + SCALE] = Tensor(kinds[weight].shape[:1])
        inputs = tuple(n + DEQUANTIZED if n in quantized else n for n in node.inputs)
        nodes.append(dataclasses.replace(node, inputs=inputs))
        nodes += _quantizers(node.output) if node.output in quantized else []
    for name, shape in quantized.items():
        kinds[name + SCALE], kinds[name + ZERO_POINT] = Tensor(shape), Tensor(shape, UNSIGNED)
    read = dict.fromkeys(name for node in nodes for name in node.parameters)
    return dataclasses.replace(
        plan, nodes=tuple(nodes), initializers={name: kinds[name] for name in read}
    )


def require_scales(values: Mapping[str, np.ndarray]) -> None:
    """Raise InputError unless all scales of {initializer: array} are above zero."""
    for name, array in values.items():
        if name.endswith(SCALE) and not (array > 0).all():
            raise InputError(f'{name} has a scale of {array.min():g}; scales are above 0')


def _quantizers(name: str) -> list[Node]:
    parameters, middle, last = (
        (name + SCALE, name + ZERO_POINT),
        name + QUANTIZED,
        name + DEQUANTIZED,
    )
    return [
        Node('Quantize', (name,), middle, middle, parameters),
        Node('Dequantize', (middle,), last, last, parameters),
    ]


def _weights(name: str) -> Node:
    return Node('DequantizeWeights', (), name, name, (name + INT8, name + SCALE))
