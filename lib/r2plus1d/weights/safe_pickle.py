"""Reading pickles that come from elsewhere, without letting them run code.

A pickle is a program that may call anything it can name. Weight and feature files need arrays
and plain containers only, so those few names are admitted and every other one is refused.
"""

import codecs
import collections
import pathlib
import pickle
import re
from collections.abc import Sequence
from typing import Any, Callable, Literal, NoReturn, Union

import numpy as np

from r2plus1d.errors import InputError


def load(path: Union[str, pathlib.Path]) -> Any:
    """Return the object in the pickle at `path`, of Python 2 or 3, text decoded as latin1.

    Raises:
        InputError: not a pickle, cut short, or one that names anything but arrays and containers.
    """
    try:
        with pathlib.Path(path).open('rb') as file:
            return _finished(_ArrayUnpickler(file, encoding='latin1').load(), {})
    except pickle.UnpicklingError as error:
        fault = _printable(error)
        if not fault.startswith('refused'):
            fault = f'not a readable pickle, or cut short ({fault}); a .mdl needs db_type minidb'
        raise InputError(f'{path}: {fault}') from None
    except _OF_NO_PICKLE as error:
        fault = _printable(error) or type(error).__name__
        raise InputError(f'{path} is not a readable pickle: {fault}') from None


# What pickle raises on bytes that are no pickle is not documented to be one type.
_OF_NO_PICKLE = (
    EOFError, ValueError, TypeError, AttributeError, LookupError, ImportError, MemoryError,
    OverflowError, RecursionError,
)  # fmt: skip


def _printable(error: Exception) -> str:
    """The error's text, with parts of the file in it, as one line that leaves a terminal alone."""
    return ''.join(c if c.isprintable() else ' ' for c in str(error)).strip()


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Python 3 writes bytes into old protocols as a call to codecs.encode; nothing else uses it."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'refused: codecs.encode to {encoding!r}')
    return codecs.encode(text, 'latin1')


def _no_bytes() -> bytes:
    """And b'' as a call to bytes()."""
    return b''


# numpy's own dtype and ndarray let a pickle declare bytes to be Python objects, which crashes the
# process or worse. These stand in for them until all is read.
NUMBER_OR_TEXT = re.compile(r'[biufcSU]\d+')


class _Dtype:
    def __init__(self, text: str, align: bool = False, copy: bool = False) -> None:
        if not NUMBER_OR_TEXT.fullmatch(text):
            raise pickle.UnpicklingError(f'refused: an array of {text!r}; weights are numbers')
        self.value = np.dtype(text)

    def __setstate__(self, state: Sequence[Any]) -> None:
        self.value = self.value.newbyteorder(state[1])


class _Array:
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


def _finished(content: Any, known: dict[int, tuple[Any, Any]]) -> Any:
    """`content` with arrays in the place of their stand-ins; `known` has what was done already."""
    if isinstance(content, (_Dtype, _Array)):
        return content.value
    if not isinstance(content, (dict, list, tuple)):
        return content
    if id(content) not in known:  # a pickle may share one container a million times
        known[id(content)] = None, content
        done: Any
        if isinstance(content, dict):
            done = type(content)((key, _finished(value, known)) for key, value in content.items())
        else:
            done = type(content)(_finished(value, known) for value in content)
        known[id(content)] = done, content
    return known[id(content)][0]


class _Function:
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
    ('_codecs', 'encode'): _Function(_encode_latin1),
    ('__builtin__', 'bytes'): _Function(_no_bytes),
    ('collections', 'OrderedDict'): collections.OrderedDict,
}
for _package in ('numpy.core', 'numpy._core'):  # numpy 2 renamed it; both kinds of file exist
    ADMITTED[f'{_package}.multiarray', '_reconstruct'] = _Array
    ADMITTED[f'{_package}.multiarray', 'scalar'] = _Function(_scalar)
    ADMITTED[f'{_package}.numeric', '_frombuffer'] = _Function(_from_buffer)


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ADMITTED:
            raise pickle.UnpicklingError(
                f'refused: the pickle names {module}.{name}; only arrays and containers are read'
            )
        return ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError(f'refused: the pickle refers to an outside object {pid!r}')
