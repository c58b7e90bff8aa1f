"""What a network is made of: its operators and parameters, and each blob's shape and cost."""

import dataclasses
import math

from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from r2plus1d.models import layers
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
    """Return the graph as plain data.

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
    return _parameter_shapes(_model(network, training=False))


def rows(network):
    """Return a Row for each operator of the inference graph up to the class scores."""
    model = _model(network, training=False)
    ops = _until(model.net.Proto().op, network.prediction)
    # ElementwiseLinear has no shape inference, and operators after it crash for want of one.
    trunk = core.Net(caffe2_pb2.NetDef(name=network.name, op=_until(ops, network.logits)))
    inputs = {'data': [1, *network.data_shape], 'label': [1, *network.label_shape]}
    shapes, _ = workspace.InferShapesAndTypes([model.param_init_net, trunk], inputs)
    for op in ops:
        shapes.setdefault(op.output[0], shapes[op.input[0]])  # the head keeps the logits' shape
    return [_row(op, shapes) for op in ops]


def _until(ops, blob):
    """The operators up to the one that makes `blob`."""
    end = next(i for i, op in enumerate(ops) if blob in op.output)
    return list(ops)[: end + 1]


def totals(network):
    """Return (multiply-adds of one clip, parameters), as published: weights of Conv and FC only."""
    every = rows(network)
    return sum(r.multiply_adds for r in every), sum(r.parameters for r in every)


def _row(op, shapes):
    shape, parameters, multiply_adds = shapes[op.output[0]], 0, 0
    if op.type in PRODUCTS:
        weight = shapes[op.input[1]]
        parameters = math.prod(weight)
        positions = math.prod(shape[2:])  # 1 for FC
        multiply_adds = parameters * positions
    return Row(op.output[0], op.type, tuple(shape[1:]), parameters, multiply_adds)


def _model(network, training):
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
