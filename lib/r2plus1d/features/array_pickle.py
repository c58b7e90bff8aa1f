"""Pickles of arrays that are on disk, written block by block: memory does not grow with them.

The file is what pickle.dump(dict, file, protocol=2) gives, in other words: Python 2 and 3 read it
with their plain pickle.
"""

import pickle
import struct
from collections.abc import Iterable
from typing import Any, BinaryIO, Callable

import numpy as np

# name, dtype, shape, blocks
PickledArray = tuple[str, Any, tuple[int, ...], Callable[[], Iterable[np.ndarray]]]

# Python 2 reads the length of a text into a signed 32-bit number, and bytes are written as text
# in which those above 127 take two.
MAX_BYTES = 2**30 - 1


def write(file: BinaryIO, arrays: Iterable[PickledArray]) -> None:
    """Write a dict of arrays.

    Args:
        file: binary, open for writing.
        arrays: iterable of (name, dtype, shape, blocks), blocks being a function that gives an
            iterator over the array in pieces along its first dimension. It is called twice.
    """
    file.write(pickle.PROTO + b'\x02' + pickle.EMPTY_DICT)
    for name, dtype, shape, blocks in arrays:
        file.write(_dumps(name))
        _write_array(file, np.dtype(dtype), shape, blocks)
        file.write(pickle.SETITEM)
    file.write(pickle.STOP)


def _write_array(file, dtype, shape, blocks):
    """As ndarray.__reduce__: an empty array whose state is then set."""
    file.write(b'cnumpy.core.multiarray\n_reconstruct\n')
    file.write(_dumps((np.ndarray, (0,), b'b')) + pickle.REDUCE)
    version, in_fortran_order = 1, False
    file.write(pickle.MARK + _dumps(version) + _dumps(shape) + _dumps(dtype))
    file.write(_dumps(in_fortran_order))
    _write_bytes(file, blocks)
    file.write(pickle.TUPLE + pickle.BUILD)


def _write_bytes(file, blocks):
    """As Python 3 pickles bytes for Python 2: a call of codecs.encode on text in latin1."""
    length = sum(block.nbytes + int((_as_bytes(block) > 127).sum()) for block in blocks())
    file.write(b'c_codecs\nencode\n' + pickle.BINUNICODE + struct.pack('<I', length))
    for block in blocks():
        file.write(_as_bytes(block).tobytes().decode('latin1').encode('utf-8'))
    file.write(_dumps('latin1') + pickle.TUPLE2 + pickle.REDUCE)


def _as_bytes(block):
    return np.ascontiguousarray(block).reshape(-1).view(np.uint8)


def _dumps(value):
    """The part of a pickle that makes `value`."""
    header, end = len(pickle.PROTO) + 1, -len(pickle.STOP)
    return pickle.dumps(value, protocol=2)[header:end]
