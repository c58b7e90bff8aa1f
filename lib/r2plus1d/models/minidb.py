"""Tensors of a Caffe2 `minidb`, read as data: nothing that the file contains is run."""

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
        field, dtype = DTYPES[tensor.data_type]
        size = int(np.prod(tensor.dims, dtype=np.int64))
        values = np.asarray(getattr(tensor, field), dtype=dtype)
        begin = tensor.segment.begin if tensor.HasField('segment') else 0
        array = arrays.setdefault(blob.name, np.empty(size, dtype).reshape(tensor.dims))
        if begin < 0 or begin + len(values) > array.size:
            raise InputError(
                f'{path}: {blob.name} holds more values than its shape {list(tensor.dims)}'
            )
        array.reshape(-1)[begin : begin + len(values)] = (
            values  # Caffe2 saves large tensors in pieces
        )
        filled[blob.name] = filled.get(blob.name, 0) + len(values)
    for name, array in arrays.items():
        if filled[name] != array.size:
            raise InputError(f'{path}: {name} is cut short: {filled[name]} of {array.size} values')
    return list(arrays.items())


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
                        f'{path} is not a minidb, or it is cut short at byte {file.tell()}'
                    )
                file.seek(key_length, 1)
                yield caffe2_pb2.BlobProto.FromString(file.read(value_length))
            except (struct.error, DecodeError):
                raise InputError(f'{path} is not a readable minidb') from None
