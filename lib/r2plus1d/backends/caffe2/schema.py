"""The graph of a network as plain data, as Caffe2 has it."""

from typing import Any

from r2plus1d.backends.caffe2.layers import build, new_model
from r2plus1d.networks.network import Network

# How an operator is computed, not what: they differ between machines, not between networks.
EXECUTION_ARGUMENTS = {
    'exhaustive_search',
    'ws_nbytes_limit',
    'use_cudnn',
    'cudnn_exhaustive_search',
}


def schema(network: Network, *, training: bool = False) -> dict[str, Any]:
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


def _model(network, training):
    model = new_model(network.name)
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
