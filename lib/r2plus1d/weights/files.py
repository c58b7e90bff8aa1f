"""Weights in and out: pickles and minidbs of blobs, read as data."""

import json
import pathlib
import pickle
import re
from collections.abc import Mapping
from typing import Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.network import Network
from r2plus1d.results.complete import complete_file, complete_path
from r2plus1d.weights import minidb, safe_pickle
from r2plus1d.weights.card import CARD
from r2plus1d.weights.match import match_parameters

Blobs = dict[str, np.ndarray]
Card = dict[str, str]
Path = Union[str, pathlib.Path]

DB_TYPES = ('pickle', 'minidb')
NESTED = ('blobs', 'state_dict')  # where a pickle may keep its arrays
PREFIX = re.compile(r'^(?:(?:gpu|cpu)_(\d+)/|module\.)')
ITERATION = 'training_iteration'  # blob of the number of iterations done, of a checkpoint
SOLVER_BLOB = re.compile(r'_momentum$|^training_iteration$')


def load_parameters(path: Path, db_type: Optional[str], network: Network) -> Blobs:
    """Return the parameters of `network` from a file.

    Args:
        path: a `.pkl` of blobs by name (Python 2 or 3, flat or under `blobs`), or a minidb.
        db_type: one of DB_TYPES; None goes by what the file begins with.

    Returns:
        {blob: float32 array} of exactly the network's parameters.

    Raises:
        InputError: unreadable, or blobs missing or of the wrong shape: all of them in one message.
    """
    return match_parameters(read_blobs(path, db_type), parameter_shapes(network), source=str(path))


def read_blobs(path: Path, db_type: Optional[str] = None) -> Blobs:
    """Return {blob: array} of a weight file of either kind."""
    return read_weights(path, db_type)[0]


def read_weights(path: Path, db_type: Optional[str] = None) -> tuple[Blobs, Optional[Card]]:
    """Return ({blob: array}, what the file says of itself or None) of a weight file."""
    if db_type not in (*DB_TYPES, None):
        raise InputError(f'db_type is {db_type}; known: {", ".join(DB_TYPES)}')
    require_weight_file(path)
    if db_type == 'minidb' or db_type is None and minidb.is_minidb(pathlib.Path(path)):
        return read_minidb(path), _card_of(_parsed(minidb.read_text(path, CARD)), path)
    content = safe_pickle.load(path)
    card = content.get(CARD) if isinstance(content, dict) else None
    return _arrays_of(content, path), _card_of(card, path)


def _parsed(text: Optional[str]) -> object:
    try:
        return None if text is None else json.loads(text)
    except (ValueError, RecursionError):
        return text


def _card_of(card: object, path: Path) -> Optional[Card]:
    if card is None:
        return None
    if not isinstance(card, dict) or not all(isinstance(t, str) for p in card.items() for t in p):
        raise InputError(f'{path}: its {CARD} is not texts by name')
    return card


def require_weight_file(path: Path) -> None:
    """Raise InputError unless there is a file at `path`."""
    if pathlib.Path(path).is_dir():
        raise InputError(f'{path} is a folder, not a weight file')
    if not pathlib.Path(path).is_file():
        raise InputError(f'{path}: no such weight file')


def read_pickle(path: Path) -> Blobs:
    """Return {blob: array} of a pickle; entries that are not arrays of numbers are left out."""
    return _arrays_of(safe_pickle.load(path), path)


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
    blobs = _without_prefixes(minidb.read_tensors(path))
    if not blobs:
        raise InputError(f'{path} holds no tensors; is it a minidb of a trained model?')
    return blobs


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
    return {name: array for name, array in blobs.items() if not SOLVER_BLOB.search(name)}


def halved(blobs: Mapping[str, np.ndarray]) -> Blobs:
    """Round every float to 16 bits."""
    return {n: a.astype(np.float16) if a.dtype.kind == 'f' else a for n, a in blobs.items()}


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
