"""Files of tensors in the format `safetensors`: a header in JSON, then the numbers.

    8 bytes   length of the header, little-endian
    header    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...,
               "__metadata__": {"key": "text"}}
    numbers   of all tensors, one behind the other, little-endian

It is written here and not by the package of that name so that the same weights give the same bytes
and a reader needs nothing but numpy.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError, printable
from r2plus1d.results.complete import complete_file
from r2plus1d.results.given_file import reading

Path = Union[str, pathlib.Path]

LENGTH = np.dtype('<u8')  # of the header, before it
LONGEST_HEADER = 16_000_000  # bytes; a network has some hundred kilobytes, and names of classes
MOST_OBJECTS = 100_000  # of a header, each of which takes many times its bytes in memory
MOST_DIGITS = 20  # of a size or a place in the file; Python takes minutes for a million of them
MOST_DIMS = 32
METADATA = '__metadata__'
ALIGNMENT = 8  # bytes, of the numbers; the header ends in spaces
DTYPES = {
    'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': '<u2', 'I64': '<i8', 'I32': '<i4',
    'I16': '<i2', 'I8': '|i1', 'U8': '|u1', 'BOOL': '|b1',
}  # fmt: skip
NAMES = {dtype: name for name, dtype in DTYPES.items() if name != 'BF16'}


class Tensors(NamedTuple):
    """What a file holds.

    Attributes:
        arrays: {name: array}; bfloat16 as float32.
        metadata: {key: text}.
    """

    arrays: dict[str, np.ndarray]
    metadata: dict[str, str]


def is_safetensors(path: Path) -> bool:
    """Whether the file at `path` begins with a header of this format."""
    size = pathlib.Path(path).stat().st_size
    with reading(path) as file:
        begin = file.read(LENGTH.itemsize + 1)
    if len(begin) <= LENGTH.itemsize or begin[LENGTH.itemsize :] != b'{':
        return False
    (length,) = np.frombuffer(begin[: LENGTH.itemsize], LENGTH)
    return int(length) <= size - LENGTH.itemsize


def read(path: Path) -> Tensors:
    """Read every tensor of a file.

    Raises:
        InputError: not this format, cut short, or tensors that overlap or leave gaps; the message
            names the file.
    """
    with reading(path) as file:
        return read_opened(path, file)


def read_opened(path: Path, file: BinaryIO) -> Tensors:
    """Return what `read` does, of a file that is open already; `path` is for messages."""
    try:
        return _parsed(file.read())
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        fault = printable(error) or type(error).__name__
        raise InputError(f'{path} is no readable .safetensors file: {fault}') from None


def _parsed(content: bytes) -> Tensors:
    if len(content) < LENGTH.itemsize:
        raise ValueError(f'{len(content)} bytes')
    (length,) = np.frombuffer(content[: LENGTH.itemsize], LENGTH)
    begin = LENGTH.itemsize + int(length)
    if begin > len(content):
        raise ValueError(f'its header of {length} bytes is cut short')
    if length > LONGEST_HEADER:
        raise ValueError(f'its header has {length} bytes, more than {LONGEST_HEADER}')
    text = content[LENGTH.itemsize : begin]
    if text.count(b'{') > MOST_OBJECTS:
        raise ValueError(f'its header has more than {MOST_OBJECTS} objects')
    header = json.loads(text, object_pairs_hook=_without_repetition, parse_int=_integer)
    if not isinstance(header, dict):
        raise ValueError('its header is no object')
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(t, str) for t in metadata.values()):
        raise ValueError(f'{METADATA} is not texts by name')
    numbers = memoryview(content)[begin:]
    _require_gapless(header, len(numbers))
    return Tensors({name: _array(name, row, numbers) for name, row in header.items()}, metadata)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError('a name is there twice')
    return found


def _integer(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f'an integer of {len(digits)} digits')
    return int(digits)


def _require_gapless(header: Mapping[str, Any], size: int) -> None:
    end = 0
    for begin, after in sorted(row['data_offsets'] for row in header.values()):
        if begin != end or after < begin:
            raise ValueError(f'its tensors overlap or leave a gap at byte {end}')
        end = after
    if end != size:
        raise ValueError(f'its tensors have {end} bytes, and {size} are there')


def _array(name: str, row: Mapping[str, Any], numbers: memoryview) -> np.ndarray:
    kind, shape, (begin, end) = row['dtype'], row['shape'], row['data_offsets']
    if kind not in DTYPES:
        raise ValueError(f'{name} is of {kind}; known: {", ".join(DTYPES)}')
    dtype = np.dtype(DTYPES[kind])
    if not isinstance(shape, list):
        raise ValueError(f'{name} has no list as its shape')
    if len(shape) > MOST_DIMS:  # the product of more takes the square of their number
        raise ValueError(f'{name} has {len(shape)} dimensions, more than {MOST_DIMS}')
    if not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(f'{name} has the shape {shape}')
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f'{name} has {end - begin} bytes, which its shape {shape} does not fill')
    array = np.frombuffer(numbers[begin:end], dtype).reshape(shape)
    if kind == 'BF16':  # the upper half of a float32
        return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return array


def write(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: Optional[Mapping[str, str]] = None
) -> None:
    """Write {name: array}, complete or not at all; the same arrays give the same bytes.

    Args:
        arrays: of the dtypes in NAMES.
    """
    # PyTorch's reader needs each number at a multiple of its size: the widest come first.
    by_width = dict(sorted(arrays.items(), key=lambda pair: -pair[1].itemsize))
    header: dict[str, Any] = {METADATA: dict(sorted(metadata.items()))} if metadata else {}
    place = 0
    for name, array in by_width.items():
        kind = NAMES[array.dtype.newbyteorder('<').str]
        span = [place, place + array.nbytes]
        header[name] = {'dtype': kind, 'shape': list(array.shape), 'data_offsets': span}
        place += array.nbytes
    text = json.dumps(header, separators=(',', ':'), ensure_ascii=False).encode()
    text += b' ' * (-len(text) % ALIGNMENT)
    with complete_file(path) as file:
        file.write(np.array(len(text), LENGTH).tobytes() + text)
        for array in by_width.values():
            file.write(np.ascontiguousarray(array, array.dtype.newbyteorder('<')).tobytes())
