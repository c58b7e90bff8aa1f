"""Post-training quantization to 8 bits, by NNCF. Imports NNCF: `require` says if it can be."""

import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
import warnings

import numpy as np
from onnx import numpy_helper

from r2plus1d.engines import onnx, onnx_graph, onnx_int8
from r2plus1d.engines.onnx_int8 import LEVELS, Quantization
from r2plus1d.errors import InputError
from r2plus1d.video import transform

# Sums over many numbers, which cost next to nothing, stay as they are.
NOT_QUANTIZED = ('AvgPool', 'MatMul')
OF_IMPORT = '/WithoutBiases'  # added to a convolution's name when OpenVINO reads it


def require():
    """Raise InputError unless NNCF is installed."""
    if importlib.util.find_spec('nncf') is None:
        raise InputError(
            'quantization needs NNCF: .venv/bin/python -m pip install -r requirements-int8.txt'
        )


def quantize(network, parameters, clips, outputs, *, metadata=None):
    """Return a network that computes in 8 bits, as an ONNX model.

    Args:
        network: models.network.Network.
        parameters: {blob: array}, complete, as weights.load returns.
        clips: arrays N x C x T x H x W, uint8 RGB or normalized float32: what the network is to
            expect. Some hundred clips are enough.
        outputs: names of the blobs that the model gives, float32.
        metadata: {key: text}, as onnx.describe returns.

    Returns:
        onnx.ModelProto; onnx.save writes it and onnx.read reads it.

    Raises:
        InputError: no clips, an output that the network does not have, no NNCF.
    """
    require()
    rows = [row[np.newaxis] for batch in clips for row in batch]
    if not rows:
        raise InputError('there are no clips to calibrate with')
    metadata = {**(metadata or {}), 'calibration': f'{_version()}, {len(rows)} clips'}
    model = onnx.export(network, parameters, outputs, metadata=metadata)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    plan = onnx_graph.plan(network, tuple(outputs), fold_batch_norm=True)
    found = _found(_calibrated(model, network, rows), plan)
    return onnx_graph.assemble(
        network,
        onnx_int8.add(plan, found.ranges),
        {**values, **found.values},
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _version():
    return f'nncf {importlib.metadata.version("nncf")}'


def _calibrated(model, network, clips):
    """The openvino.Model that NNCF makes of an ONNX model."""
    import openvino
    from openvino.passes import ConstantFolding, Manager

    read = openvino.Core().read_model(model.SerializeToString(), b'')
    read.reshape({'data': [1, *network.data_shape]})
    folding = Manager()
    folding.register_pass(ConstantFolding())  # without it NNCF does not see biases
    folding.run_passes(read)
    with _nncf() as nncf:
        return nncf.quantize(
            read,
            nncf.Dataset(clips, _normalized),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(clips),
            ignored_scope=nncf.IgnoredScope(types=list(NOT_QUANTIZED), validate=False),
        )


@contextlib.contextmanager
def _nncf():
    """The library, which tells nobody that it is used and leaves stdout to results."""
    os.environ.setdefault('NNCF_CI', '1')
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of names in OpenVINO that its releases will change
        import nncf

        nncf.set_log_level(logging.ERROR)
        yield nncf


def _normalized(clip):
    return clip if clip.dtype == np.float32 else transform.normalize_rgb(clip)


def _found(model, plan):
    """The Quantization in an openvino.Model that NNCF made."""
    ranges, weights, biases = {}, {}, {}
    convolutions = {node.output: node for node in plan.nodes if node.kind == 'Conv'}
    known = {'data', *(node.output for node in plan.nodes)}
    for operation in model.get_ops():
        kind = operation.get_type_name()
        if kind == 'FakeQuantize':
            name = _source(operation, 0).get_friendly_name()
            assert name in known and operation.get_levels() == LEVELS, name
            ranges[name] = tuple(
                float(_source(operation, i).get_data().reshape(())) for i in (1, 2)
            )
        elif kind == 'Convolution':
            name = operation.get_friendly_name().removesuffix(OF_IMPORT)
            weight, *bias = convolutions.pop(name).parameters
            weights[weight] = _weights_of(operation)
            biases.update({name: _bias_of(operation) for name in bias})
    assert not convolutions, convolutions
    return Quantization(ranges, weights, biases)


def _weights_of(convolution):
    """(int8 array, float32 array of a scale a filter)."""
    scaled = _source(convolution, 1)
    assert scaled.get_type_name() == 'Multiply', scaled
    converted = _source(scaled, 0)
    assert converted.get_type_name() == 'Convert', converted
    array = _source(converted, 0).get_data()
    assert array.dtype == np.int8, array.dtype
    return array, _source(scaled, 1).get_data().reshape(-1)


def _bias_of(convolution):
    (reader,) = convolution.output(0).get_target_inputs()
    assert reader.get_node().get_type_name() == 'Add', reader
    return _source(reader.get_node(), 1).get_data().reshape(-1)


def _source(operation, number):
    return operation.input_value(number).get_node()
