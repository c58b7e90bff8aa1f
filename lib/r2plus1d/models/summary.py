"""What a network is made of: its operators and parameters, and each blob's shape and cost."""

import dataclasses
import math

from r2plus1d.models import graph
from r2plus1d.models.network import build

# How an operator is computed, not what: they differ between machines, not between networks.
EXECUTION_ARGUMENTS = {
    'exhaustive_search',
    'ws_nbytes_limit',
    'use_cudnn',
    'cudnn_exhaustive_search',
}
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
    shape: tuple
    parameters: int
    multiply_adds: int


def schema(network, *, training=False):
    """Return the graph as plain data, as Caffe2 has it.

    Returns:
        {'ops': [{'type', 'inputs', 'outputs', 'args'}], 'params': {blob: shape}}, parameters in
        the order in which they are created, the running statistics after the trained ones.
    """
    model = _model(network, training)
    ops = [
        {
            'type': op.type,
            'inputs': list(op.input),
            'outputs': list(op.output),
            'args': {a.name: _value(a) for a in op.arg if a.name not in EXECUTION_ARGUMENTS},
        }
        for op in model.net.Proto().op
    ]
    return {'ops': ops, 'params': _parameter_shapes(model)}


def parameter_shapes(network):
    """Return {blob: shape} of every blob that weights must fill, running statistics included."""
    return {name: list(shape) for name, shape in graph.trace(network).parameters.items()}


def rows(network):
    """Return a Row for each operator of the inference graph up to the class scores."""
    traced = graph.trace(network)
    return [_row(node, traced) for node in traced.nodes]


def totals(network):
    """Return (multiply-adds of one clip, parameters), as published: weights of Conv and FC only."""
    every = rows(network)
    return sum(r.multiply_adds for r in every), sum(r.parameters for r in every)


def _row(node, traced):
    shape, parameters, multiply_adds = traced.shapes[node.blob], 0, 0
    if node.kind in PRODUCTS:
        parameters = math.prod(traced.parameters[node.parameters[0]])
        positions = math.prod(shape[1:])  # 1 for FC
        multiply_adds = parameters * positions
    return Row(node.blob, node.kind, shape, parameters, multiply_adds)


def _model(network, training):
    from r2plus1d.models import layers  # imported here: only the schema needs Caffe2

    model = layers.new_model(network.name)
    build(model, network, training=training)
    return model


def _parameter_shapes(model):
    fills = {op.output[0]: op for op in model.param_init_net.Proto().op}
    names = [str(p) for p in model.GetParams() + model.GetComputedParams()]
    return {name: _fill_shape(fills[name]) for name in names}


def _fill_shape(op):
    return next(list(a.ints) for a in op.arg if a.name == 'shape')


def _value(argument):
    """The one value that an Argument message holds, as a plain number, string or list."""
    if argument.HasField('f'):
        return round(argument.f, 9)  # a float32, shown without its trailing noise
    if argument.HasField('i'):
        return argument.i
    if argument.HasField('s'):
        return argument.s.decode()
    return list(argument.ints) or list(argument.floats)
