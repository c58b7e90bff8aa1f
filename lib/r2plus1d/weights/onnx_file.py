"""Networks with their weights as ONNX files, written and read; a file is read as data only.

Such a file holds one of the networks of models.network under the blob names of Caffe2, and says
in its metadata which one it is and what it is to be given.
"""

import dataclasses
import math
import pathlib
import warnings
from typing import Optional

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from r2plus1d.errors import InputError
from r2plus1d.networks import int8
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.results.complete import complete_file
from r2plus1d.weights import card, onnx_operators
from r2plus1d.weights.files import require_weight_file
from r2plus1d.weights.match import match_parameters

MAX_BYTES = (1 << 31) - 1  # of one message, says protobuf
ROOM = 1 << 24  # for all but the weights
LONGEST_FAULT = 400  # in a message; parts of it may come from the file

describe = card.describe
require_blobs = onnx_operators.require_blobs


@dataclasses.dataclass(frozen=True)
class OnnxModel:
    """An ONNX file that `export` made.

    Attributes:
        path: of the file.
        network: models.network.Network.
        input: what the network is to be given, None if the file does not say.
        outputs: names of the blobs that it gives.
        class_names: tuple of num_labels texts, or None.
        batch_norm_folded: whether convolutions have taken in their batch norms.
        is_int8: whether its convolutions compute in 8 bits.
        metadata: {key: text}, all that the file says of itself.
        proto: onnx.ModelProto, built anew from the file's numbers, of no other operators than ours.
    """

    path: pathlib.Path
    network: Network
    input: Optional[Input]
    outputs: tuple
    class_names: tuple
    batch_norm_folded: bool
    is_int8: bool
    metadata: dict
    proto: onnx.ModelProto = dataclasses.field(repr=False)


def export(network, parameters, outputs, *, fold_batch_norm=True, metadata=None):
    """Return the inference graph of `network` as an ONNX model.

    It takes `data`, float32 N x C x T x H x W, N any number, and gives the blobs `outputs` as
    float32 under their Caffe2 names and in their Caffe2 shapes, the batch first.

    Args:
        network: models.network.Network.
        parameters: {blob: array}, complete, as load_parameters returns.
        outputs: names of blobs that the network makes, different ones.
        fold_batch_norm: let convolutions take in their batch norms, by float64 arithmetic. One
            whose own output is among `outputs` keeps its batch norm behind it.
        metadata: {key: text}, as `describe` returns; what says which network this is is added.

    Returns:
        onnx.ModelProto; the same for the same arguments, to the byte when `save`d.

    Raises:
        InputError: an output that the network does not have, parameters that do not fit, metadata
            that `read` would refuse, more than 2 GB.
    """
    plan = onnx_operators.plan(network, tuple(outputs), fold_batch_norm=fold_batch_norm)
    added = card.of_network(network, batch_norm_folded=fold_batch_norm)
    metadata = {**(metadata or {}), **added}
    card.network_of(metadata)
    card.clips_and_names(network, metadata)
    _require_size(plan)
    fitted = match_parameters(parameters, parameter_shapes(network), source='parameters')
    values = onnx_operators.initial_values(plan, fitted)
    return onnx_operators.assemble(network, plan, values, dict(sorted(metadata.items())))


def graph_of(network, source, outputs):
    """Return an onnx.ModelProto of `network` that gives the blobs `outputs`, in their order.

    Args:
        source: parameters {blob: array} as load_parameters returns, or an OnnxModel of the network.

    Raises:
        InputError: an output that the network does not have, or that the file does not give.
    """
    if not isinstance(source, OnnxModel):
        return export(network, source, outputs)
    assert source.network == network, source.network
    require_outputs(source, outputs)
    proto = onnx.ModelProto()
    proto.CopyFrom(source.proto)
    given = {value.name: value for value in source.proto.graph.output}
    del proto.graph.output[:]
    proto.graph.output.extend(given[name] for name in outputs)
    return proto


def require_outputs(model, outputs):
    """Raise InputError unless the file of an OnnxModel gives the blobs `outputs`."""
    missing = [name for name in outputs if name not in model.outputs]
    if missing:
        raise InputError(
            f'{model.path} gives {", ".join(model.outputs)}, not {", ".join(missing)}; '
            f'tools/{"quantize" if model.is_int8 else "export_onnx"}.py --features=... makes one '
            'that does'
        )


def require_precision(source, precision):
    """Raise InputError unless what `graph_of` takes computes in 8 bits just when that is asked."""
    is_int8 = isinstance(source, OnnxModel) and source.is_int8
    if is_int8 and precision != 'int8':
        raise InputError(f'precision is {precision}, and {source.path} computes in int8')
    if precision == 'int8' and not is_int8:
        raise InputError('precision is int8, which needs an .onnx file that tools/quantize.py made')


def save(model, path):
    """Write an onnx.ModelProto, complete or not at all; the same model gives the same bytes."""
    with complete_file(path) as file:
        file.write(model.SerializeToString(deterministic=True))


def read(path):
    """Return the OnnxModel in the file at `path`.

    The file is taken apart and compared, part for part, to what `export` writes of the network
    that it says it is, so that it can compute nothing else and refer to no other file.

    Raises:
        InputError: not a file that `export` made, cut short, or changed in anything but its
            numbers and the texts of its metadata; the message names the file.
    """
    path = pathlib.Path(path)
    require_weight_file(path)
    try:
        return _read(path)
    except InputError as error:
        fault = ''.join(c if c.isprintable() else ' ' for c in str(error)[:LONGEST_FAULT])
        raise InputError(f'{path}: {fault}') from None


def _read(path):
    proto = _parse(path)
    metadata = _metadata(proto)
    _require_our_operators(proto)
    network, folded = card.network_of(metadata)
    outputs = tuple(value.name for value in proto.graph.output)
    plan = onnx_operators.plan(network, outputs, fold_batch_norm=folded)
    quantized = int8.quantized_values(proto, plan)
    if quantized:
        plan = int8.add(plan, quantized)
    values = _initializers(proto, plan)
    int8.require_scales(values)
    rebuilt = onnx_operators.assemble(network, plan, values, metadata)
    if proto != rebuilt:
        raise InputError(f'its graph is not the one that is exported of {network.name}')
    given, class_names = card.clips_and_names(network, metadata)
    return OnnxModel(
        path=path,
        network=network,
        input=given,
        outputs=outputs,
        class_names=class_names,
        batch_norm_folded=folded,
        is_int8=bool(quantized),
        metadata=metadata,
        proto=rebuilt,
    )


def _parse(path):
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path.stat().st_size} bytes; an ONNX file has at most {MAX_BYTES}')
    with warnings.catch_warnings(record=True) as warned:  # of what comes after the message's end
        warnings.simplefilter('always')
        try:
            # Not onnx.load, which goes on to read the files that this one names.
            proto = onnx.ModelProto.FromString(path.read_bytes())
        except DecodeError:
            proto = None
    if proto is None or warned:
        raise InputError('not an ONNX file, or cut short')
    return proto


def _metadata(proto):
    """{key: text}, of our own files only."""
    pairs = [(prop.key, prop.value) for prop in proto.metadata_props]
    metadata = dict(pairs)
    if proto.producer_name != onnx_operators.PRODUCER or 'format_version' not in metadata:
        raise InputError('no ONNX file of tools/export_onnx.py or quantize.py, or cut short')
    # Protobuf gives text that is not UTF-8 as bytes.
    if len(metadata) < len(pairs) or not all(isinstance(t, str) for pair in pairs for t in pair):
        raise InputError('its metadata has a key twice, or a text that is not UTF-8')
    version = metadata['format_version']
    if version != card.FORMAT_VERSION:
        raise InputError(f'format_version is {version[:20]!r}; {card.FORMAT_VERSION} is known here')
    return metadata


def _require_our_operators(proto):
    domains = {entry.domain for entry in proto.opset_import} - {''}
    domains |= {node.domain for node in proto.graph.node} - {''}
    if domains:
        raise InputError(f'operators of the domain {sorted(map(repr, domains))[0]} are not run')
    ours = onnx_operators.ONNX_OPERATORS | onnx_operators.QUANTIZERS
    kinds = {node.op_type for node in proto.graph.node} - ours
    if kinds:
        raise InputError(f'operators {", ".join(sorted(map(repr, kinds)))} are not of our networks')


def _initializers(proto, plan):
    """{name: array} of exactly the plan's, from the file's own bytes."""
    tensors = list(proto.graph.initializer)
    if [tensor.name for tensor in tensors] != list(plan.initializers):
        raise InputError('its initializers are not those of the network')
    return {t.name: _array(t, plan.initializers[t.name]) for t in tensors}


def _array(tensor, kind):
    if tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data:
        raise InputError(f'{tensor.name} lies in another file, which is not read')
    shape, dtype = kind.shape, np.dtype(kind.dtype)
    if tuple(tensor.dims) != shape or tensor.data_type != onnx_operators.TYPES[kind.dtype]:
        raise InputError(f'{tensor.name} is {list(tensor.dims)}, not {dtype} {list(shape)}')
    raw, size = tensor.raw_data, dtype.itemsize * math.prod(shape)
    if len(raw) != size:
        raise InputError(f'{tensor.name} has {len(raw)} bytes, not {size}')
    array = np.frombuffer(raw, dtype).reshape(shape)
    if not np.isfinite(array).all():
        raise InputError(f'NaN or infinite values in {tensor.name}')
    return array


def _require_size(plan):
    size = 4 * sum(math.prod(kind.shape) for kind in plan.initializers.values())
    if size > MAX_BYTES - ROOM:
        raise InputError(f'the weights have {size} bytes; an ONNX file has at most {MAX_BYTES}')
