"""Checkpoints: one minidb an epoch, which Caffe2's predictor loads and training continues from."""

import logging
import pathlib
import re
from typing import Any, Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import ITERATION, read_minidb

log = logging.getLogger(__name__)

EPOCH = re.compile(r'_(\d+)\.mdl$')


def checkpoint_path(folder: Union[str, pathlib.Path], network: Network, epoch: int) -> pathlib.Path:
    """`{model_name}_{epoch}.mdl`, with the width in the name where it is not 1."""
    return pathlib.Path(folder) / f'{checkpoint_stem(network)}_{epoch}.mdl'


def checkpoint_stem(network: Network) -> str:
    return network.architecture + ('' if network.width == 1 else f'_w{network.width:g}')


def newest(
    folder: Union[str, pathlib.Path], network: Network
) -> tuple[int, Optional[pathlib.Path]]:
    """Return (epoch, path) of the network's last complete checkpoint in `folder`, or (0, None)."""
    stem = checkpoint_stem(network)
    pattern = re.compile(re.escape(stem) + EPOCH.pattern)
    found = {
        int(match.group(1)): path
        for path in pathlib.Path(folder).glob(f'{stem}_*.mdl')
        if (match := pattern.fullmatch(path.name))
    }
    return max(found.items(), default=(0, None))


def epoch_of(path: Union[str, pathlib.Path]) -> Optional[int]:
    """The epoch after which a checkpoint was written, from its name; None if it has none."""
    match = EPOCH.search(pathlib.Path(path).name)
    return int(match.group(1)) if match else None


def restore(path: Union[str, pathlib.Path], net: Any) -> int:
    """Give a net everything that its `save` wrote; returns the iterations done.


    Raises:
        InputError: a file that is no checkpoint of this network.
    """
    blobs = read_minidb(path)
    needed = [*net.parameter_names, *net.momentum_names, ITERATION]
    missing = [name for name in needed if name not in blobs]
    if missing:
        raise InputError(f'{path} is no checkpoint to continue from: it lacks {missing[0]}')
    others = sorted(set(blobs) - set(needed))
    if others:
        raise InputError(f'{path} is of another network: it has {others[0]} too')
    iteration = int(blobs.pop(ITERATION)[0])
    wanted = {name: blobs[name] for name in needed if name in blobs}
    for name, array in net.get(wanted).items():
        if array.shape != wanted[name].shape:
            raise InputError(
                f'{path} is of another network: {name} is {wanted[name].shape}, not {array.shape}'
            )
    net.set(wanted)
    log.info('continuing from %s, after %d iterations', path, iteration)
    return iteration
