"""Networks that compute in 8 bits: the plan of a network with quantizers in its graph.

A value `x` that is quantized becomes unsigned numbers, `x/quantized`, and what they stand for,
`x/dequantized`, which is what all that read `x` now read. A convolution that reads such a value
has signed weights, with a scale for each filter. A runtime that knows these operators computes
what lies between them in 8 bits.
"""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.folding import SIGNED, UNSIGNED, Plan, Tensor
from r2plus1d.networks.graph import Node

INT8, SCALE, ZERO_POINT = '/int8', '/scale', '/zero_point'
QUANTIZED, DEQUANTIZED = '/quantized', '/dequantized'
LEVELS = 256


@dataclasses.dataclass(frozen=True)
class Quantization:
    """Numbers that calibration finds.

    Attributes:
        ranges: {value: (lowest, highest)} that 8 unsigned bits are to tell apart; 0 is one of
            the 256 numbers.
        weights: {weights of a convolution: (int8 array, float32 array of one scale per filter)}.
        biases: {bias: float32 array}, with the mean error of the quantized weights taken out.
    """

    ranges: dict[str, tuple[float, float]]
    weights: dict[str, tuple[np.ndarray, np.ndarray]]
    biases: dict[str, np.ndarray]

    @property
    def values(self) -> dict[str, np.ndarray]:
        """{initializer: array} of them all."""
        values = dict(self.biases)
        for name, (low, high) in self.ranges.items():
            scale = (high - low) / (LEVELS - 1)
            values[name + SCALE] = np.array(scale, np.float32)
            values[name + ZERO_POINT] = np.array(round(-low / scale), np.uint8)
        for name, (array, scales) in self.weights.items():
            values[name + INT8], values[name + SCALE] = array, scales
        return values


def add(plan: Plan, quantized: Iterable[str]) -> Plan:
    """Return the Plan of the same network with quantizers behind the values `quantized`."""
    quantized, kinds = set(quantized), dict(plan.initializers)
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
    for name in quantized:
        kinds[name + SCALE], kinds[name + ZERO_POINT] = Tensor(()), Tensor((), UNSIGNED)
    read = dict.fromkeys(name for node in nodes for name in node.parameters)
    return dataclasses.replace(
        plan, nodes=tuple(nodes), initializers={name: kinds[name] for name in read}
    )


def require_scales(values: Mapping[str, np.ndarray]) -> None:
    """Raise InputError unless all scales of {initializer: array} are above zero."""
    for name, array in values.items():
        if name.endswith(SCALE) and not (array > 0).all():
            raise InputError(f'{name} has a scale of {array.min():g}; scales are above 0')


def _quantizers(name):
    parameters, middle, last = (
        (name + SCALE, name + ZERO_POINT),
        name + QUANTIZED,
        name + DEQUANTIZED,
    )
    return [
        Node('Quantize', (name,), middle, middle, parameters),
        Node('Dequantize', (middle,), last, last, parameters),
    ]


def _weights(name):
    return Node('DequantizeWeights', (), name, name, (name + INT8, name + SCALE))
