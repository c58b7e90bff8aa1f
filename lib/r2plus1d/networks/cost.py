"""What a network is made of: its operators and parameters, and each blob's shape and cost."""

import dataclasses
import math

from r2plus1d.networks import graph
from r2plus1d.networks.network import Network

PRODUCTS = ('Conv', 'FC')


@dataclasses.dataclass(frozen=True)
class Row:
    """One operator's main output on one clip.

    Attributes:
        blob, operator: the output's name and the operator's type.
        shape: of one clip's blob, without the batch.
        parameters: convolution and FC weights only, as published.
        multiply_adds: of convolutions and FC layers, without biases.
    """

    blob: str
    operator: str
    shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


def parameter_shapes(network: Network) -> dict[str, list[int]]:
    """Return {blob: shape} of every blob that weights must fill, running statistics included."""
    return {name: list(shape) for name, shape in graph.trace(network).parameters.items()}


def rows(network: Network) -> list[Row]:
    """Return a Row for each operator of the inference graph up to the class scores."""
    traced = graph.trace(network)
    return [_row(node, traced) for node in traced.nodes]


def totals(network: Network) -> tuple[int, int]:
    """Return (multiply-adds of one clip, parameters), as published: weights of Conv and FC only."""
    every = rows(network)
    return sum(r.multiply_adds for r in every), sum(r.parameters for r in every)


def _row(node: graph.Node, traced: graph.Graph) -> Row:
    shape, parameters, multiply_adds = traced.shapes[node.blob], 0, 0
    if node.kind in PRODUCTS:
        parameters = math.prod(traced.parameters[node.parameters[0]])
        positions = math.prod(shape[1:])  # 1 for FC
        multiply_adds = parameters * positions
    return Row(node.blob, node.kind, shape, parameters, multiply_adds)
