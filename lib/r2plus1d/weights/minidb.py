"""Caffe2's `minidb`, read and written as data, without Caffe2: nothing in the file is run.

A file is a row of records: two int32 lengths, a key, and a BlobProto, which holds a tensor, a
piece of one, or a text.
"""

import math
import os
import pathlib
import struct
from collections.abc import Iterator, Mapping
from typing import BinaryIO, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.results.given_file import reading
from r2plus1d.weights import wire

LENGTHS = struct.Struct('<ii')
# Numbers of BlobProto's and TensorProto's fields
NAME, TYPE, TENSOR, CONTENT = 1, 2, 3, 4
DIMS, DATA_TYPE, SEGMENT = 1, 2, 11
BEGIN, END = 1, 2  # of a Segment
FLOAT, INT32, INT64, DOUBLE = 1, 2, 10, 13  # TensorProto.DataType
FIELDS = {FLOAT: 3, INT32: 4, DOUBLE: 9, INT64: 10}
DTYPES = {FLOAT: '<f4', INT32: '<i4', INT64: '<i8', DOUBLE: '<f8'}
# Wire type of a number that stands alone in each field of numbers; Caffe2 packs all but DIMS.
ALONE = {
    DIMS: wire.VARINT,
    FIELDS[FLOAT]: wire.FIXED32,
    FIELDS[INT32]: wire.VARINT,
    FIELDS[DOUBLE]: wire.FIXED64,
    FIELDS[INT64]: wire.VARINT,
}
TENSOR_TYPE, TEXT_TYPE = 'Tensor', 'std::string'
MOST_DIMS, MOST_VALUES = 32, 1 << 40  # of a tensor; numpy takes no more than 32 dimensions
MOST_RECORDS = 100_000  # of a file; networks have hundreds


class Piece(NamedTuple):
    """A tensor, or a piece of one: Caffe2 saves large tensors in pieces.

    Attributes:
        dims: the shape of the whole tensor.
        data_type: a key of DTYPES.
        begin, end: which of the tensor's values, counted in C order, the piece says it holds.
        values: of the dtype in DTYPES, (N,).
    """

    dims: tuple[int, ...]
    data_type: int
    begin: int
    end: int
    values: np.ndarray


class Blob(NamedTuple):
    """What a record holds; `piece` is None unless it is of numbers that are known here."""

    name: str
    piece: Optional[Piece]
    text: Optional[bytes]


def read(
    path: Union[str, pathlib.Path], file: BinaryIO
) -> tuple[list[tuple[str, np.ndarray]], dict[str, str]]:
    """Return the tensors of numbers and the texts of a minidb, scopes kept.

    Args:
        path: for messages.
        file: the minidb, at its beginning; it is read once.

    Returns:
        [(blob name, array)], {blob name: text}.

    Raises:
        InputError: not a minidb, or a tensor whose pieces do not make up its shape exactly.
    """
    pieces: dict[str, list[Piece]] = {}
    texts: dict[str, str] = {}
    for name, piece, text in _blobs(path, file):
        if text is not None:
            texts[name] = text.decode('utf-8', 'replace')
        if piece is not None:  # the export keeps its nets and some strings beside them
            pieces.setdefault(name, []).append(piece)
    tensors = [(name, _joined(pieces.pop(name), f'{path}: {name}')) for name in list(pieces)]
    return tensors, texts


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
    with reading(path) as file:
        header = file.read(LENGTHS.size)
    if len(header) < LENGTHS.size:
        return False
    key, value = LENGTHS.unpack(header)
    return key > 0 and value >= 0 and LENGTHS.size + key + value <= path.stat().st_size


def _write_record(file: BinaryIO, name: str, kind: str, number: int, body: bytes) -> None:
    key = name.encode()
    value = wire.field(NAME, key) + wire.field(TYPE, kind.encode()) + wire.field(number, body)
    file.write(LENGTHS.pack(len(key), len(value)) + key + value)


def _joined(pieces: list[Piece], what: str) -> np.ndarray:
    """The tensor of its pieces; nothing is made before they are known to be all of it."""
    dims, data_type = pieces[0].dims, pieces[0].data_type
    if any((piece.dims, piece.data_type) != (dims, data_type) for piece in pieces):
        raise InputError(f'{what} has pieces of tensors of different shapes or types')
    _require_possible(dims, what)
    size, held = math.prod(dims), 0
    pieces.sort(key=lambda piece: (piece.begin, piece.end))
    for piece in pieces:
        if piece.begin < 0 or piece.end - piece.begin != len(piece.values):
            said = f'{piece.begin} to {piece.end}'
            raise InputError(f'{what} has {len(piece.values)} values in a piece of {said}')
        if piece.begin < held:
            raise InputError(f'{what} has two pieces with value {piece.begin}; it needs one')
        if piece.begin > held:
            raise InputError(f'{what} is cut short: values {held} to {piece.begin} are missing')
        held = piece.end
    if held > size:
        raise InputError(f'{what} holds {held} values, more than its shape {list(dims)}')
    if held < size:
        raise InputError(f'{what} is cut short: {held} of {size} values')
    values = [piece.values for piece in pieces]
    return (values[0] if len(values) == 1 else np.concatenate(values)).reshape(dims)


def _require_possible(dims: tuple[int, ...], what: str) -> None:
    """Raise InputError for a shape that no tensor has, also where one of its dimensions is 0."""
    if len(dims) > MOST_DIMS:
        raise InputError(f'{what} has more than {MOST_DIMS} dimensions')
    if min(dims, default=0) < 0 or math.prod(size or 1 for size in dims) > MOST_VALUES:
        raise InputError(f'{what} has the shape {list(dims)}, which no tensor has')


def _blobs(path: Union[str, pathlib.Path], file: BinaryIO) -> Iterator[Blob]:
    """Yield the Blob of each record."""
    size, count, limit = os.fstat(file.fileno()).st_size, 0, wire.Limit()
    while header := file.read(LENGTHS.size):
        place, count = file.tell(), count + 1
        if count > MOST_RECORDS:
            raise InputError(f'{path} has more than {MOST_RECORDS} records; a network has less')
        try:
            key_length, value_length = LENGTHS.unpack(header)
            if min(key_length, value_length) < 0 or place + key_length + value_length > size:
                raise InputError(
                    f'{path} is not a minidb, or it is cut short at byte {place}; '
                    'a .pkl needs db_type pickle'
                )
            file.seek(key_length, 1)
            blob = _blob(memoryview(file.read(value_length)), limit)  # copied once
        except (struct.error, wire.WireError) as error:
            raise InputError(f'{path} is not a readable minidb: record {count}: {error}') from None
        yield blob


def _blob(message: wire.Raw, limit: wire.Limit) -> Blob:
    name, kind = '', ''
    tensor: wire.Raw = b''
    content: Optional[bytes] = None
    for number, _, value in wire.fields(message, limit):
        if number == NAME:
            name = wire.text(value)
        elif number == TYPE:
            kind = wire.text(value)
        elif number == TENSOR and not isinstance(value, int):
            tensor = value
        elif number == CONTENT and not isinstance(value, int):
            content = bytes(value)
    text = content if kind == TEXT_TYPE else None
    return Blob(name, _piece(tensor, limit) if kind == TENSOR_TYPE else None, text)


def _piece(message: wire.Raw, limit: wire.Limit) -> Optional[Piece]:
    """The numbers of a TensorProto, None if they are of another kind than DTYPES'."""
    data_type = FLOAT
    segment: wire.Raw = b''
    numbers = {number: bytearray() for number in ALONE}
    for number, kind, value in wire.fields(message, limit):
        if number in numbers:
            numbers[number] += wire.packed_form(kind, value, alone=ALONE[number])
        elif number == DATA_TYPE and isinstance(value, int):
            data_type = value
        elif number == SEGMENT and not isinstance(value, int):
            segment = value
    if data_type not in DTYPES:
        return None
    dims = wire.integers(numbers[DIMS])[: MOST_DIMS + 1].tolist()
    raw, dtype = numbers[FIELDS[data_type]], DTYPES[data_type]
    is_float = data_type in (FLOAT, DOUBLE)
    values = wire.floats(raw, dtype) if is_float else wire.integers(raw).astype(dtype)
    ends = {n: wire.signed(v) for n, _, v in wire.fields(segment, limit) if isinstance(v, int)}
    begin = ends.get(BEGIN, 0)
    return Piece(tuple(dims), data_type, begin, ends.get(END, begin + len(values)), values)
