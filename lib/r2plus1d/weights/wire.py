"""The few fields of protobuf's wire format that weight files use, read and written as data."""

import struct
from collections.abc import Iterator
from typing import Union

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10  # bytes


class WireError(ValueError):
    """The bytes are no protobuf message."""


def fields(message: bytes) -> Iterator[tuple[int, int, Union[int, bytes]]]:
    """Yield (number, wire type, value) of each field; a value of BYTES or of a fixed size is bytes.

    Raises:
        WireError: the message is cut short or has a group, which no file of today has.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, place = _varint(message, place)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise WireError(f'wire type {kind}')
        if not number or place + size > len(message):
            raise WireError('a field is cut short')
        yield number, kind, message[place : place + size]
        place += size


def integers(kind: int, value: Union[int, bytes]) -> list[int]:
    """Return the signed integers of one field, packed or alone."""
    if isinstance(value, int):
        return [_signed(value)]
    if kind != BYTES:
        raise WireError('integers of a fixed size')
    found, place = [], 0
    while place < len(value):
        number, place = _varint(value, place)
        found.append(_signed(number))
    return found


def floats(kind: int, value: Union[int, bytes], dtype: str) -> np.ndarray:
    """Return the numbers of one field, packed or alone; `dtype` is `<f4` or `<f8`."""
    size = np.dtype(dtype).itemsize
    if isinstance(value, int) or len(value) % size or kind not in (BYTES, FIXED32, FIXED64):
        raise WireError(f'no numbers of {size} bytes')
    return np.frombuffer(value, dtype)


def text(value: Union[int, bytes]) -> str:
    """Return a field of text."""
    if isinstance(value, int):
        raise WireError('a number in the place of a text')
    return value.decode('utf-8', 'replace')


def field(number: int, value: Union[int, bytes]) -> bytes:
    """Return one field: an integer as a varint, bytes with their length before them."""
    if isinstance(value, int):
        return _encoded(number << 3 | VARINT) + _encoded(value)
    return _encoded(number << 3 | BYTES) + _encoded(len(value)) + value


def packed(values: np.ndarray) -> bytes:
    """Return integers as varints, one after the other."""
    return b''.join(_encoded(int(value)) for value in values.reshape(-1))


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = 0
    for i in range(LONGEST_VARINT):
        if place >= len(message):
            raise WireError('a number is cut short')
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value & (1 << 64) - 1, place
    raise WireError('a number is too long')


def _signed(value: int) -> int:
    return struct.unpack('<q', struct.pack('<Q', value))[0]


def _encoded(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
