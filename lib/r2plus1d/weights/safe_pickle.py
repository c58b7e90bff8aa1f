"""Reading pickles that come from elsewhere, without letting them run code.

A pickle is a program that may call anything it can name. Weight and feature files need arrays
and plain containers only, so those few names are admitted and every other one is refused.
"""

import codecs
import collections
import os
import pathlib
import pickle
import re
from collections.abc import Sequence
from typing import Any, BinaryIO, Callable, Literal, NoReturn, Union

import numpy as np

from r2plus1d.errors import InputError, printable
from r2plus1d.results.given_file import reading
from r2plus1d.weights.pickle_steps import require_bounded


def load(path: Union[str, pathlib.Path]) -> Any:
    """Return the object in the pickle at `path`, of Python 2 or 3, text decoded as latin1.

    Raises:
        InputError: not a pickle, cut short, or one that names anything but arrays and containers
            or costs far more to read than its size; no regular file.
        MemoryError: memory ran out; the text names the file.
    """
    with reading(path) as file:
        return load_opened(path, file)


def load_opened(path: Union[str, pathlib.Path], file: BinaryIO) -> Any:
    """Return what `load` does, of a file that is open already; `path` is for messages."""
    try:
        require_bounded(file)
        file.seek(0)
        return finished(ArrayUnpickler(file, encoding='latin1').load(), {})
    except pickle.UnpicklingError as error:
        fault = printable(error)
        if not fault.startswith('refused'):
            fault = f'not a readable pickle, or cut short ({fault}); a .mdl needs db_type minidb'
        raise InputError(f'{path}: {fault}') from None
    except OF_NO_PICKLE as error:
        fault = printable(error) or type(error).__name__
        raise InputError(f'{path} is not a readable pickle: {fault}') from None


def require_end(path: Union[str, pathlib.Path]) -> None:
    """Raise InputError if the file goes on after its pickle, one that `load` takes."""
    with reading(path) as file:
        rest = os.fstat(file.fileno()).st_size - require_bounded(file)
    if rest:
        raise InputError(f'{path}: {rest} bytes follow the end of the pickle')


# What pickle raises on bytes that are no pickle is not documented to be one type.
OF_NO_PICKLE = (
    EOFError, ValueError, TypeError, AttributeError, LookupError, ImportError, OverflowError,
    RecursionError, BufferError,
)  # fmt: skip


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes into old protocols as a call to codecs.encode; nothing else uses it."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'refused: codecs.encode to {encoding!r}')
    return codecs.encode(text, 'latin1')


def _ordered_dict(pairs: Sequence[Sequence[Any]] = ()) -> 'collections.OrderedDict[Any, Any]':
    """Python 2 writes the items into the call; keys of text are hashed in no time."""
    if not all(isinstance(key, (str, bytes)) for key, _ in pairs):
        raise pickle.UnpicklingError('refused: an OrderedDict with keys that are not text')
    return collections.OrderedDict(pairs)  # type: ignore[arg-type]


def _no_bytes() -> bytes:
    """And b'' as a call to bytes()."""
    return b''


# numpy's own dtype and ndarray let a pickle declare bytes to be Python objects, which crashes the
# process or worse. These stand in for them until all is read.
NUMBER_OR_TEXT = re.compile(r'[biufcSU]\d+')


class StandIn:
    """What a pickle builds in the place of an array; `value` is the array."""

    value: Any

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError('refused: the pickle sets attributes of an array')


class _Dtype(StandIn):
    def __init__(self, text: str, align: bool = False, copy: bool = False) -> None:
        if not NUMBER_OR_TEXT.fullmatch(text):
            raise pickle.UnpicklingError(f'refused: an array of {text!r}; weights are numbers')
        self.value = np.dtype(text)

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.value = self.value.newbyteorder(state[1])


class _Array(StandIn):
    def __init__(self, subtype: str, shape: tuple[int, ...], code: Union[str, bytes]) -> None:
        """Empty until its state arrives."""

    def __setstate__(self, state: Sequence[Any]) -> None:
        _, shape, dtype, is_fortran, content = state
        self.value = _from_buffer(content, dtype, shape, 'F' if is_fortran else 'C')


def _from_buffer(
    content: Union[str, bytes, bytearray],
    dtype: _Dtype,
    shape: tuple[int, ...],
    order: Literal['C', 'F'],
) -> np.ndarray:
    """An array of its bytes, as protocol 5 has numpy rebuild it."""
    content = content.encode('latin1') if isinstance(content, str) else content  # str: of Python 2
    array = np.frombuffer(content, dtype.value) if len(content) else np.empty(0, dtype.value)
    return array.reshape(shape, order=order).astype(dtype.value.newbyteorder('='), order=order)


def _scalar(dtype: _Dtype, content: Union[str, bytes]) -> np.generic:
    return _from_buffer(content, dtype, (), 'C')[()]


def finished(content: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    """Return `content` with arrays in the place of their StandIns.

    Args:
        known: {} at first, then what was done already.
    """
    if not isinstance(content, (StandIn, dict, list, tuple)):
        return content
    if id(content) not in known:  # a pickle may share one container or array a million times
        known[id(content)] = None, content
        done: Any
        if isinstance(content, StandIn):
            done = content.value
        elif isinstance(content, dict):
            done = type(content)((key, finished(value, known)) for key, value in content.items())
        else:
            done = type(content)(finished(value, known) for value in content)
        known[id(content)] = done, content
    return known[id(content)][0]


class Function:
    """Lets a pickle call one of the functions here, and do nothing else with it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        raise pickle.UnpicklingError('refused: the pickle sets attributes of a function')


ADMITTED: dict[tuple[str, str], Any] = {
    ('numpy', 'ndarray'): 'ndarray',  # an argument of _reconstruct; not to be called
    ('numpy', 'dtype'): _Dtype,
    ('_codecs', 'encode'): Function(_encode_latin1),
    ('__builtin__', 'bytes'): Function(_no_bytes),
    ('collections', 'OrderedDict'): Function(_ordered_dict),
}
for _package in ('numpy.core', 'numpy._core'):  # numpy 2 renamed it; both kinds of file exist
    ADMITTED[f'{_package}.multiarray', '_reconstruct'] = _Array
    ADMITTED[f'{_package}.multiarray', 'scalar'] = Function(_scalar)
    ADMITTED[f'{_package}.numeric', '_frombuffer'] = Function(_from_buffer)


class ArrayUnpickler(pickle.Unpickler):
    """Builds arrays of numbers and text, as StandIns, and plain containers."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(
                f'refused: the pickle names {module}.{name}; only arrays and containers are read'
            )
        return ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError(f'refused: the pickle refers to an outside object {pid!r}')
