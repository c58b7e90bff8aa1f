"""The pickle in a file of PyTorch's: tensors that refer to storages beside it.

A tensor is a view of a storage: an offset, a size and strides. Each of them is compared with the
storage, so that no file can show memory that is not its own or stretch a few numbers to gigabytes.
"""

import io
import math
import pickle
import struct
from collections.abc import Mapping
from typing import Any, BinaryIO, Literal

import numpy as np

from r2plus1d.weights.pickle_steps import MOST_TIMES, ROOM, require_bounded
from r2plus1d.weights.safe_pickle import ArrayUnpickler, Function, StandIn, finished

# PyTorch's class of a storage -> the dtype of its numbers; bfloat16 is read as 16 bits first.
STORAGES = {
    'FloatStorage': '<f4',
    'DoubleStorage': '<f8',
    'HalfStorage': '<f2',
    'BFloat16Storage': 'bfloat16',
    'LongStorage': '<i8',
    'IntStorage': '<i4',
    'ShortStorage': '<i2',
    'CharStorage': '|i1',
    'ByteStorage': '|u1',
    'BoolStorage': '|b1',
}
NAMES = {dtype: name for name, dtype in STORAGES.items()}
MOST_DIMS = 32
Order = Literal['<', '>']


class _Kind:
    """A class of storages, as a pickle names it."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('refused: the pickle sets attributes of a storage')


class Storage:
    """The numbers of one or several tensors.

    Attributes:
        count: how many there are.
        size: how many bytes they take in the file.
    """

    def __init__(self, dtype: str, count: int) -> None:
        if not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError(f'a storage of {count!r} numbers')
        self._dtype, self.count = dtype, count
        self.size = count * (2 if dtype == 'bfloat16' else np.dtype(dtype).itemsize)
        self.numbers = np.empty(0, np.float32)

    def fill(self, raw: bytes, order: Order) -> None:
        """Take the numbers of `raw`, whose byte order is `<` or `>`."""
        if len(raw) != self.size:
            raise pickle.UnpicklingError(f'a storage of {len(raw)} bytes, not {self.size}')
        if self._dtype == 'bfloat16':  # the upper half of a float32
            halves = np.frombuffer(raw, np.dtype('u2').newbyteorder(order)).astype(np.uint32)
            self.numbers = (halves << np.uint32(16)).view(np.float32)
        else:
            dtype = np.dtype(self._dtype)
            self.numbers = np.frombuffer(raw, dtype.newbyteorder(order)).astype(dtype, copy=False)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('refused: the pickle sets attributes of a storage')


class _Tensor(StandIn):
    """A view of a Storage, which is filled after the pickle is read."""

    def __init__(self, storage: Any, offset: Any, size: Any, stride: Any) -> None:
        numbers = (offset, *size, *stride)
        if not isinstance(storage, Storage) or not all(isinstance(n, int) for n in numbers):
            raise pickle.UnpicklingError('a tensor that is no view of a storage')
        if len(size) != len(stride) or len(size) > MOST_DIMS or min(numbers) < 0:
            raise pickle.UnpicklingError(f'a tensor of size {size} and strides {stride}')
        self._storage, self._offset = storage, offset
        self._size, self._stride = tuple(size), tuple(stride)
        self.count = math.prod(self._size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride))
        if self.count and last >= storage.count or self.count > max(1, storage.count):
            raise pickle.UnpicklingError(
                f'a tensor of size {self._size} in a storage of {storage.count} numbers'
            )

    @property
    def value(self) -> np.ndarray:  # type: ignore[override]
        numbers = self._storage.numbers
        if not self.count:
            return np.empty(self._size, numbers.dtype)
        steps = [step * numbers.itemsize for step in self._stride]
        view = np.lib.stride_tricks.as_strided(numbers[self._offset :], self._size, steps)
        return np.ascontiguousarray(view).reshape(self._size)


class Loaded:
    """A pickle of a file, read from where the file is.

    Attributes:
        storages: {key: Storage} of its tensors, to be filled.

    Raises:
        pickle.UnpicklingError: no pickle, cut short, refused.
    """

    def __init__(self, file: BinaryIO) -> None:
        begin = file.tell()
        end = require_bounded(file)
        file.seek(begin)
        unpickler = _TensorUnpickler(io.BytesIO(file.read(end - begin)))
        self._content = unpickler.load()
        self.storages, self._tensors = unpickler.storages, unpickler.tensors

    def finished(self, size: int) -> Any:
        """Return the content with arrays in the place of tensors.

        Args:
            size: of the file, in bytes, which bounds the memory of the tensors.
        """
        if sum(8 * tensor.count for tensor in self._tensors) > MOST_TIMES * size + ROOM:
            raise pickle.UnpicklingError('refused: its tensors are far more than the file holds')
        return finished(self._content, {})


class _TensorUnpickler(ArrayUnpickler):
    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, encoding='latin1')
        self.storages: dict[str, Storage] = {}
        self.tensors: list[_Tensor] = []

    def find_class(self, module: str, name: str) -> Any:
        if module == 'torch' and name in STORAGES:
            return _Kind(STORAGES[name])
        if (module, name) in (
            ('torch._utils', '_rebuild_tensor'),
            ('torch._utils', '_rebuild_tensor_v2'),
        ):
            return Function(self._tensor)
        if (module, name) == ('torch._utils', '_rebuild_parameter'):
            return Function(_parameter)
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        if (
            not isinstance(pid, tuple)
            or len(pid) not in (5, 6)
            or pid[0] not in ('storage', b'storage')
        ):
            raise pickle.UnpicklingError(f'refused: the pickle refers to an outside object {pid!r}')
        _, kind, key, _, count, *view = pid
        if not isinstance(kind, _Kind) or view not in ([], [None]):
            raise pickle.UnpicklingError('refused: a storage that is a part of another one')
        key = key.decode('latin1') if isinstance(key, bytes) else str(key)
        known = self.storages.setdefault(key, Storage(kind.dtype, count))
        if known.count != count:
            raise pickle.UnpicklingError(f'storage {key} has {known.count} and {count} numbers')
        return known

    def _tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> _Tensor:
        self.tensors.append(_Tensor(storage, offset, size, stride))
        return self.tensors[-1]


def _parameter(data: Any, *_: Any) -> Any:
    return data


def dump(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return the pickle of {name: tensor}, whose storages are numbered in the order of `arrays`.

    It is what Python's pickle would write of PyTorch's tensors, with protocol 2 and no memo.
    """
    out = [b'\x80\x02}(']
    for number, (name, array) in enumerate(arrays.items()):
        kind = NAMES[array.dtype.newbyteorder('<').str]
        strides = np.array(array.shape[::-1] or (1,), np.int64).cumprod()[::-1]
        stride = (*map(int, strides[1:]), 1) if array.ndim else ()
        out += [_text(name), b'ctorch._utils\n_rebuild_tensor_v2\n(']
        out += [b'(', _text('storage'), f'ctorch\n{kind}\n'.encode(), _text(str(number))]
        out += [_text('cpu'), _integer(array.size), b'tQ', _integer(0)]
        out += [
            _integers(array.shape),
            _integers(stride),
            b'\x89',
            b'ccollections\nOrderedDict\n)R',
            b'tR',
        ]
    return b''.join([*out, b'u.'])


def _text(value: str) -> bytes:
    raw = value.encode()
    return b'X' + struct.pack('<I', len(raw)) + raw


def _integer(value: int) -> bytes:
    if value < 1 << 31:
        return b'J' + struct.pack('<i', value)
    return b'\x8a\x08' + struct.pack('<q', value)


def _integers(values: tuple[int, ...]) -> bytes:
    return b'(' + b''.join(map(_integer, values)) + b't'
