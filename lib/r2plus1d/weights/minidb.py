"""Caffe2's `minidb`, read and written as data, without Caffe2: nothing in the file is run.

A file is a row of records: two int32 lengths, a key, and a BlobProto, which holds a tensor, a
piece of one, or a text.
"""

import math
import pathlib
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.weights import wire

LENGTHS = struct.Struct('<ii')
# Numbers of BlobProto's and TensorProto's fields
NAME, TYPE, TENSOR, CONTENT = 1, 2, 3, 4
DIMS, DATA_TYPE, SEGMENT, BEGIN = 1, 2, 11, 1
FLOAT, INT32, INT64, DOUBLE = 1, 2, 10, 13  # TensorProto.DataType
FIELDS = {FLOAT: 3, INT32: 4, DOUBLE: 9, INT64: 10}
DTYPES = {FLOAT: '<f4', INT32: '<i4', INT64: '<i8', DOUBLE: '<f8'}
TENSOR_TYPE, TEXT_TYPE = 'Tensor', 'std::string'

Value = Union[int, bytes]  # of a field, as wire.fields yields it


class Piece(NamedTuple):
    """A tensor, or a piece of one: Caffe2 saves large tensors in pieces."""

    dims: list[int]
    data_type: int
    begin: int
    values: np.ndarray


class Blob(NamedTuple):
    """What a record holds; `piece` is None unless it is of numbers that are known here."""

    name: str
    piece: Optional[Piece]
    text: Optional[bytes]


def read_tensors(path: Union[str, pathlib.Path]) -> list[tuple[str, np.ndarray]]:
    """Return [(blob name, array)] of the tensors of numbers in the minidb at `path`, scopes kept.

    Raises:
        InputError: not a minidb, or a tensor of which a part is missing.
    """
    arrays: dict[str, np.ndarray] = {}
    filled: dict[str, int] = {}
    for name, piece, _ in _blobs(pathlib.Path(path)):
        if piece is None:
            continue  # the export keeps its nets and some strings beside the parameters
        if name not in arrays:
            arrays[name] = _empty(path, name, piece)
        array = arrays[name].reshape(-1)
        end = piece.begin + len(piece.values)
        if piece.begin < 0 or end > array.size:
            raise InputError(f'{path}: {name} holds more values than its shape {piece.dims}')
        array[piece.begin : end] = piece.values
        filled[name] = filled.get(name, 0) + len(piece.values)
    for name, array in arrays.items():
        if filled[name] != array.size:
            raise InputError(f'{path}: {name} is cut short: {filled[name]} of {array.size} values')
    return list(arrays.items())


def read_text(path: Union[str, pathlib.Path], name: str) -> Optional[str]:
    """Return the text blob `name` of the minidb at `path`, None if it has none."""
    for blob in _blobs(pathlib.Path(path)):
        if blob.name == name and blob.text is not None:
            return blob.text.decode('utf-8', 'replace')
    return None


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> None:
    """Write tensors of float32, float64, int32 or int64, and texts, as Caffe2's Save does."""
    kinds = {np.dtype(dtype): kind for kind, dtype in DTYPES.items()}
    with path.open('wb') as file:
        for name, array in tensors.items():
            kind = kinds[array.dtype]
            body = b''.join(wire.field(DIMS, size) for size in array.shape)
            raw = array.tobytes() if kind in (FLOAT, DOUBLE) else wire.packed(array)
            body += wire.field(DATA_TYPE, kind) + wire.field(FIELDS[kind], raw)
            _write_record(file, name, TENSOR_TYPE, TENSOR, body)
        for name, text in texts.items():
            _write_record(file, name, TEXT_TYPE, CONTENT, text.encode())


def is_minidb(path: pathlib.Path) -> bool:
    """Whether the file at `path` begins as a minidb does."""
    with path.open('rb') as file:
        header = file.read(LENGTHS.size)
    if len(header) < LENGTHS.size:
        return False
    key, value = LENGTHS.unpack(header)
    return key > 0 and value >= 0 and LENGTHS.size + key + value <= path.stat().st_size


def _write_record(file: BinaryIO, name: str, kind: str, number: int, body: bytes) -> None:
    key = name.encode()
    value = wire.field(NAME, key) + wire.field(TYPE, kind.encode()) + wire.field(number, body)
    file.write(LENGTHS.pack(len(key), len(value)) + key + value)


def _empty(path: Union[str, pathlib.Path], name: str, piece: Piece) -> np.ndarray:
    """An array of the blob's shape, once that is known to be no invention of a damaged file."""
    dims = piece.dims
    if min(dims, default=0) < 0 or math.prod(dims) > pathlib.Path(path).stat().st_size:
        raise InputError(f'{path}: {name} has the shape {dims}, more than the file holds')
    return np.empty(dims, DTYPES[piece.data_type])


def _blobs(path: pathlib.Path) -> Iterator[Blob]:
    """Yield the Blob of each record."""
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
                yield _blob(file.read(value_length))
            except (struct.error, wire.WireError):
                raise InputError(f'{path} is not a readable minidb') from None


def _blob(message: bytes) -> Blob:
    name, kind, tensor, content = '', '', b'', None
    for number, _, value in wire.fields(message):
        if number == NAME:
            name = wire.text(value)
        elif number == TYPE:
            kind = wire.text(value)
        elif number == TENSOR and isinstance(value, bytes):
            tensor = value
        elif number == CONTENT and isinstance(value, bytes):
            content = value
    text = content if kind == TEXT_TYPE else None
    return Blob(name, _piece(tensor) if kind == TENSOR_TYPE else None, text)


def _piece(message: bytes) -> Optional[Piece]:
    """The numbers of a TensorProto, None if they are of another kind than DTYPES'."""
    dims, data_type, begin = [], FLOAT, 0
    parts: dict[int, list[tuple[int, Value]]] = {number: [] for number in FIELDS.values()}
    for number, kind, value in wire.fields(message):
        if number == DIMS:
            dims += wire.integers(kind, value)
        elif number == DATA_TYPE:
            (data_type,) = wire.integers(kind, value)
        elif number == SEGMENT and isinstance(value, bytes):
            begins = [v for n, _, v in wire.fields(value) if n == BEGIN and isinstance(v, int)]
            begin = wire.integers(wire.VARINT, begins[-1])[0] if begins else 0
        elif number in parts:
            parts[number].append((kind, value))
    if data_type not in DTYPES:
        return None
    dtype = DTYPES[data_type]
    is_float = data_type in (FLOAT, DOUBLE)
    arrays = [
        np.asarray(wire.floats(k, v, dtype) if is_float else wire.integers(k, v), dtype)
        for k, v in parts[FIELDS[data_type]]
    ]
    values = np.concatenate(arrays) if arrays else np.empty(0, dtype)
    return Piece(dims, data_type, begin, values)
