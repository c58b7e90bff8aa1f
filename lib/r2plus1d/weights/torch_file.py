"""PyTorch's files of tensors (.pth, .pt), read and written as data, without PyTorch.

Since PyTorch 1.6 such a file is a zip: a pickle of what was saved, and the numbers of each storage
beside it. Before, it was a row of pickles with the numbers behind them. What a pickle names decides
what runs when it is read; here nothing runs, and only tensors and plain containers are read.
"""

import errno
import io
import json
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError, printable
from r2plus1d.results.complete import complete_file
from r2plus1d.results.given_file import reading
from r2plus1d.weights import torch_pickle
from r2plus1d.weights.card import parse_json
from r2plus1d.weights.safe_pickle import OF_NO_PICKLE

Path = Union[str, pathlib.Path]

ZIP = b'PK\x03\x04'
# The number with which PyTorch began its files before 1.6, as a pickle of its own
OLD = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
PROTOCOL = 1001  # the second pickle of an old file
COUNT = np.dtype('<i8')  # of the numbers of a storage, before them, in an old file
PICKLE, DATA, ORDER, CARD = 'data.pkl', 'data/', 'byteorder', 'extra/r2plus1d_card.json'
FOLDER = 'archive'
# What zipfile raises on bytes that are no zip is more than it documents.
OF_NO_ZIP = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    NotImplementedError,
    RuntimeError,
    struct.error,
)
DATE = (1980, 1, 1, 0, 0, 0)  # of the parts of a zip: the same weights give the same bytes


class TorchContent(NamedTuple):
    """What a file holds.

    Attributes:
        content: what was saved: containers, numbers, texts, and arrays in the place of tensors.
        card: what the file says of itself in this project's own part, as JSON has it, or None.
    """

    content: Any
    card: Optional[object]


def is_torch_file(path: Path) -> bool:
    """Whether the file at `path` begins as PyTorch's do."""
    with reading(path) as file:
        begin = file.read(len(OLD))
    return begin == OLD or begin.startswith(ZIP)


def read(path: Path) -> TorchContent:
    """Read a file of tensors; float16 and bfloat16 become float32 only where numpy has no such.

    Raises:
        InputError: no such file, damaged, or one that names anything but tensors and containers
            or costs far more to read than its size; the message names the file.
    """
    with reading(path) as file:
        return read_opened(path, file)


def read_opened(path: Path, file: BinaryIO) -> TorchContent:
    """Return what `read` does, of a file that is open already; `path` is for messages."""
    try:
        is_zip = file.read(len(ZIP)) == ZIP
        file.seek(0)
        return _read_zip(file) if is_zip else TorchContent(_read_old(file), None)
    except (pickle.UnpicklingError, *OF_NO_ZIP, *OF_NO_PICKLE) as error:
        raise InputError(f'{path}: {_fault(error)}') from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a place before the file's beginning
            raise
        raise InputError(f'{path}: {_fault(error)}') from None


def _fault(error: Exception) -> str:
    fault = printable(error) or type(error).__name__
    return fault if fault.startswith('refused') else f'a damaged file of PyTorch ({fault})'


def _read_zip(file: BinaryIO) -> TorchContent:
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
            raise pickle.UnpicklingError(
                'refused: its parts are compressed, which PyTorch never does'
            )
        if sum(part.file_size for part in parts) > size:
            raise pickle.UnpicklingError('refused: its parts overlap')
        names = [part.filename for part in parts]
        folders = [name[: -len(PICKLE)] for name in names if name.endswith(f'/{PICKLE}')]
        if len(folders) != 1 or len(set(names)) < len(names):
            raise pickle.UnpicklingError(f'no zip of tensors: {len(folders)} files {PICKLE}')
        (folder,) = folders
        order: torch_pickle.Order = (
            '>' if folder + ORDER in names and archive.read(folder + ORDER) == b'big' else '<'
        )
        loaded = torch_pickle.Loaded(io.BytesIO(archive.read(folder + PICKLE)))
        for key, storage in loaded.storages.items():
            storage.fill(archive.read(f'{folder}{DATA}{key}'), order)
        text = archive.read(folder + CARD) if folder + CARD in names else None
        return TorchContent(loaded.finished(size), None if text is None else _card(text))


def _card(text: bytes) -> object:
    try:
        return parse_json(text.decode())
    except ValueError:
        raise pickle.UnpicklingError('refused: its card is not JSON, or too long') from None


def _read_old(file: BinaryIO) -> Any:
    size = file.seek(0, io.SEEK_END)
    file.seek(len(OLD))
    protocol, system = (torch_pickle.Loaded(file).finished(size) for _ in range(2))
    if protocol != PROTOCOL or not isinstance(system, dict):
        raise pickle.UnpicklingError(f'protocol {protocol}, not {PROTOCOL}')
    order: torch_pickle.Order = '<' if system.get('little_endian', True) else '>'
    loaded = torch_pickle.Loaded(file)
    keys = torch_pickle.Loaded(file).finished(size)
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(loaded.storages):
        raise pickle.UnpicklingError('its storages are not those of its tensors')
    for key in keys:
        storage = loaded.storages[str(key)]
        (count,) = np.frombuffer(file.read(COUNT.itemsize), COUNT.newbyteorder(order))
        if count != storage.count:
            raise pickle.UnpicklingError(f'storage {key} has {count} numbers, not {storage.count}')
        length = storage.size
        if length > size - file.tell():
            raise pickle.UnpicklingError(f'truncated: storage {key} has {length} bytes')
        storage.fill(file.read(length), order)
    return loaded.finished(size)


def write(
    path: Path, arrays: Mapping[str, np.ndarray], card: Optional[Mapping[str, str]] = None
) -> None:
    """Write {name: array} as PyTorch writes a state dict, complete or not at all.

    `torch.load(path, weights_only=True)` gives {name: tensor}. The same arrays give the same bytes.
    The card is a part of its own, which PyTorch passes over.

    Args:
        arrays: of the dtypes in torch_pickle.STORAGES.
    """
    with complete_file(path) as file, zipfile.ZipFile(file, 'w') as archive:
        for name, content in _parts(arrays, card):
            archive.writestr(zipfile.ZipInfo(f'{FOLDER}/{name}', DATE), content)


def _parts(
    arrays: Mapping[str, np.ndarray], card: Optional[Mapping[str, str]]
) -> Iterable[tuple[str, Union[bytes, memoryview]]]:
    yield PICKLE, torch_pickle.dump(arrays)
    yield ORDER, b'little'
    for number, array in enumerate(arrays.values()):
        plain = np.ascontiguousarray(array, array.dtype.newbyteorder('<'))
        yield f'{DATA}{number}', plain.tobytes()
    yield 'version', b'3\n'
    if card:
        yield CARD, json.dumps(dict(card), sort_keys=True).encode()
