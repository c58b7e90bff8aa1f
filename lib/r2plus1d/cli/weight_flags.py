"""The flags of weights: what the file decides of other flags, and what an engine loads of it."""

import argparse
import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.weights.card import NETWORK
from r2plus1d.weights.decided import choose_head, decided, require_agreement
from r2plus1d.weights.stored import LIKELY_LENGTHS, Stored, choose_use, open_weights

if TYPE_CHECKING:
    from r2plus1d.weights.onnx_file import OnnxModel

# {flag: field of Network or Input, as weights.decided.flatten names it}
NETWORK_FIELDS = {flag: field for flag, field in NETWORK.items() if field != 'clip_length'}
EVERY_INPUT = {
    name: name for name in ('input_type', 'video_res_type', 'scale_h', 'scale_w', 'short_edge')
}
RGB_FIELDS = {**EVERY_INPUT, 'clip_length_rgb': 'length', 'sampling_rate_rgb': 'rate'}
FLOW_FIELDS = {
    **EVERY_INPUT,
    'clip_length_of': 'length',
    'sampling_rate_of': 'rate',
    'frame_gap_of': 'flow.gap',
    'do_flow_aggregation': 'flow.aggregate',
    'flow_data_type': 'flow.data_type',
}


def take_weights(
    args: argparse.Namespace, *, path: Optional[pathlib.Path] = None
) -> Optional[Stored]:
    """Let the file in load_model_path, or the published weights of its name, set what they decide.

    Args:
        path: of the weights, if not load_model_path.

    Returns:
        weights.stored.Stored, or None if there is no load_model_path.

    Raises:
        InputError: it cannot be read; a flag that was given differs from it; nobody says how long
            the clips are.
    """
    path = path or args.load_model_path
    if path is None:
        return None
    stored = open_weights(path, getattr(args, 'db_type', None))
    stored = choose_use(
        stored, {name: value for name, value in vars(args).items() if name in args.given}
    )
    wants_int8 = getattr(args, 'precision', None) == 'int8'
    if wants_int8 and not stored.is_int8:
        raise InputError(
            f'precision is int8, and {path} is not: tools/quantize.py makes an .onnx file that is'
        )
    if stored.is_int8 and not wants_int8 and 'precision' in args.given:
        raise InputError(
            f'precision is {args.precision}, and {path} is of int8; leave the flag out'
        )
    stored = _agreed(stored, args)
    if stored.is_int8:
        args.precision = 'int8'
    args.load_model_path = stored.path  # of a name: where it was put
    return stored


def _agreed(stored, args):
    """Set the options that a file decides; return it with its last layer decided."""
    fields = fields_of(decided(stored), args)
    names = {field: flag for flag, field in fields.items()}
    given = {field: getattr(args, flag) for flag, field in fields.items() if flag in args.given}
    stored = choose_head(stored, given, names={name: f'--{name}' for name in NETWORK_FIELDS})
    require_agreement(stored, given, names=names, hint='; leave the flag out')
    known = decided(stored)
    require_length(stored, {**known, **given}, names)
    for field in set(known) - left_as_they_are(stored, args, known):
        setattr(args, names[field], known[field])
    if 'pred_layer_name' in known:
        args.pred_layer_name = stored.network.get('pred_layer_name')
    return stored


def fields_of(known: Mapping[str, Any], args: argparse.Namespace) -> dict[str, str]:
    """Return {flag: field} of what weights may decide, `known` being what they do decide."""
    is_flow = known.get('input_type', args.input_type) == 'flow'
    return {**NETWORK_FIELDS, **(FLOW_FIELDS if is_flow else RGB_FIELDS)}


def require_length(stored: Stored, said: Mapping[str, Any], names: Mapping[str, str]) -> None:
    """Raise InputError if nobody says how long the clips are.

    Args:
        said: {field: value} of the weights and of the flags.
        names: {field: flag}.
    """
    if 'length' not in said:
        likely = ', '.join(map(str, LIKELY_LENGTHS[:-1]))
        raise InputError(
            f'{stored.path} does not say how long its clips are: give --{names["length"]}, which '
            f'is likely {likely} or {LIKELY_LENGTHS[-1]}'
        )


def left_as_they_are(
    stored: Stored, args: argparse.Namespace, known: Mapping[str, Any]
) -> set[str]:
    """Return the fields whose options keep their values, which mean the same."""
    left = {'pred_layer_name'}
    if known.get('short_edge') == min(known.get('scale_h', 0), known.get('scale_w', 0)):
        left.add('short_edge')  # what it is when left out
    if 'width' in args.given and not stored.onnx:
        left.add('width')  # of several that make the same network
    return left


def load_weights(of_network: Network, stored: Stored) -> 'Union[OnnxModel, dict[str, np.ndarray]]':
    """Return what an engine's `load` takes: an OnnxModel, or the parameters of `of_network`."""
    return stored.onnx or stored.parameters(of_network)
