"""Feature files: for each clip its class probabilities, its label and its video id.

One is a pickle of a dict from blob name to array, of Python 2 as the original wrote it or of
Python 3, or a folder with an .npy file for each blob. Row i of every array is the same clip.
"""

import dataclasses
import logging
import pathlib
import re
from collections.abc import Iterator
from tokenize import TokenError
from typing import Union

import numpy as np
from numpy.lib.format import open_memmap

from r2plus1d.errors import InputError, printable
from r2plus1d.results.given_file import require_given
from r2plus1d.weights import safe_pickle

log = logging.getLogger(__name__)

ARRAYS = ('softmax', 'label', 'video_id')
BLOCK = 1 << 22  # probabilities looked at together: 32 MB as float64
LONGEST_FAULT = 200  # in a message; the text of a header may be part of it
# The header is read as Python, so that damage in it raises what damaged Python does.
OF_NO_ARRAY = (
    ValueError, EOFError, TypeError, LookupError, OverflowError, RecursionError, SyntaxError,
    TokenError,
)  # fmt: skip
LOOKED_FOR = '*.pkl files, or sub-folders with softmax.npy'


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureFile:
    """The clips of a feature file, N of them, of C classes.

    Attributes:
        path: where they are from.
        softmax: N x C of any float type, finite; of a folder it stays on disk until it is used.
        labels: int64 (N,), each in 0 to C - 1.
        video_ids: int64 (N,), any value.
    """

    path: pathlib.Path
    softmax: np.ndarray
    labels: np.ndarray
    video_ids: np.ndarray

    @property
    def num_labels(self) -> int:
        return self.softmax.shape[1]

    def blocks(self) -> Iterator[slice]:
        """Yield slices of the rows, in order, so that one slice of softmax fits into memory."""
        rows = max(1, BLOCK // self.num_labels)
        for start in range(0, len(self.softmax), rows):
            yield slice(start, start + rows)


def find(folder: Union[str, pathlib.Path]) -> list[pathlib.Path]:
    """Paths of the feature files in `folder`, `_2` before `_10`, without hidden and partial ones.

    Raises:
        InputError: it is no folder, there are none in it, or a file and a folder of one name.
    """
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        raise InputError(f'{folder} is not a folder of feature files')
    found = [path for path in folder.iterdir() if _looks_like_features(path)]
    if not found:
        raise InputError(f'{folder} has no feature files: {LOOKED_FOR}')
    for path in found:
        if path.suffix == '.pkl' and path.with_suffix('') in found:
            raise InputError(f'{folder} has {path.name} and {path.stem}, which would count twice')
    return sorted(found, key=lambda path: _natural(path.name))


def _looks_like_features(path):
    if path.name.startswith('.') or path.suffix == '.partial':
        return False
    return (path / 'softmax.npy').exists() if path.is_dir() else path.suffix == '.pkl'


def _natural(name):
    parts = re.split(r'([0-9]+)', name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def find_numbered(folder: Union[str, pathlib.Path], count: int) -> dict[int, pathlib.Path]:
    """Feature files in `folder` whose names end in _1 to _`count`, before .pkl if it is there.

    A warning names others.

    Returns:
        dict from number to path, ascending; numbers without a file are not in it.

    Raises:
        InputError: there is none, or one number has several.
    """
    paths, numbered = find(folder), {}
    for number in range(1, count + 1):
        same = [path for path in paths if _stem(path).endswith(f'_{number}')]
        if len(same) > 1:
            names = ', '.join(path.name for path in same)
            raise InputError(f'{folder} has several files ending in _{number}: {names}; keep one')
        if same:
            numbered[number] = same[0]
    if not numbered:
        raise InputError(f'{folder} has no feature file ending in _1.pkl to _{count}.pkl')
    more = [path.name for path in paths if path not in numbered.values()]
    if more:
        log.warning(
            '%s: %s %s not used: file_count is %d',
            folder, f'{more[0]} and {len(more) - 1} more' if len(more) > 1 else more[0],
            'are' if len(more) > 1 else 'is', count,
        )  # fmt: skip
    return numbered


def _stem(path):
    return path.stem if path.suffix == '.pkl' else path.name


def read_features(path: Union[str, pathlib.Path]) -> FeatureFile:
    """Return the FeatureFile at `path`, a pickle or a folder.

    Raises:
        InputError: an array is missing or has a wrong type, shape or value; says which and where.
    """
    path = pathlib.Path(path)
    arrays = _open_folder(path) if path.is_dir() else _unpickle(path)
    missing = [name for name in ARRAYS if name not in arrays]
    if missing:
        raise InputError(
            f'{path} has no {", ".join(missing)}; a feature file has {", ".join(ARRAYS)}'
        )
    softmax = _probabilities(path, arrays['softmax'])
    labels, video_ids = (_integers(path, name, arrays[name]) for name in ARRAYS[1:])
    rows = {'softmax': len(softmax), 'label': len(labels), 'video_id': len(video_ids)}
    if len(set(rows.values())) > 1:
        counts = ', '.join(f'{name} has {count} rows' for name, count in rows.items())
        raise InputError(f'{path}: {counts}; each has one row a clip')
    file = FeatureFile(path, softmax, labels, video_ids)
    _require_known_labels(file)
    _require_finite(file)
    return file


def _unpickle(path):
    content = safe_pickle.load(path)
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise InputError(f'{path} is a pickle of a {kind}; a feature file has a dict of arrays')
    return {_text(name): array for name, array in content.items()}


def _text(name):
    return name.decode('latin1') if isinstance(name, bytes) else name


def _open_folder(path):
    files = {name: path / f'{name}.npy' for name in ARRAYS}
    return {name: _open_array(file) for name, file in files.items() if file.exists()}


def _open_array(path):
    require_given(path)
    try:
        # Not np.load, which also takes archives and pickles, whatever their names are.
        return open_memmap(path, mode='r')
    except OF_NO_ARRAY as error:
        fault = printable(error) or type(error).__name__
        raise InputError(f'{path} is not a readable .npy file: {fault[:LONGEST_FAULT]}') from None


def _probabilities(path, array):
    """`array` as N x C, without the trailing dimensions of 1 that the network leaves."""
    _require_numbers(path, 'softmax', array, 'f', 'floats')
    if array.ndim < 2 or set(array.shape[2:]) - {1} or 0 in array.shape:
        raise InputError(
            f'{path}: softmax is of shape {array.shape}; (clips, classes), at least 1 of each'
        )
    return array.reshape(array.shape[:2])


def _integers(path, name, array):
    """`array` as int64 (N,)."""
    _require_numbers(path, name, array, 'iu', 'integers')
    if array.ndim < 1 or set(array.shape[1:]) - {1}:
        raise InputError(f'{path}: {name} is of shape {array.shape}; (clips,) or (clips, 1)')
    flat = array.reshape(-1)
    if flat.dtype.kind == 'u' and (flat > np.iinfo(np.int64).max).any():
        raise InputError(f'{path}: {name} has {flat.max()}, which is no 64-bit signed integer')
    return flat.astype(np.int64)


def _require_numbers(path, name, array, kinds, allowed):
    if not isinstance(array, np.ndarray):
        raise InputError(f'{path}: {name} is a {type(array).__name__}; an array of {allowed}')
    if array.dtype.kind not in kinds:
        raise InputError(f'{path}: {name} is an array of {array.dtype}; {allowed} are needed')


def _require_known_labels(file):
    wrong = np.flatnonzero((file.labels < 0) | (file.labels >= file.num_labels))
    if len(wrong):
        row = wrong[0]
        raise InputError(
            f'{file.path}: label {file.labels[row]} in row {row} (video {file.video_ids[row]}) '
            f'is out of range: 0 to {file.num_labels - 1}'
        )


def _require_finite(file):
    for block in file.blocks():
        wrong = np.argwhere(~np.isfinite(file.softmax[block]))
        if len(wrong):
            row, label = wrong[0] + (block.start, 0)
            raise InputError(
                f'{file.path}: softmax is {file.softmax[row, label]} in row {row} '
                f'(video {file.video_ids[row]}) for class {label}; probabilities are finite'
            )
