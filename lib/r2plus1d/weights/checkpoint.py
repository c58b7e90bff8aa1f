"""What training continues from: parameters, momenta and the number of iterations in one file."""

import json
import pathlib
import shutil
from collections.abc import Mapping
from typing import Optional

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.weights import safetensors_file
from r2plus1d.weights.card import CARD
from r2plus1d.weights.files import save_minidb
from r2plus1d.weights.match import ITERATION, MOMENTUM_SUFFIX

SAFETENSORS = '.safetensors'


def save_checkpoint(
    path: pathlib.Path,
    *,
    parameters: Mapping[str, np.ndarray],
    momenta: Mapping[str, np.ndarray],
    iteration: int,
    card: Optional[Mapping[str, str]] = None,
) -> None:
    """Write a checkpoint, complete or not at all.

    Args:
        path: of a minidb; of a file of tensors under the same names where it ends in .safetensors.
        parameters: {blob: float32 array}, running statistics included.
        momenta: {blob: float32 array} of the trained parameters.
        iteration: number of iterations done.
        card: {key: text}, written where there is one.

    Raises:
        InputError: the file cannot be written.
    """
    blobs = {
        **parameters,
        **{name + MOMENTUM_SUFFIX: array for name, array in momenta.items()},
        ITERATION: np.array([iteration], np.int64),
    }
    try:
        if path.suffix == SAFETENSORS:
            metadata = {CARD: json.dumps(dict(card), sort_keys=True)} if card else {}
            safetensors_file.write(path, blobs, metadata)
        else:
            save_minidb(path, blobs, card)
    except OSError:
        free = shutil.disk_usage(path.parent).free / 1e6
        raise InputError(f'{path} cannot be written ({free:.0f} MB free)') from None
