"""Weights of one kind of file as another kind: each entry used once, nothing lost on the way."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.network import CLIP_LENGTH_MULTIPLE, Network
from r2plus1d.weights import tensor_files
from r2plus1d.weights.decided import choose_head, flatten, require_agreement
from r2plus1d.weights.files import without_solver
from r2plus1d.weights.match import match_parameters
from r2plus1d.weights.save import require_suffix, save
from r2plus1d.weights.stored import Stored, choose_use, open_weights

LISTED = 5
POOL1_CROP = 224  # what networks with a pool1 take if nobody says it
NOTHING: Mapping[str, Any] = {}


class Converted(NamedTuple):
    """What was written.

    Attributes:
        network: its Network; the clip length means nothing where `has_length` is False.
        arrays: how many there are.
        has_length: whether anybody says how long the clips are.
    """

    network: Network
    arrays: int
    has_length: bool


def convert(
    source: Union[str, pathlib.Path],
    target: Union[str, pathlib.Path],
    *,
    length: Optional[int] = None,
    bn_epsilon: Optional[float] = None,
    class_names: Optional[Sequence[str]] = None,
    given: Mapping[str, Any] = NOTHING,
) -> Converted:
    """Write the weights at `source` to `target`, whose suffix says as what.

    Args:
        source: what weights.stored.open_weights takes: .pkl, .mdl, .pth, .safetensors, an .onnx
            whose batch norms are not folded, a folder, or a name.
        target: see weights.save.save.
        length: frames of a clip, where the file does not say.
        bn_epsilon: of the batch norms, where the file does not say or is wrong.
        class_names: num_labels texts, in the place of the file's.
        given: {field of Network: value} of other things that the file does not say: `num_labels`
            where several layers may be the last, and `use_pool1`.

    Raises:
        InputError: weights of no network that is known here, entries that are missing, misshapen
            or left over, a target of another kind.
    """
    require_suffix(target)
    stored = choose_use(choose_head(open_weights(source), given), given)
    require_agreement(stored, flatten(given))
    stored = dataclasses.replace(stored, network={**given, **stored.network})
    network, has_length = _network_of(stored, length, bn_epsilon)
    parameters = _parameters_of(stored, network)
    names = stored.class_names if class_names is None else tuple(class_names)
    save(
        target, network, parameters,
        given=stored.input, class_names=names, has_length=has_length,
    )  # fmt: skip
    return Converted(network, len(parameters), has_length)


def _network_of(
    stored: Stored, length: Optional[int], bn_epsilon: Optional[float]
) -> tuple[Network, bool]:
    if 'architecture' not in stored.network:
        raise InputError(f'{stored.path} is of no network that is known here')
    fields: dict[str, Any] = {**stored.network}
    known = fields.get('clip_length', length)
    if length not in (None, known):
        raise InputError(f'clip_length is {length}, and {stored.path} is of {known}')
    fields['clip_length'] = known or CLIP_LENGTH_MULTIPLE
    if stored.input:
        fields['crop_size'] = stored.input.crop_size
    elif fields.get('use_pool1'):
        fields.setdefault('crop_size', POOL1_CROP)
    network = Network(**fields)
    if bn_epsilon is not None:
        network = dataclasses.replace(network, bn_epsilon=bn_epsilon)
    return network, known is not None


def _parameters_of(stored: Stored, network: Network) -> dict[str, np.ndarray]:
    shapes, path = parameter_shapes(network), stored.path
    if stored.onnx is None:
        parameters = stored.parameters(network)
        left = sorted(set(without_solver(stored.blobs)) - set(shapes))
        if left and tensor_files.is_known(path):
            more = f' and {len(left) - LISTED} more' if len(left) > LISTED else ''
            raise InputError(f'{path}: {", ".join(left[:LISTED])}{more} are not in {network.name}')
        return parameters
    return match_parameters(stored.trainable_blobs(), shapes, source=str(path))
