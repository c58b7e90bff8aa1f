"""Tensors of a Caffe2 `minidb`, read as data: nothing that the file contains is run."""

import math
import pathlib
import struct

import numpy as np
from caffe2.proto import caffe2_pb2
from google.protobuf.message import DecodeError

from r2plus1d.errors import InputError

LENGTHS = struct.Struct('<ii')
DTYPES = {
    caffe2_pb2.TensorProto.FLOAT: ('float_data', np.float32),
    caffe2_pb2.TensorProto.DOUBLE: ('double_data', np.float64),
    caffe2_pb2.TensorProto.INT32: ('int32_data', np.int32),
    caffe2_pb2.TensorProto.INT64: ('int64_data', np.int64),
}


def read_tensors(path):
    """Return [(blob name, array)] of the tensors of numbers in the minidb at `path`, scopes kept.

    Raises:
        InputError: not a minidb, or a tensor of which a part is missing.
    """
    arrays, filled = {}, {}
    for blob in _blobs(pathlib.Path(path)):
        tensor = blob.tensor
        if blob.type != 'Tensor' or tensor.data_type not in DTYPES:
            continue  # the export keeps its nets and some strings beside the parameters
        if blob.name not in arrays:
            arrays[blob.name] = _empty(path, blob)
        field, dtype = DTYPES[tensor.data_type]
        values = np.asarray(getattr(tensor, field), dtype=dtype)
        begin = tensor.segment.begin if tensor.HasField('segment') else 0
        array = arrays[blob.name].reshape(-1)
        if begin < 0 or begin + len(values) > array.size:
            dims = list(tensor.dims)
            raise InputError(f'{path}: {blob.name} holds more values than its shape {dims}')
        # Caffe2 saves large tensors in pieces
        array[begin : begin + len(values)] = values
        filled[blob.name] = filled.get(blob.name, 0) + len(values)
    for name, array in arrays.items():
        if filled[name] != array.size:
            raise InputError(f'{path}: {name} is cut short: {filled[name]} of {array.size} values')
    return list(arrays.items())


def _empty(path, blob):
    """An array of the blob's shape, once that is known to be no invention of a damaged file."""
    dims = list(blob.tensor.dims)
    if min(dims, default=0) < 0 or math.prod(dims) > pathlib.Path(path).stat().st_size:
        raise InputError(f'{path}: {blob.name} has the shape {dims}, more than the file holds')
    return np.empty(dims, DTYPES[blob.tensor.data_type][1])


def _blobs(path):
    """Yield the BlobProto of each record: two int32 lengths, then the key and the value.

    Read here rather than through Caffe2's own cursor, which crashes the process on damaged files.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        while header := file.read(LENGTHS.size):
            try:
                key_length, value_length = LENGTHS.unpack(header)
                if (
                    min(key_length, value_length) < 0
                    or file.tell() + key_length + value_length > size
                ):
                    raise InputError(
                        f'{path} is not a minidb, or it is cut short at byte {file.tell()}; '
                        'a .pkl needs db_type pickle'
                    )
                file.seek(key_length, 1)
                yield caffe2_pb2.BlobProto.FromString(file.read(value_length))
            except (struct.error, DecodeError):
                raise InputError(f'{path} is not a readable minidb') from None
