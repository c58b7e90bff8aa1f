"""An ONNX graph as a PyTorch module. Imports PyTorch: torch.require says whether it can be."""

import collections
import inspect

import numpy as np
import torch
from onnx import helper, numpy_helper
from torch.nn import functional

from r2plus1d.errors import InputError

# Their output is memory that nothing else refers to, so that a Relu behind can work in place.
MAKE_NEW_MEMORY = ('Conv', 'BatchNormalization', 'Add')

Step = collections.namedtuple('Step', 'function inputs attributes output last_used')


class GraphModule(torch.nn.Module):
    """Computes the outputs of an ONNX graph.

    Convolutions and what lies between them work in `dtype`. Average pools and fully connected
    layers, and all that follows them, work in float32: their sums are long and cost very little.

    Args:
        model: onnx.ModelProto with the input `data`; nodes that no output needs are left out.
        dtype: torch.float32, bfloat16 or float16.

    Raises:
        InputError: an operator, or an attribute of one, that is not known here.
    """

    def __init__(self, model, dtype=torch.float32):
        super().__init__()
        self._outputs = [value.name for value in model.graph.output]
        nodes = _needed(model.graph.node, self._outputs)
        self._keep_weights(model.graph.initializer, nodes, dtype)
        makers = {node.output[0]: node.op_type for node in nodes}
        last_used = _last_used(nodes, {*self._outputs, *self._names})
        self._steps = [_step(node, names, makers, dtype) for node, names in zip(nodes, last_used)]

    def forward(self, data):
        """Return {output: float32 tensor of N rows} for `data`, a tensor N x C x T x H x W."""
        values = dict(zip(self._names, self.buffers()), data=data)
        for step in self._steps:
            inputs = [values[name] for name in step.inputs]
            values[step.output] = step.function(*inputs, **step.attributes)
            del inputs
            for name in step.last_used:
                del values[name]
        return {name: values[name].float() for name in self._outputs}

    def _keep_weights(self, tensors, nodes, dtype):
        """Register the weights that `nodes` read as buffers; `_names` are their names, in order."""
        of_convs = {name for node in nodes if node.op_type == 'Conv' for name in node.input}
        read = {name for node in nodes for name in node.input}
        self._names = [tensor.name for tensor in tensors if tensor.name in read]
        for tensor in tensors:
            if tensor.name not in read:
                continue
            weight = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            if tensor.name in of_convs:
                weight = weight.to(dtype)
            if weight.dim() == 5:
                weight = weight.contiguous(memory_format=torch.channels_last_3d)
            # A number, not the tensor's name, in which PyTorch allows no dots
            self.register_buffer(f'weight_{len(self._buffers)}', weight)


def _needed(nodes, outputs):
    """The nodes that lead to `outputs`, in their order."""
    wanted, chosen = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            chosen.append(node)
    return chosen[::-1]


def _last_used(nodes, kept):
    """For each node the values that no later one reads and that are not `kept`."""
    seen, last_used = set(kept), []
    for node in reversed(nodes):
        last_used.append(sorted(set(node.input) - seen))
        seen.update(node.input)
    return last_used[::-1]


def _step(node, last_used, makers, dtype):
    """Return the Step that computes `node`."""
    if node.op_type not in OPERATORS:
        raise InputError(
            f'{node.output[0]} is made by the ONNX operator {node.op_type}; engine torch knows '
            f'{", ".join(sorted(OPERATORS))}'
        )
    function = OPERATORS[node.op_type]
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    try:
        inspect.signature(function).bind(*node.input, **attributes)
    except TypeError as error:
        raise InputError(
            f'{node.output[0]}: engine torch cannot run this {node.op_type}: {error}'
        ) from None
    if 'pads' in attributes:
        attributes['pads'] = _symmetric(node, attributes['pads'])
    if node.op_type == 'Conv':
        attributes['dtype'] = dtype
    if function is _relu and last_used and makers.get(node.input[0]) in MAKE_NEW_MEMORY:
        function = torch.relu_
    return Step(function, list(node.input), attributes, node.output[0], last_used)


def _symmetric(node, pads):
    """(t, h, w) of ONNX's pads, which has the beginnings and then the ends."""
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise InputError(f'{node.output[0]}: pads are {pads}; engine torch pads both ends alike')
    return tuple(pads[:half])


def _conv(data, weight, bias=None, *, kernel_shape, strides=1, pads=0, dtype=None):
    return functional.conv3d(data.to(dtype), weight, bias, strides, pads)


def _batch_norm(data, scale, shift, mean, variance, *, epsilon=1e-5):
    return functional.batch_norm(data, mean, variance, scale, shift, eps=epsilon)


def _relu(data):
    return torch.relu(data)


def _add(first, second):
    return first + second


def _mul(first, second):
    return first * second


def _average_pool(data, *, kernel_shape, strides=1, pads=0):
    return functional.avg_pool3d(data.float(), kernel_shape, strides, pads, count_include_pad=False)


def _max_pool(data, *, kernel_shape, strides=1, pads=0):
    return functional.max_pool3d(data, kernel_shape, strides, pads)


def _flatten(data, *, axis=1):
    return data.flatten(axis)


def _gemm(data, weight, bias=None, *, transB=0):
    return functional.linear(data.float(), weight if transB else weight.t(), bias)


def _identity(data):
    return data


def _softmax(data, *, axis=-1):
    return torch.softmax(data, axis)


def _sigmoid(data):
    return torch.sigmoid(data)


OPERATORS = {
    'Conv': _conv,
    'BatchNormalization': _batch_norm,
    'Relu': _relu,
    'Add': _add,
    'Mul': _mul,
    'AveragePool': _average_pool,
    'MaxPool': _max_pool,
    'Flatten': _flatten,
    'Gemm': _gemm,
    'Identity': _identity,
    'Softmax': _softmax,
    'Sigmoid': _sigmoid,
}
