"""ONNX models of the networks' graphs: which operators, and what their initializers hold."""

import dataclasses
from typing import NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper

from r2plus1d.errors import InputError
from r2plus1d.networks import graph

PRODUCER = 'r2plus1d'
OPSET, IR_VERSION = 13, 7  # the oldest that have all we need, for the sake of old readers
BATCH = 'N'
FOLDED = '/folded'
FLOAT, SIGNED, UNSIGNED = '<f4', '|i1', '|u1'  # dtypes of initializers
TYPES = {FLOAT: TensorProto.FLOAT, SIGNED: TensorProto.INT8, UNSIGNED: TensorProto.UINT8}


class Tensor(NamedTuple):
    """What an initializer is: its shape and one of TYPES."""

    shape: tuple
    dtype: str = FLOAT


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an ONNX model of a network computes.

    Attributes:
        nodes: of models.graph, only those that the outputs need; a convolution that has taken in
            its batch norm is one Conv with a bias, whose parameters' names end in FOLDED.
        folds: {name of the folded weights: (Conv, SpatialBN)}, as they were.
        initializers: {name: Tensor}, in the order of the file.
        outputs: {blob: shape of one clip}.
    """

    nodes: tuple
    folds: dict
    initializers: dict
    outputs: dict


def plan(network, outputs, *, fold_batch_norm):
    """Return the Plan of an ONNX model of `network` that gives the blobs `outputs`.

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


def require_blobs(network, outputs):
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


def _needed(nodes, outputs):
    """The nodes that lead to `outputs`."""
    wanted, chosen = set(outputs), []
    for node in reversed(nodes):
        if node.output in wanted:
            wanted.update(node.inputs)
            chosen.append(node)
    return tuple(reversed(chosen))


def _folds(nodes, outputs):
    """The convolutions that only their batch norm reads: {name of the new weights: both}."""
    makers = {node.output: node for node in nodes}
    folds = {}
    for norm in nodes:
        conv = makers.get(norm.inputs[0])
        if norm.kind != 'SpatialBN' or conv.kind != 'Conv' or conv.output in outputs:
            continue
        assert [conv.output in node.inputs for node in nodes].count(True) == 1, conv.output
        folds[conv.parameters[0] + FOLDED] = conv, norm
    return folds


def _folded(nodes, folds):
    """`nodes` with one convolution in the place of each of the pairs of `folds`."""
    gone = {conv.output for conv, _ in folds.values()}
    merged = {
        norm.output: dataclasses.replace(
            conv, output=norm.output, blob=norm.blob, parameters=(weight, _bias_of(weight))
        )
        for weight, (conv, norm) in folds.items()
    }
    return tuple(merged.get(node.output, node) for node in nodes if node.output not in gone)


def _bias_of(weight):
    return f'{weight}_bias'


def initial_values(plan, parameters):
    """Return {name: float32 array} of the plan's initializers from the network's parameters.

    Raises:
        InputError: a batch norm that divides by zero or overflows.
    """
    values = dict(parameters)
    for weight, (conv, norm) in plan.folds.items():
        values[weight], values[_bias_of(weight)] = _fold(conv, norm, parameters)
    return {name: values[name] for name in plan.initializers}


def _fold(conv, norm, parameters):
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


def assemble(network, plan, values, metadata):
    """Return the ModelProto of `plan`.

    Args:
        values: {name: array}, one for each of plan.initializers.
        metadata: {key: text}, written in its order.
    """
    tensors = [_tensor(name, values[name], kind) for name, kind in plan.initializers.items()]
    outputs = [_value(name, shape) for name, shape in plan.outputs.items()]
    nodes = [made for node in plan.nodes for made in OPERATORS[node.kind](node)]
    made = helper.make_graph(
        nodes, network.name, [_value('data', network.data_shape)], outputs, tensors
    )
    model = onnx.ModelProto(ir_version=IR_VERSION, producer_name=PRODUCER, graph=made)
    model.opset_import.add(domain='', version=OPSET)
    for key, text in metadata.items():
        model.metadata_props.add(key=key, value=text)
    return model


def _value(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *shape])


def _tensor(name, array, kind):
    assert np.shape(array) == kind.shape, name
    raw = np.asarray(array, kind.dtype).tobytes()
    return TensorProto(name=name, data_type=TYPES[kind.dtype], dims=kind.shape, raw_data=raw)


def _node(kind, node, inputs, **attributes):
    return helper.make_node(kind, inputs, [node.output], name=node.output, **attributes)


def _same(kind, **attributes):
    """An operator that takes Caffe2's inputs and parameters in Caffe2's order."""

    def make(node):
        return [_node(kind, node, [*node.inputs, *node.parameters], **attributes)]

    return make


def _window(kind):
    def make(node):
        return [
            _node(
                kind,
                node,
                [*node.inputs, *node.parameters],
                kernel_shape=node.window.kernel,
                strides=node.window.stride,
                pads=node.window.pad * 2,
            )
        ]

    return make


def _batch_norm(node):
    return _same('BatchNormalization', epsilon=node.epsilon)(node)


def _fc(node):
    flat = f'{node.output}/flat'
    return [
        helper.make_node('Flatten', node.inputs, [flat], name=flat, axis=1),
        _node('Gemm', node, [flat, *node.parameters], transB=1),
    ]


def _elementwise_linear(node):
    scaled, (scale, shift) = f'{node.output}/scaled', node.parameters
    return [
        helper.make_node('Mul', [*node.inputs, scale], [scaled], name=scaled),
        _node('Add', node, [scaled, shift]),
    ]


# Caffe2's operator -> the nodes that do the same.
OPERATORS = {
    'Conv': _window('Conv'),
    'SpatialBN': _batch_norm,
    'Relu': _same('Relu'),
    'Sum': _same('Add'),
    'AveragePool': _window('AveragePool'),
    'MaxPool': _window('MaxPool'),
    'FC': _fc,
    'Dropout': _same('Identity'),
    'SoftmaxWithLoss': _same('Softmax', axis=1),
    'ElementwiseLinear': _elementwise_linear,
    'Sigmoid': _same('Sigmoid'),
    # Those that onnx_int8 adds
    'Quantize': _same('QuantizeLinear'),
    'Dequantize': _same('DequantizeLinear'),
    'DequantizeWeights': _same('DequantizeLinear', axis=0),
}
ONNX_OPERATORS = {
    'Conv', 'BatchNormalization', 'Relu', 'Add', 'AveragePool', 'MaxPool', 'Flatten', 'Gemm',
    'Identity', 'Softmax', 'Mul', 'Sigmoid',
}  # fmt: skip
QUANTIZERS = {'QuantizeLinear', 'DequantizeLinear'}
