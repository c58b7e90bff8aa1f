"""Blobs matched to a network: completely or refused."""

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Optional

import numpy as np

from r2plus1d.errors import InputError

log = logging.getLogger(__name__)

LISTED_BLOBS = 5
# Blobs of a checkpoint that only training needs: momenta, and the number of iterations done
MOMENTUM_SUFFIX, ITERATION = '_momentum', 'training_iteration'
LAST_LAYER = re.compile(r'last_out_L(\d+)_w')
# Names under which older files keep the multi-label head.
OLD_LOGIT = re.compile(r'^pred_logit_L\d+_(w|b)$')


def match_parameters(
    blobs: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[int]], *, source: str
) -> dict[str, np.ndarray]:
    """Fill `shapes` from `blobs`: everything or an error.

    Args:
        blobs: {name: array}, possibly more than needed. Those that are not used are listed in a
            warning, but for what a checkpoint keeps for training.
        shapes: {name: shape} to be filled.
        source: the file's name, for messages.

    Returns:
        {name: C-contiguous float32 array}, one for each entry of `shapes`, in its order.

    Raises:
        InputError: blobs missing, of the wrong shape, or with values that are not finite.
    """
    blobs = with_present_names(blobs)
    missing = [name for name in shapes if name not in blobs]
    tried = {
        name: fit_parameter(blobs[name], shape) for name, shape in shapes.items() if name in blobs
    }
    misshapen = [
        f'{name} is {_dims(blobs[name].shape)}, not {_dims(shapes[name])}'
        for name, array in tried.items()
        if array is None
    ]
    fitted = {name: array for name, array in tried.items() if array is not None}
    unused = sorted(set(blobs) - set(shapes))
    if missing or misshapen:
        report = _report({'missing': missing, 'misshapen': misshapen, 'not in the network': unused})
        raise InputError(f'{source} does not hold this network: {_hint(unused)}{report}')
    broken = [name for name, array in fitted.items() if not np.isfinite(array).all()]
    if broken:
        raise InputError(f'{source}: NaN or infinite values in {_listed(broken)}')
    unused = [name for name in unused if not is_of_solver(name)]
    if unused:
        log.warning('%s: %d blobs are not used: %s', source, len(unused), _listed(unused))
    return fitted


def is_of_solver(name: str) -> bool:
    """Whether only training needs the blob of this name."""
    return name.endswith(MOMENTUM_SUFFIX) or name == ITERATION


def with_present_names(blobs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Give the blobs of an old multi-label head their present names."""
    return {OLD_LOGIT.sub(r'pred_logit_\1', name): array for name, array in blobs.items()}


def fit_parameter(array: np.ndarray, shape: Sequence[int]) -> Optional[np.ndarray]:
    """Return `array` as float32 of `shape`, or None if it does not fit.

    Two changes of shape are part of the format: an FC weight (o, i) fills a 1 x 1 x 1 convolution
    (o, i, 1, 1, 1) and the reverse, and a 2D kernel (o, i, d, d) is inflated to (o, i, t, d, d):
    repeated, over t.
    """
    shape = tuple(shape)
    array = np.asarray(array, dtype=np.float32)
    if array.shape == shape:
        return np.ascontiguousarray(array)
    if len(shape) == 2 and array.shape == (*shape, 1, 1, 1):
        return np.ascontiguousarray(array.reshape(shape))
    if array.ndim == 2 and shape == (*array.shape, 1, 1, 1):
        return np.ascontiguousarray(array.reshape(shape))
    if array.ndim == 4 and len(shape) == 5 and array.shape == shape[:2] + shape[3:]:
        inflated = np.repeat(array[:, :, None], shape[2], axis=2) / np.float32(shape[2])
        return np.ascontiguousarray(inflated, dtype=np.float32)
    return None


def _hint(unused: Sequence[str]) -> str:
    """The likeliest reason: another number of labels."""
    labels = [found.group(1) for found in map(LAST_LAYER.fullmatch, unused) if found]
    return f'its labels are {labels[0]} (--num_labels={labels[0]}?); ' if labels else ''


def _report(findings: Mapping[str, Sequence[str]]) -> str:
    return '; '.join(
        f'{what} ({len(names)}): {_listed(names)}' for what, names in findings.items() if names
    )


def _listed(names: Sequence[str]) -> str:
    more = len(names) - LISTED_BLOBS
    return ', '.join(names[:LISTED_BLOBS]) + (f' and {more} more' if more > 0 else '')


def _dims(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape)) or 'a single number'
