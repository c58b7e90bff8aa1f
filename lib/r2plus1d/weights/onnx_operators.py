"""ONNX models of the networks' graphs: which operators, and what their initializers hold."""

from collections.abc import Mapping, Sequence
from typing import Any, Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from r2plus1d.networks.folding import FLOAT, SIGNED, UNSIGNED, Plan, Tensor
from r2plus1d.networks.graph import Node
from r2plus1d.networks.network import Network

PRODUCER = 'r2plus1d'
OPSET, IR_VERSION = 13, 7  # the oldest that have all we need, for the sake of old readers
BATCH = 'N'
Maker = Callable[[Node], list[onnx.NodeProto]]

TYPES = {FLOAT: TensorProto.FLOAT, SIGNED: TensorProto.INT8, UNSIGNED: TensorProto.UINT8}


def assemble(
    network: Network,
    plan: Plan,
    values: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
) -> onnx.ModelProto:
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


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *shape])


def _tensor(name: str, array: np.ndarray, kind: Tensor) -> onnx.TensorProto:
    assert np.shape(array) == kind.shape, name
    raw = np.asarray(array, kind.dtype).tobytes()
    return TensorProto(name=name, data_type=TYPES[kind.dtype], dims=kind.shape, raw_data=raw)


def _node(kind: str, node: Node, inputs: Sequence[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs, [node.output], name=node.output, **attributes)


def _same(kind: str, **attributes: Any) -> Maker:
    """An operator that takes Caffe2's inputs and parameters in Caffe2's order."""

    def make(node: Node) -> list[onnx.NodeProto]:
        return [_node(kind, node, [*node.inputs, *node.parameters], **attributes)]

    return make


def _window(kind: str) -> Maker:
    def make(node: Node) -> list[onnx.NodeProto]:
        assert node.window is not None, node
        return [
            _node(
                kind,
                node,
                [*node.inputs, *node.parameters],
                kernel_shape=node.window.kernel,
                strides=node.window.stride,
                pads=node.window.pad * 2,
                **({'group': node.group} if node.group > 1 else {}),
            )
        ]

    return make


def _batch_norm(node: Node) -> list[onnx.NodeProto]:
    return _same('BatchNormalization', epsilon=node.epsilon)(node)


def _fc(node: Node) -> list[onnx.NodeProto]:
    flat = f'{node.output}/flat'
    return [
        helper.make_node('Flatten', node.inputs, [flat], name=flat, axis=1),
        _node('Gemm', node, [flat, *node.parameters], transB=1),
    ]


def _softmax_of_all(node: Node) -> list[onnx.NodeProto]:
    """Over all numbers of a clip, as Caffe2 has it; ONNX would take each place alone."""
    flat, all_of_clip, shape = (f'{node.output}/{end}' for end in ('flat', 'softmax', 'shape'))
    return [
        helper.make_node('Flatten', node.inputs, [flat], name=flat, axis=1),
        helper.make_node('Softmax', [flat], [all_of_clip], name=all_of_clip, axis=1),
        helper.make_node('Shape', node.inputs, [shape], name=shape),
        _node('Reshape', node, [all_of_clip, shape]),
    ]


def _elementwise_linear(node: Node) -> list[onnx.NodeProto]:
    scaled, (scale, shift) = f'{node.output}/scaled', node.parameters
    return [
        helper.make_node('Mul', [*node.inputs, scale], [scaled], name=scaled),
        _node('Add', node, [scaled, shift]),
    ]


# Caffe2's operator -> the nodes that do the same.
OPERATORS: dict[str, Maker] = {
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
    'Softmax': _softmax_of_all,
    'ReduceBackMean': _same('ReduceMean', axes=[2, 3, 4], keepdims=0),
    # Those that networks.int8 adds
    'Quantize': _same('QuantizeLinear'),
    'Dequantize': _same('DequantizeLinear'),
    'DequantizeWeights': _same('DequantizeLinear', axis=0),
}
ONNX_OPERATORS = {
    'Conv', 'BatchNormalization', 'Relu', 'Add', 'AveragePool', 'MaxPool', 'Flatten', 'Gemm',
    'Identity', 'Softmax', 'Mul', 'Sigmoid', 'Shape', 'Reshape', 'ReduceMean',
}  # fmt: skip
QUANTIZERS = {'QuantizeLinear', 'DequantizeLinear'}
