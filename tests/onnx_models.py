"""Small networks as ONNX models, and what they give through OpenVINO and Caffe2."""

import numpy as np
import pytest

from r2plus1d.cli import command_line, flags, from_flags
from r2plus1d.networks import graph
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network

pytest.importorskip('onnx', reason='needs ONNX')

from r2plus1d.backends.choose import open_engine  # noqa: E402
from r2plus1d.devices import Devices  # noqa: E402

RELATIVE_ERROR = 1e-4
TINY = Network('r2d', 10, clip_length=8, num_labels=5, width=0.0625)


def parameters_of(network, seed=0):
    """Random parameters whose batch norms do something."""
    rng = np.random.default_rng(seed)
    parameters = random_parameters(network, seed)
    for name, array in parameters.items():
        noise = rng.standard_normal(array.shape, np.float32)
        if name.endswith('_riv'):
            parameters[name] = 0.5 + abs(noise)
        elif array.ndim == 1:
            parameters[name] = array + 0.3 * noise
    return parameters


def clips_of(network, count=2):
    return np.random.default_rng(1).standard_normal((count, *network.data_shape), np.float32)


def settings_of(**changes):
    """The Input that flags of a tool ask for."""
    args = command_line.parse('', flags.NETWORK, flags.CLIPS, argv=[])
    vars(args).update(changes)
    return from_flags.clip_input(args)


def blobs_of(network, *, without=()):
    nodes = graph.trace(network).nodes
    return list(dict.fromkeys(node.blob for node in nodes if node.kind not in without))


def run_openvino(model, *batches):
    """[{blob: array}] of an ONNX model on batches of clips."""
    pytest.importorskip('openvino', reason='needs OpenVINO')
    from r2plus1d.backends.openvino.core import core

    read = core().read_model(model.SerializeToString())
    compiled = core().compile_model(read, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    results = [compiled([batch]) for batch in batches]
    return [{v.name: r[v.name].copy() for v in model.graph.output} for r in results]


def run_caffe2(network, parameters, outputs, clips):
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    with open_engine(network, devices=Devices(), outputs=outputs) as engine:
        engine.load(parameters)
        return engine.run(clips)


def proto_of(model):
    """The ModelProto that an OnnxModel was read from."""
    from r2plus1d.weights import onnx_operators

    return onnx_operators.assemble(model.network, model.plan, model.values, model.metadata)


def distance(found, expected):
    """The largest difference, relative to the largest absolute value."""
    return np.abs(found - expected).max() / np.abs(expected).max()


def assert_close(got, expected, allowed=RELATIVE_ERROR):
    for name, array in expected.items():
        assert got[name].shape == array.shape, name
        assert got[name].dtype == np.float32
        assert np.abs(array).max() > 1e-3, f'{name} is all but zero: nothing is compared'
        error = distance(got[name], array)
        assert error <= allowed, f'{name}: {error}'
