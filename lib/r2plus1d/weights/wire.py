"""The few fields of protobuf's wire format that weight files use, read and written as data."""

from collections.abc import Iterator
from typing import Optional, Union

import numpy as np

Raw = Union[bytes, memoryview]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
LONGEST_VARINT = 10  # bytes
BLOCK = 1 << 16  # numbers decoded together


MOST_FIELDS = 1 << 20  # of all messages of a file; weights have thousands


class WireError(ValueError):
    """The bytes are no protobuf message."""


class Limit:
    """How many fields may still be read, where a small file could have millions."""

    def __init__(self, most: int = MOST_FIELDS) -> None:
        self._left = self._most = most

    def take(self) -> None:
        """Count one field; WireError if it is one too many."""
        self._left -= 1
        if self._left < 0:
            raise WireError(f'more than {self._most} fields')


def fields(
    message: Raw, limit: Optional[Limit] = None
) -> Iterator[tuple[int, int, Union[int, Raw]]]:
    """Yield (number, wire type, value) of each field; a value of BYTES or of a fixed size is bytes.

    Of a memoryview it is a memoryview, which copies nothing.

    Args:
        limit: of the file that the message is in; None where the caller counts.

    Raises:
        WireError: the message is cut short or has a group, which no file of today has; more fields
            than the limit.
    """
    place = 0
    while place < len(message):
        if limit:
            limit.take()
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, place = _varint(message, place)
            if not number:
                raise WireError('a field has the number 0')
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


def packed_form(kind: int, value: Union[int, Raw], *, alone: int) -> Raw:
    """Return a field of numbers as if they were packed, whether they are or one stands alone.

    Args:
        alone: wire type of a number that is not packed.
    """
    if kind not in (BYTES, alone):
        raise WireError(f'wire type {kind} in a field of numbers')
    return _encoded(value) if isinstance(value, int) else value


def integers(raw: Union[bytes, bytearray]) -> np.ndarray:
    """Return the signed integers of varints that lie one after the other, as int64 (N,)."""
    parts = np.frombuffer(raw, np.uint8)
    ends = np.flatnonzero(parts < 0x80)  # the last byte of each
    if len(parts) and (not len(ends) or ends[-1] != len(parts) - 1):
        raise WireError('a number is cut short')
    values = np.empty(len(ends), np.uint64)
    start = 0
    for i in range(0, len(ends), BLOCK):
        values[i : i + BLOCK] = _varints(parts, start, ends[i : i + BLOCK])
        start = ends[min(i + BLOCK, len(ends)) - 1] + 1
    return values.view(np.int64)


def _varints(parts: np.ndarray, start: int, ends: np.ndarray) -> np.ndarray:
    """The numbers whose last bytes are at `ends`, as uint64; the first begins at `start`."""
    starts = np.append(start, ends[:-1] + 1)
    lengths = ends - starts + 1
    if lengths.max() > LONGEST_VARINT:
        raise WireError('a number is too long')
    values = np.zeros(len(ends), np.uint64)
    for i in range(lengths.max()):
        longer = lengths > i
        bits = (parts[starts[longer] + i] & 0x7F).astype(np.uint64)
        values[longer] |= bits << np.uint64(7 * i)
    return values


def signed(value: int) -> int:
    """Return a varint as the signed integer that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def floats(raw: Union[bytes, bytearray], dtype: str) -> np.ndarray:
    """Return the numbers that lie one after the other; `dtype` is `<f4` or `<f8`."""
    size = np.dtype(dtype).itemsize
    if len(raw) % size:
        raise WireError(f'no numbers of {size} bytes')
    return np.frombuffer(raw, dtype)


def text(value: Union[int, Raw]) -> str:
    """Return a field of text."""
    if isinstance(value, int):
        raise WireError('a number in the place of a text')
    return bytes(value).decode('utf-8', 'replace')


def field(number: int, value: Union[int, bytes]) -> bytes:
    """Return one field: an integer as a varint, bytes with their length before them."""
    if isinstance(value, int):
        return _encoded(number << 3 | VARINT) + _encoded(value)
    return _encoded(number << 3 | BYTES) + _encoded(len(value)) + value


def packed(values: np.ndarray) -> bytes:
    """Return integers as varints, one after the other."""
    return b''.join(_encoded(int(value)) for value in values.reshape(-1))


def _varint(message: Raw, place: int) -> tuple[int, int]:
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


def _encoded(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
