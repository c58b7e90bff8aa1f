"""Post-training quantization to 8 bits, by NNCF. Imports NNCF: `require` says if it can be."""

import contextlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import onnx
from onnx import numpy_helper

from r2plus1d.errors import InputError
from r2plus1d.networks import folding, int8
from r2plus1d.networks.input import normalize_rgb
from r2plus1d.networks.int8 import LEVELS, Quantization
from r2plus1d.networks.network import Network
from r2plus1d.weights import onnx_file, onnx_operators

# Sums over many numbers, which cost next to nothing, stay as they are.
NOT_QUANTIZED = ('AvgPool', 'MatMul', 'ReduceMean')
CONVOLUTIONS = ('Convolution', 'GroupConvolution')
KNOWN = 'the release in requirements-int8.txt'
OF_IMPORT = '/WithoutBiases'  # added to a convolution's name when OpenVINO reads it


def require() -> None:
    """Raise InputError unless NNCF is installed."""
    if importlib.util.find_spec('nncf') is None:
        raise InputError(
            f'quantization needs NNCF: {sys.executable} -m pip install -r requirements-int8.txt'
        )


def quantize(
    network: Network,
    parameters: Mapping[str, np.ndarray],
    clips: Iterable[np.ndarray],
    outputs: Sequence[str],
    *,
    metadata: Optional[Mapping[str, str]] = None,
) -> onnx.ModelProto:
    """Return a network that computes in 8 bits, as an ONNX model.

    Args:
        network: the Network.
        parameters: {blob: array}, complete, as weights.load returns.
        clips: arrays N x C x T x H x W, uint8 RGB or normalized float32: what the network is to
            expect. Some hundred clips are enough.
        outputs: names of the blobs that the model gives, float32.
        metadata: {key: text}, as onnx_file.describe returns.

    Returns:
        onnx.ModelProto; onnx_file.save writes it and onnx_file.read reads it.

    Raises:
        InputError: no clips, an output that the network does not have, no NNCF.
    """
    require()
    rows = [row[np.newaxis] for batch in clips for row in batch]
    if not rows:
        raise InputError('there are no clips to calibrate with')
    metadata = {**(metadata or {}), 'calibration': f'{_version()}, {len(rows)} clips'}
    model = onnx_file.export(network, parameters, outputs, metadata=metadata)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    plan = folding.plan(network, tuple(outputs), fold_batch_norm=True)
    last = [network.logits] if network.use_convolutional_pred else []
    found = _found(_calibrated(model, network, rows, last), plan, last)
    return onnx_operators.assemble(
        network,
        int8.add(plan, found.scales),
        {**values, **found.values},
        {entry.key: entry.value for entry in model.metadata_props},
    )


def _version():
    return f'nncf {importlib.metadata.version("nncf")}'


def _calibrated(model, network, clips, last):
    """The openvino.Model that NNCF makes of an ONNX model; it leaves the convolutions `last`."""
    from openvino.passes import ConstantFolding, Manager

    from r2plus1d.backends.openvino.core import core

    read = core().read_model(model.SerializeToString(), b'')
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
            ignored_scope=nncf.IgnoredScope(
                names=[name for last_one in last for name in (last_one, last_one + OF_IMPORT)],
                types=list(NOT_QUANTIZED),
                validate=False,
            ),
        )


@contextlib.contextmanager
def _nncf():
    """The library, which tells nobody that it is used and leaves stdout to results."""
    os.environ.setdefault('NNCF_CI', '1')
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of names in OpenVINO that its releases will change
        import nncf

        logging.getLogger('nncf').setLevel(logging.ERROR)
        yield nncf


def _normalized(clip):
    return clip if clip.dtype == np.float32 else normalize_rgb(clip)


def _found(model: Any, plan: folding.Plan, last: Sequence[str] = ()) -> Quantization:
    """The Quantization in an openvino.Model that NNCF made."""
    ranges: dict[str, tuple[Union[float, np.ndarray], Union[float, np.ndarray]]] = {}
    weights: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    biases: dict[str, np.ndarray] = {}
    convolutions = {node.output: node for node in plan.nodes if node.kind == 'Conv'}
    convolutions = {name: node for name, node in convolutions.items() if name not in last}
    known = {'data', *(node.output for node in plan.nodes)}
    for operation in model.get_ops():
        kind = operation.get_type_name()
        if kind == 'FakeQuantize':
            name = _source(operation, 0).get_friendly_name()
            _require(name in known.difference(ranges), f'a quantizer behind {name}')
            _require(operation.get_levels() == LEVELS, f'{operation.get_levels()} levels')
            low, high = (_numbers(_source(operation, i)) for i in (1, 2))
            ranges[name] = low, high
        elif kind in CONVOLUTIONS:
            name = operation.get_friendly_name().removesuffix(OF_IMPORT)
            if name in last:
                continue
            weight, *bias = convolutions.pop(name).parameters
            array, scales = _weights_of(operation)
            weights[weight] = array.reshape(plan.initializers[weight].shape), scales
            biases.update({name: _bias_of(operation) for name in bias})
    _require(not convolutions, f'no convolutions {", ".join(convolutions)}')
    return Quantization(ranges, weights, biases)


def _numbers(constant):
    """One number, or an array of one per channel."""
    return constant.get_data().astype(np.float64).reshape(-1).squeeze()


def _weights_of(convolution):
    """(int8 array, float32 array of a scale a filter)."""
    scaled = _source(convolution, 1)
    if scaled.get_type_name() == 'Reshape':  # into groups
        scaled = _source(scaled, 0)
    _require(scaled.get_type_name() == 'Multiply', f'weights that are a {scaled.get_type_name()}')
    array = _source(_source(scaled, 0), 0).get_data()
    _require(array.dtype == np.int8, f'weights of {array.dtype}')
    return array, _source(scaled, 1).get_data().reshape(-1)


def _bias_of(convolution):
    readers = [reader.get_node() for reader in convolution.output(0).get_target_inputs()]
    kinds = [reader.get_type_name() for reader in readers]
    _require(kinds == ['Add'], f'{" and ".join(kinds)} behind a convolution')
    return _source(readers[0], 1).get_data().reshape(-1)


def _require(condition, what):
    """Every release of NNCF may build its networks in another way."""
    if not condition:
        raise InputError(f'{_version()} makes {what}; {KNOWN} is known to work')


def _source(operation, number):
    return operation.input_value(number).get_node()
