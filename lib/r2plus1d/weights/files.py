"""Weights in and out: pickles and minidbs of blobs, read as data."""

import io
import json
import pathlib
import pickle
import re
from collections.abc import Mapping
from typing import BinaryIO, Callable, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_file, complete_path
from r2plus1d.results.digest import DigestReader
from r2plus1d.results.given_file import kind_of, missing_target, naming_file, reading
from r2plus1d.weights import minidb, safe_pickle, state_dict, tensor_files
from r2plus1d.weights.card import CARD, parse_json
from r2plus1d.weights.match import is_of_solver

Blobs = dict[str, np.ndarray]
Card = dict[str, str]
Path = Union[str, pathlib.Path]

DB_TYPES = ('pickle', 'minidb')
NESTED = ('blobs', 'state_dict')  # where a pickle may keep its arrays
PREFIX = re.compile(r'^(?:(?:gpu|cpu)_(\d{1,4})/|module\.)')


class WeightFile(NamedTuple):
    """What a weight file holds.

    Attributes:
        blobs: {blob: array}.
        card: what the file says of itself, {key: text}, or None.
        sha256: of the file, in hexadecimal.
    """

    blobs: Blobs
    card: Optional[Card]
    sha256: str


def read_weights(path: Path, db_type: Optional[str] = None) -> WeightFile:
    """Read a weight file, once."""
    if db_type not in (*DB_TYPES, None):
        raise InputError(f'db_type is {db_type}; known: {", ".join(DB_TYPES)}')
    require_weight_file(path)
    read = _reader_of(path, db_type)
    with DigestReader(path) as raw, io.BufferedReader(raw) as file, naming_file(path):
        arrays, said = read(path, file)
        blobs, card = state_dict.with_blob_names(arrays, _card_of(said, path), path)
        return WeightFile(blobs, card, raw.sha256())


def _reader_of(path: Path, db_type: Optional[str]) -> Callable[..., tuple[Blobs, object]]:
    if db_type is None and tensor_files.is_known(path):
        return _of_tensors
    if db_type is not None and tensor_files.is_known(path):
        raise InputError(
            f'{path} is a file of PyTorch or safetensors, and db_type is {db_type}: leave it out'
        )
    is_minidb = db_type == 'minidb' or db_type is None and minidb.is_minidb(pathlib.Path(path))
    return _of_minidb if is_minidb else _of_pickle


def _of_tensors(path: Path, file: BinaryIO) -> tuple[Blobs, object]:
    saved, card = tensor_files.read(path, file)
    return _arrays_of(saved, path), card


def _of_minidb(path: Path, file: BinaryIO) -> tuple[Blobs, object]:
    tensors, texts = minidb.read(path, file)
    blobs = _without_prefixes(tensors)
    if not blobs:
        raise InputError(f'{path} holds no tensors; is it a minidb of a trained model?')
    return blobs, _parsed(texts.get(CARD))


def _of_pickle(path: Path, file: BinaryIO) -> tuple[Blobs, object]:
    content = safe_pickle.load_opened(path, file)
    card = content.get(CARD) if isinstance(content, dict) else None
    return _arrays_of(content, path), card


def _parsed(text: Optional[str]) -> object:
    try:
        return None if text is None else parse_json(text)
    except ValueError:
        return text


def _card_of(card: object, path: Path) -> Optional[Card]:
    if card is None:
        return None
    if not isinstance(card, dict) or not all(isinstance(t, str) for p in card.items() for t in p):
        raise InputError(f'{path}: its {CARD} is not texts by name')
    return card


def require_weight_file(path: Path) -> None:
    """Raise InputError unless there is a regular file at `path`."""
    try:
        kind = kind_of(pathlib.Path(path).stat().st_mode)
    except (OSError, ValueError):
        target = missing_target(path)
        why = f': a link to a missing file, {target}' if target else ''
        raise InputError(f'{path}: no such weight file{why}') from None
    if kind:
        raise InputError(f'{path} is {kind}, not a weight file')


def _arrays_of(content: object, path: Path) -> Blobs:
    for key in NESTED:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise InputError(
            f'{path} holds a {type(content).__name__}; weights are a dict of arrays by blob name'
        )
    arrays = {
        str(k): np.asarray(v) for k, v in content.items() if isinstance(v, (np.ndarray, np.number))
    }
    blobs = _without_prefixes(
        [(name, array) for name, array in arrays.items() if array.dtype.kind in 'fiu']
    )
    if not blobs:
        raise InputError(f'{path} holds no arrays; weights are a dict of arrays by blob name')
    return blobs


def read_minidb(path: Path) -> Blobs:
    """Return {blob: array} of a minidb as Caffe2's predictor exports it, device scopes left out.

    Only tensors are read: the nets that such a file carries are not run.
    """
    with reading(path) as file:
        return _of_minidb(path, file)[0]


def _without_prefixes(named: list[tuple[str, np.ndarray]]) -> Blobs:
    """Take off the scopes of devices, and what PyTorch's DataParallel puts before names."""
    blobs: Blobs = {}
    for name, array in named:
        prefix = PREFIX.match(name)
        bare = PREFIX.sub('', name)
        if prefix and int(prefix.group(1) or 0) > 0 and bare in blobs:
            continue  # another replica of the same parameters
        blobs[bare] = array
    return blobs


def without_solver(blobs: Mapping[str, np.ndarray]) -> Blobs:
    """Leave out what only training needs: momenta and the iteration."""
    return {name: array for name, array in blobs.items() if not is_of_solver(name)}


def halved(blobs: Mapping[str, np.ndarray]) -> Blobs:
    """Round every float to 16 bits.

    Raises:
        InputError: a number is too large for that.
    """
    return {n: _half(n, a) if a.dtype.kind == 'f' else a for n, a in blobs.items()}


def _half(name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over='ignore'):
        half = array.astype(np.float16)
    if not np.array_equal(np.isinf(half), np.isinf(array)):
        most = np.finfo(np.float16).max
        raise InputError(f'{name} has numbers beyond {most:g}, which 16 bits do not hold')
    return half


def save_pickle(
    path: Path, blobs: Mapping[str, np.ndarray], card: Optional[Mapping[str, str]] = None
) -> None:
    """Write {blob: array} as a pickle that Python 2 and 3 read, complete or not at all.

    The card lies beside `blobs`, where older readers do not look.
    """
    content = {'blobs': dict(blobs), **({CARD: dict(card)} if card else {})}
    with complete_file(path) as file:
        pickle.dump(content, file, protocol=2)


def save_minidb(
    path: Path, blobs: Mapping[str, np.ndarray], card: Optional[Mapping[str, str]] = None
) -> None:
    """Write {blob: array} as a minidb, complete or not at all."""
    known = {n: a.astype(np.float32) if a.dtype == np.float16 else a for n, a in blobs.items()}
    with complete_path(path) as partial:
        minidb.write(partial, known, {CARD: json.dumps(dict(card))} if card else {})
