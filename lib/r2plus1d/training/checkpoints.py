"""Checkpoints: a minidb for each epoch, from which training continues; .safetensors on request."""

import logging
import pathlib
import re
from collections.abc import Mapping
from typing import Optional, Union

import numpy as np

from r2plus1d.backends.base import TrainingState
from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.network import Network
from r2plus1d.weights import safetensors_file
from r2plus1d.weights.checkpoint import SAFETENSORS, save_checkpoint
from r2plus1d.weights.files import read_minidb
from r2plus1d.weights.match import ITERATION, MOMENTUM_SUFFIX

log = logging.getLogger(__name__)

EPOCH = re.compile(r'_(\d+)\.(mdl|safetensors)$')


def checkpoint_path(folder: Union[str, pathlib.Path], network: Network, epoch: int) -> pathlib.Path:
    """`{model_name}_{epoch}.mdl`, with the width in the name where it is not 1."""
    return pathlib.Path(folder) / f'{network.stem}_{epoch}.mdl'


def of_epoch(folder: Union[str, pathlib.Path], network: Network, epoch: int) -> pathlib.Path:
    """Return the path of the checkpoint after an epoch; the minidb, if there are two.

    Raises:
        InputError: there is none.
    """
    path = checkpoint_path(folder, network, epoch)
    for each in (path, path.with_suffix(SAFETENSORS)):
        if each.is_file():
            return each
    _, last = newest(folder, network)
    raise InputError(f'{path} is not there; the newest checkpoint is {last}')


def log_path(folder: Union[str, pathlib.Path], network: Network) -> pathlib.Path:
    """The CSV of a run, with a row for each epoch."""
    return pathlib.Path(folder) / f'{network.stem}_log.csv'


def newest(
    folder: Union[str, pathlib.Path], network: Network
) -> tuple[int, Optional[pathlib.Path]]:
    """Return (epoch, path) of the network's last complete checkpoint in `folder`, or (0, None).

    Of an epoch's two files it is the minidb.
    """
    stem = network.stem
    pattern = re.compile(re.escape(stem) + EPOCH.pattern)
    found = {
        int(match.group(1)): path
        for path in sorted(pathlib.Path(folder).glob(f'{stem}_*'), reverse=True)
        if (match := pattern.fullmatch(path.name))
    }
    return max(found.items(), default=(0, None))


def epoch_of(path: Union[str, pathlib.Path]) -> Optional[int]:
    """The epoch after which a checkpoint was written, from its name; None if it has none."""
    match = EPOCH.search(pathlib.Path(path).name)
    return int(match.group(1)) if match else None


def save_beside(path: pathlib.Path, state: TrainingState, card: Mapping[str, str]) -> None:
    """Write a checkpoint as a .safetensors file beside the minidb at `path`.

    Args:
        card: {key: text}, what the file says of itself.

    Raises:
        InputError: it cannot be written.
    """
    save_checkpoint(path.with_suffix(SAFETENSORS), **vars(state), card=card)


def read(path: Union[str, pathlib.Path], network: Network) -> TrainingState:
    """Return everything that a Trainer's `save` or save_beside wrote.

    Raises:
        InputError: a file that is no checkpoint of this network, or one with values that are not
            finite.
    """
    is_tensors = pathlib.Path(path).suffix == SAFETENSORS
    blobs = safetensors_file.read(path).arrays if is_tensors else read_minidb(path)
    traced = graph.trace(network)
    shapes = {
        **traced.parameters,
        **{name + MOMENTUM_SUFFIX: traced.parameters[name] for name in traced.trained},
    }
    missing = [name for name in (*shapes, ITERATION) if name not in blobs]
    if missing:
        raise InputError(f'{path} is no checkpoint to continue from: it lacks {missing[0]}')
    others = sorted(set(blobs) - {*shapes, ITERATION})
    if others:
        raise InputError(f'{path} is of another network: it has {others[0]} too')
    for name, shape in shapes.items():
        if blobs[name].shape != shape:
            raise InputError(
                f'{path} is of another network: {name} is {blobs[name].shape}, not {shape}'
            )
    iteration = _iteration(blobs[ITERATION], path)
    arrays = {
        name: _finite(blobs[name], f'{path}: NaN or infinite values in {name}') for name in shapes
    }
    return TrainingState(
        {name: arrays[name] for name in traced.parameters},
        {name: arrays[name + MOMENTUM_SUFFIX] for name in traced.trained},
        iteration,
    )


def _iteration(array: np.ndarray, path: Union[str, pathlib.Path]) -> int:
    no_checkpoint = f'{path} is no checkpoint to continue from'
    if array.size != 1:
        raise InputError(f'{no_checkpoint}: {ITERATION} is not one number')
    value = array.item()
    if not (value >= 0 and float(value).is_integer()):
        raise InputError(f'{no_checkpoint}: {ITERATION} is {value}, no number of iterations')
    return int(value)


def _finite(array: np.ndarray, fault: str) -> np.ndarray:
    """`array` in float32, in which a number of 64 bits may become infinite."""
    with np.errstate(over='ignore'):
        array = np.asarray(array, np.float32)
    if not np.isfinite(array).all():
        raise InputError(fault)
    return array
