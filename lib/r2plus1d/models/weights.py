"""Weights in and out: pickles and minidbs of blobs, matched to a network completely or refused."""

import logging
import pathlib
import pickle
import re

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.models import unpickle
from r2plus1d.models.summary import parameter_shapes

log = logging.getLogger(__name__)

DB_TYPES = ('pickle', 'minidb')
DEVICE_SCOPE = re.compile(r'^(gpu|cpu)_(\d+)/')
# Names under which older files keep the multi-label head.
OLD_LOGIT = re.compile(r'^pred_logit_L\d+_(w|b)$')
SOLVER_BLOB = re.compile(r'_momentum$|^training_iteration$')
LAST_LAYER = re.compile(r'last_out_L(\d+)_w')
LISTED_BLOBS = 8


def load(path, db_type, network):
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
    return match(read_file(path, db_type), parameter_shapes(network), source=str(path))


def read_file(path, db_type):
    """Return {blob: array} of a weight file of either kind."""
    require_file(path)
    return read_pickle(path) if db_type == 'pickle' else read_minidb(path)


def require_file(path):
    """Raise InputError unless there is a file at `path`."""
    if pathlib.Path(path).is_dir():
        raise InputError(f'{path} is a folder, not a weight file')
    if not pathlib.Path(path).is_file():
        raise InputError(f'{path}: no such weight file')


def read_pickle(path):
    """Return {blob: array} of a pickle; entries that are not arrays of numbers are left out."""
    content = unpickle.load(path)
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
    from r2plus1d.models.minidb import read_tensors

    blobs = {}
    for name, array in read_tensors(path):
        scope = DEVICE_SCOPE.match(name)
        if scope and int(scope.group(2)) > 0 and name[scope.end() :] in blobs:
            continue  # another replica of the same parameters
        blobs[DEVICE_SCOPE.sub('', name)] = array
    if not blobs:
        raise InputError(f'{path} holds no tensors; is it a minidb of a trained model?')
    return blobs


def match(blobs, shapes, *, source):
    """Fill `shapes` from `blobs`: everything or an error.

    Args:
        blobs: {name: array}, possibly more than needed (momentum, learning rate).
        shapes: {name: shape} to be filled.
        source: the file's name, for messages.

    Returns:
        {name: C-contiguous float32 array}, one for each entry of `shapes`, in its order.
    """
    blobs = renamed(blobs)
    missing = [name for name in shapes if name not in blobs]
    fitted = {name: fit(blobs[name], shape) for name, shape in shapes.items() if name in blobs}
    misshapen = [
        f'{name} is {_dims(blobs[name].shape)}, not {_dims(shapes[name])}'
        for name, array in fitted.items()
        if array is None
    ]
    unused = sorted(set(blobs) - set(shapes))
    if missing or misshapen:
        report = _report({'missing': missing, 'misshapen': misshapen, 'not in the network': unused})
        raise InputError(f'{source} does not hold this network: {report}{_hint(unused)}')
    broken = [name for name, array in fitted.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(f'{source}: NaN or infinite values in {_listed(broken)}')
    if unused:
        log.warning('%s: %d blobs are not used: %s', source, len(unused), _listed(unused))
    return fitted


def random_parameters(network, seed):
    """Return seeded random parameters of `network`, {blob: array}, to try things without weights.

    Convolution and FC weights are He-normal; biases and running means 0, scales and variances 1.
    """
    parameters = {}
    for name, shape in parameter_shapes(network).items():
        rng = np.random.default_rng([seed, *name.encode()])
        if name.endswith(('_s', '_riv')) or name == 'pred_logit_w':
            parameters[name] = np.ones(shape, np.float32)
        elif name.endswith(('_b', '_rm')):
            parameters[name] = np.zeros(shape, np.float32)
        else:
            scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
            parameters[name] = rng.standard_normal(shape, np.float32) * scale
    return parameters


def without_solver(blobs):
    """Leave out what only training needs: momenta and the iteration."""
    return {name: array for name, array in blobs.items() if not SOLVER_BLOB.search(name)}


def halved(blobs):
    """Round every float to 16 bits."""
    return {n: a.astype(np.float16) if a.dtype.kind == 'f' else a for n, a in blobs.items()}


def save_pickle(path, blobs):
    """Write {blob: array} as a pickle that Python 2 and 3 read, complete or not at all."""
    path = pathlib.Path(path)
    partial = path.with_name(f'{path.name}.partial')
    with partial.open('wb') as file:
        pickle.dump({'blobs': blobs}, file, protocol=2)
    partial.replace(path)


def renamed(blobs):
    """Give the blobs of an old multi-label head their present names."""
    return {OLD_LOGIT.sub(r'pred_logit_\1', name): array for name, array in blobs.items()}


def fit(array, shape):
    """Return `array` as float32 of `shape`, or None if it does not fit.

    Two changes of shape are part of the format: an FC weight (o, i) fills a 1 x 1 x 1 convolution
    (o, i, 1, 1, 1), and a 2D kernel (o, i, d, d) is inflated to (o, i, t, d, d): repeated, over t.
    """
    shape = tuple(shape)
    array = np.asarray(array, dtype=np.float32)
    if array.shape == shape:
        return np.ascontiguousarray(array)
    if array.ndim == 2 and shape == (*array.shape, 1, 1, 1):
        return np.ascontiguousarray(array.reshape(shape))
    if array.ndim == 4 and len(shape) == 5 and array.shape == shape[:2] + shape[3:]:
        inflated = np.repeat(array[:, :, None], shape[2], axis=2) / np.float32(shape[2])
        return np.ascontiguousarray(inflated, dtype=np.float32)
    return None


def _hint(unused):
    """The likeliest reason: another number of labels."""
    labels = [found.group(1) for found in map(LAST_LAYER.fullmatch, unused) if found]
    return f'. Its labels are {labels[0]}: --num_labels={labels[0]}?' if labels else ''


def _report(findings):
    return '; '.join(
        f'{what} ({len(names)}): {_listed(names)}' for what, names in findings.items() if names
    )


def _listed(names):
    more = len(names) - LISTED_BLOBS
    return ', '.join(names[:LISTED_BLOBS]) + (f' and {more} more' if more > 0 else '')


def _dims(shape):
    return 'x'.join(map(str, shape)) or 'a single number'
