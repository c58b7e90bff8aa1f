"""Weights in and out: pickles and minidbs of blobs, matched to a network completely or refused."""

import logging
import pathlib
import pickle
import re

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.results.complete import complete_file
from r2plus1d.weights import safe_pickle
from r2plus1d.weights.match import match_parameters

log = logging.getLogger(__name__)

DB_TYPES = ('pickle', 'minidb')
DEVICE_SCOPE = re.compile(r'^(gpu|cpu)_(\d+)/')
SOLVER_BLOB = re.compile(r'_momentum$|^training_iteration$')


def load_parameters(path, db_type, network):
    """Return the parameters of `network` from a file.

    Args:
        path: a `.pkl` of blobs by name (Python 2 or 3, flat or under `blobs`), or a minidb.
        db_type: one of DB_TYPES.

    Returns:
        {blob: float32 array} of exactly the network's parameters.

    Raises:
        InputError: unreadable, or blobs missing or of the wrong shape: all of them in one message.
    """
    if db_type not in DB_TYPES:
        raise InputError(f'db_type is {db_type}; known: {", ".join(DB_TYPES)}')
    return match_parameters(read_blobs(path, db_type), parameter_shapes(network), source=str(path))


def read_blobs(path, db_type):
    """Return {blob: array} of a weight file of either kind."""
    require_weight_file(path)
    return read_pickle(path) if db_type == 'pickle' else read_minidb(path)


def require_weight_file(path):
    """Raise InputError unless there is a file at `path`."""
    if pathlib.Path(path).is_dir():
        raise InputError(f'{path} is a folder, not a weight file')
    if not pathlib.Path(path).is_file():
        raise InputError(f'{path}: no such weight file')


def read_pickle(path):
    """Return {blob: array} of a pickle; entries that are not arrays of numbers are left out."""
    content = safe_pickle.load(path)
    if isinstance(content, dict) and isinstance(content.get('blobs'), dict):
        content = content['blobs']
    if not isinstance(content, dict):
        raise InputError(
            f'{path} holds a {type(content).__name__}; weights are a dict of arrays by blob name'
        )
    blobs = {
        str(k): np.asarray(v) for k, v in content.items() if isinstance(v, (np.ndarray, np.number))
    }
    blobs = {name: array for name, array in blobs.items() if array.dtype.kind in 'fiu'}
    if not blobs:
        raise InputError(f'{path} holds no arrays; weights are a dict of arrays by blob name')
    return blobs


def read_minidb(path):
    """Return {blob: array} of a minidb as Caffe2's predictor exports it, device scopes left out.

    Only tensors are read: the nets that such a file carries are not run.
    """
    from r2plus1d.weights.minidb import read_tensors

    blobs = {}
    for name, array in read_tensors(path):
        scope = DEVICE_SCOPE.match(name)
        if scope and int(scope.group(2)) > 0 and name[scope.end() :] in blobs:
            continue  # another replica of the same parameters
        blobs[DEVICE_SCOPE.sub('', name)] = array
    if not blobs:
        raise InputError(f'{path} holds no tensors; is it a minidb of a trained model?')
    return blobs


def without_solver(blobs):
    """Leave out what only training needs: momenta and the iteration."""
    return {name: array for name, array in blobs.items() if not SOLVER_BLOB.search(name)}


def halved(blobs):
    """Round every float to 16 bits."""
    return {n: a.astype(np.float16) if a.dtype.kind == 'f' else a for n, a in blobs.items()}


def save_pickle(path, blobs):
    """Write {blob: array} as a pickle that Python 2 and 3 read, complete or not at all."""
    with complete_file(path) as file:
        pickle.dump({'blobs': blobs}, file, protocol=2)
