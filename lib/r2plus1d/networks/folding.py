"""What of a network's graph is computed for given outputs, and from which arrays, as plain data.

A convolution can take in the batch norm behind it: its weights are multiplied by the norm's
factors, and it gets a bias. That saves the norm's work; the numbers differ in their last bits.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.graph import Node
from r2plus1d.networks.network import Network

FOLDED = '/folded'
FLOAT, SIGNED, UNSIGNED = '<f4', '|i1', '|u1'  # dtypes of initializers


class Tensor(NamedTuple):
    """What an initializer is: its shape and its dtype, FLOAT, SIGNED or UNSIGNED."""

    shape: tuple[int, ...]
    dtype: str = FLOAT


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is computed, in the order of execution.

    Attributes:
        nodes: only those that the outputs need; a convolution that has taken in its batch norm is
            one Conv with a bias, and the name of its weights ends in FOLDED.
        folds: {name of the folded weights: (Conv, SpatialBN)}, as they were.
        initializers: {name: Tensor} of the arrays that the nodes read, in a fixed order.
        outputs: {blob: shape of one clip}.
    """

    nodes: tuple[Node, ...]
    folds: dict[str, tuple[Node, Node]]
    initializers: dict[str, Tensor]
    outputs: dict[str, tuple[int, ...]]


def plan(network: Network, outputs: Sequence[str], *, fold_batch_norm: bool) -> Plan:
    """Return the Plan of `network` that gives the blobs `outputs`.

    Raises:
        InputError: no outputs, one twice, one that the network does not have.
    """
    require_blobs(network, outputs)
    traced = graph.trace(network)
    if '/' in network.logits:
        raise InputError(f'pred_layer_name is {network.logits}; only the engine caffe2 takes a /')
    nodes = _needed(traced.nodes, outputs)
    folds = _folds(nodes, outputs) if fold_batch_norm else {}
    nodes = _folded(nodes, folds)
    shapes = dict(traced.parameters)
    for weight, (conv, _) in folds.items():
        shapes[weight] = shapes[conv.parameters[0]]
        shapes[_bias_of(weight)] = shapes[weight][:1]
    return Plan(
        nodes,
        folds,
        {name: Tensor(shapes[name]) for node in nodes for name in node.parameters},
        {name: traced.shapes[name] for name in outputs},
    )


def require_blobs(network: Network, outputs: Sequence[str]) -> None:
    """Raise InputError unless `outputs` are different blobs that the network makes."""
    made = {node.blob for node in graph.trace(network).nodes}
    unknown = [name for name in outputs if name not in made]
    if unknown or not outputs:
        asked = ', '.join(map(str, unknown)) or 'nothing'
        raise InputError(
            f'features asks for {asked}, which {network.name} does not have; tools/show_net.py '
            'lists what it has'
        )
    if len(set(outputs)) < len(outputs):
        raise InputError(f'features names a blob twice: {",".join(outputs)}')


def narrow(plan: Plan, outputs: Sequence[str]) -> Plan:
    """Return the part of a Plan that makes `outputs`, some of its own; nothing is folded anew."""
    nodes = _needed(plan.nodes, outputs)
    read = {name for node in nodes for name in node.parameters}
    return dataclasses.replace(
        plan,
        nodes=nodes,
        folds={name: pair for name, pair in plan.folds.items() if name in read},
        initializers={name: kind for name, kind in plan.initializers.items() if name in read},
        outputs={name: plan.outputs[name] for name in outputs},
    )


def _needed(nodes: Sequence[Node], outputs: Iterable[str]) -> tuple[Node, ...]:
    """The nodes that lead to `outputs`."""
    wanted, chosen = set(outputs), list[Node]()
    for node in reversed(nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            chosen.append(node)
    return tuple(reversed(chosen))


def _folds(nodes: Sequence[Node], outputs: Sequence[str]) -> dict[str, tuple[Node, Node]]:
    """The convolutions that only their batch norm reads: {name of the new weights: both}."""
    makers = {node.output: node for node in nodes}
    folds = {}
    for norm in nodes:
        conv = makers.get(norm.inputs[0])
        if (
            norm.kind != 'SpatialBN'
            or conv is None
            or conv.kind != 'Conv'
            or conv.output in outputs
        ):
            continue
        assert [conv.output in node.inputs for node in nodes].count(True) == 1, conv.output
        folds[conv.parameters[0] + FOLDED] = conv, norm
    return folds


def _folded(nodes: Sequence[Node], folds: Mapping[str, tuple[Node, Node]]) -> tuple[Node, ...]:
    """`nodes` with one convolution in the place of each of the pairs of `folds`."""
    gone = {conv.output for conv, _ in folds.values()}
    merged = {
        norm.output: dataclasses.replace(
            conv, output=norm.output, blob=norm.blob, parameters=(weight, _bias_of(weight))
        )
        for weight, (conv, norm) in folds.items()
    }
    return tuple(merged.get(node.output, node) for node in nodes if node.output not in gone)


def _bias_of(weight: str) -> str:
    return f'{weight}_bias'


def initial_values(plan: Plan, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return {name: float32 array} of the plan's initializers from the network's parameters.

    Raises:
        InputError: a batch norm that divides by zero or overflows.
    """
    values = dict(parameters)
    for weight, (conv, norm) in plan.folds.items():
        values[weight], values[_bias_of(weight)] = _fold(conv, norm, parameters)
    return {name: values[name] for name in plan.initializers}


def _fold(
    conv: Node, norm: Node, parameters: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias that do what the convolution and the norm do, by way of float64."""
    weight, *bias = (parameters[name].astype(np.float64) for name in conv.parameters)
    scale, shift, mean, variance = (parameters[n].astype(np.float64) for n in norm.parameters)
    # As float32: it is with this epsilon that every other engine normalizes.
    deviation = np.sqrt(np.maximum(variance + np.float32(norm.epsilon), 0))
    with np.errstate(all='ignore'):
        factor = scale / deviation
        weight = (weight * factor[:, None, None, None, None]).astype(np.float32)
        bias = ((sum(bias) - mean) * factor + shift).astype(np.float32)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise InputError(
            f'{norm.parameters[3]}: the smallest variance is {variance.min():g}; this batch norm '
            'cannot be folded (tools/export_onnx.py --fold_batch_norm=0 leaves it as it is)'
        )
    return weight, bias
