"""Networks with their weights as ONNX files, written and read; a file is read as data only.

Such a file holds one of the networks of models.network under the blob names of Caffe2, and says
in its metadata which one it is and what it is to be given.
"""

import math
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from r2plus1d.errors import InputError, printable
from r2plus1d.networks import folding, graph, int8
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.folding import Plan, Tensor
from r2plus1d.networks.network import Network
from r2plus1d.results.complete import complete_file
from r2plus1d.results.given_file import reading
from r2plus1d.weights import card, onnx_model, onnx_operators, wire
from r2plus1d.weights.files import require_weight_file
from r2plus1d.weights.match import match_parameters
from r2plus1d.weights.onnx_model import OnnxModel, Source, plan_of
from r2plus1d.weights.wire import WireError

MAX_BYTES = (1 << 31) - 1  # of one message, says protobuf
ROOM = 1 << 24  # for all but the weights
MOST_PARTS = 100_000
LONGEST_FAULT = 400  # in a message; parts of it may come from the file

describe = card.describe
require_blobs = folding.require_blobs
require_outputs, require_precision = onnx_model.require_outputs, onnx_model.require_precision


def export(
    network: Network,
    parameters: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    *,
    fold_batch_norm: bool = True,
    metadata: Optional[Mapping[str, str]] = None,
) -> onnx.ModelProto:
    """Return the inference graph of `network` as an ONNX model.

    It takes `data`, float32 N x C x T x H x W, N any number, and gives the blobs `outputs` as
    float32 under their Caffe2 names and in their Caffe2 shapes, the batch first.

    Args:
        network: the Network.
        parameters: {blob: array}, complete, as match_parameters returns.
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
    plan = folding.plan(network, tuple(outputs), fold_batch_norm=fold_batch_norm)
    added = card.of_network(network, batch_norm_folded=fold_batch_norm)
    metadata = {**(metadata or {}), **added}
    card.network_of(metadata)
    card.clips_and_names(network, metadata)
    _require_size(plan)
    fitted = match_parameters(parameters, parameter_shapes(network), source='parameters')
    values = folding.initial_values(plan, fitted)
    return onnx_operators.assemble(network, plan, values, dict(sorted(metadata.items())))


def graph_of(network: Network, source: Source, outputs: Sequence[str]) -> onnx.ModelProto:
    """Return an onnx.ModelProto of `network` that gives the blobs `outputs`, in their order.

    It is made for an engine: it says nothing of itself, so that `read` would not take it.

    Args:
        source: as plan_of takes it.

    Raises:
        InputError: as plan_of; more than 2 GB.
    """
    plan, values = plan_of(network, source, outputs)
    _require_size(plan)
    return onnx_operators.assemble(network, plan, values, {})


def save(model: onnx.ModelProto, path: Union[str, pathlib.Path]) -> None:
    """Write an onnx.ModelProto, complete or not at all; the same model gives the same bytes."""
    with complete_file(path) as file:
        file.write(model.SerializeToString(deterministic=True))


def read(path: Union[str, pathlib.Path]) -> OnnxModel:
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
        raise InputError(f'{path}: {printable(str(error)[:LONGEST_FAULT])}') from None


def _read(path: pathlib.Path) -> OnnxModel:
    proto = _parse(path)
    metadata = _metadata(proto)
    _require_our_operators(proto)
    network, folded = card.network_of(metadata)
    outputs = tuple(value.name for value in proto.graph.output)
    plan = folding.plan(network, outputs, fold_batch_norm=folded)
    quantized = _quantized_values(proto, network, plan)
    if quantized:
        plan = int8.add(plan, quantized)
    values = _initializers(proto, plan)
    int8.require_scales(values)
    if proto != onnx_operators.assemble(network, plan, values, metadata):
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
        plan=plan,
        values=values,
    )


def _parse(path: pathlib.Path) -> onnx.ModelProto:
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f'{path.stat().st_size} bytes; an ONNX file has at most {MAX_BYTES}')
    with warnings.catch_warnings(record=True) as warned:  # of what comes after the message's end
        warnings.simplefilter('always')
        try:
            # Not onnx.load, which goes on to read the files that this one names.
            with reading(path) as file:
                content = file.read()
                _count_parts(memoryview(content), onnx.ModelProto.DESCRIPTOR, 0)
                proto = onnx.ModelProto.FromString(content)
        except (DecodeError, WireError, RecursionError):
            proto = None
    if proto is None or warned:
        raise InputError('not an ONNX file, or cut short')
    return proto


def _count_parts(message: wire.Raw, kind: Any, count: int) -> int:
    """Return `count` and the number of the message's parts, of which each takes far more memory.

    An empty part has two bytes in the file and a hundred in memory.
    """
    for number, _, value in wire.fields(message):
        count += 1
        if count > MOST_PARTS:
            raise InputError(f'it has more than {MOST_PARTS} parts; a network has thousands')
        inside = kind.fields_by_number.get(number)
        if inside is not None and inside.message_type and not isinstance(value, int):
            count = _count_parts(value, inside.message_type, count)
    return count


def _metadata(proto: onnx.ModelProto) -> dict[str, str]:
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


def _require_our_operators(proto: onnx.ModelProto) -> None:
    domains = {entry.domain for entry in proto.opset_import} - {''}
    domains |= {node.domain for node in proto.graph.node} - {''}
    if domains:
        raise InputError(f'operators of the domain {sorted(map(repr, domains))[0]} are not run')
    ours = onnx_operators.ONNX_OPERATORS | onnx_operators.QUANTIZERS
    kinds = {node.op_type for node in proto.graph.node} - ours
    if kinds:
        raise InputError(f'operators {", ".join(sorted(map(repr, kinds)))} are not of our networks')


def _quantized_values(
    proto: onnx.ModelProto, network: Network, plan: Plan
) -> dict[str, tuple[int, ...]]:
    """{value: shape of its scales} of the values of a Plan that a file's graph quantizes."""
    found = {
        name for node in proto.graph.node if node.op_type == 'QuantizeLinear'
        for name in node.input[:1]
    }  # fmt: skip
    unknown = found - {'data', *(node.output for node in plan.nodes)}
    if unknown:
        raise InputError(f'it quantizes {min(map(repr, unknown))}, which is not of the network')
    blobs = {'data': 'data', **{node.output: node.blob for node in plan.nodes}}
    channels = {name: graph.trace(network).shapes[blobs[name]][:1] for name in found}
    # Whichever shape is not in the file is refused with the initializers.
    has = {(tensor.name, tuple(tensor.dims)) for tensor in proto.graph.initializer}
    return {n: channels[n] if (n + int8.SCALE, channels[n]) in has else () for n in found}


def _initializers(proto: onnx.ModelProto, plan: Plan) -> dict[str, np.ndarray]:
    """{name: array} of exactly the plan's, from the file's own bytes."""
    tensors = list(proto.graph.initializer)
    if [tensor.name for tensor in tensors] != list(plan.initializers):
        raise InputError('its initializers are not those of the network')
    return {t.name: _array(t, plan.initializers[t.name]) for t in tensors}


def _array(tensor: onnx.TensorProto, kind: Tensor) -> np.ndarray:
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


def _require_size(plan: Plan) -> None:
    size = 4 * sum(math.prod(kind.shape) for kind in plan.initializers.values())
    if size > MAX_BYTES - ROOM:
        raise InputError(f'the weights have {size} bytes; an ONNX file has at most {MAX_BYTES}')
