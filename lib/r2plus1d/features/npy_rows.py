"""An .npy file whose rows are written and read one by one, in any order."""

import io
import os
import pathlib
from typing import NamedTuple

import numpy as np


class Column(NamedTuple):
    """One array: the shape of a row, and its dtype."""

    shape: tuple[int, ...]
    dtype: str

    @property
    def row_bytes(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize


class NpyFile:
    """An .npy file of which any rows can be written and read; none of it is held in memory.

    Args:
        path: opened, or made with rows of zeros.
        column: Column.
        num_rows: rows that it has.
    """

    def __init__(self, path: pathlib.Path, column: Column, num_rows: int) -> None:
        self._column = column
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {
                'descr': np.lib.format.dtype_to_descr(np.dtype(column.dtype)),
                'fortran_order': False,
                'shape': (num_rows, *column.shape),
            },
        )
        self._begin = len(header.getvalue())
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        os.ftruncate(self._descriptor, self._begin + num_rows * column.row_bytes)
        os.pwrite(self._descriptor, header.getvalue(), 0)

    def write(self, rows: np.ndarray, place: int) -> None:
        """Put `rows` at row number `place`."""
        assert rows.shape[1:] == tuple(self._column.shape), (rows.shape, self._column.shape)
        data = memoryview(np.ascontiguousarray(rows, self._column.dtype).tobytes())
        offset = self._begin + place * self._column.row_bytes
        while data:
            written = os.pwrite(self._descriptor, data, offset)
            data, offset = data[written:], offset + written

    def read(self, begin: int, end: int) -> np.ndarray:
        """The rows from number `begin` to before `end`."""
        size = self._column.row_bytes
        data = os.pread(self._descriptor, (end - begin) * size, self._begin + begin * size)
        return np.frombuffer(data, self._column.dtype).reshape(-1, *self._column.shape)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)
