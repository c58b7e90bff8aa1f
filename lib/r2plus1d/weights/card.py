"""What a file says of itself: which network it holds, what that is to be given, its classes.

A card is {key: text}, each text written as flags are on a command line. An .onnx file has it as
its metadata, a pickle under the key CARD beside `blobs`, a minidb as a text under that name.
"""

import dataclasses
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional

from r2plus1d.errors import InputError
from r2plus1d.networks.input import EXTRA_CHANNELS, FlowSettings, Input
from r2plus1d.networks.network import BN_EPSILON, Network
from r2plus1d.networks.zoo import ARCHITECTURES, C3D

CARD = 'r2plus1d_card'
FORMAT_VERSION = '1'
# Network's fields under the names of their flags; the clip length is not two but one here.
NETWORK = {
    'model_name': 'architecture',
    'model_depth': 'depth',
    'clip_length': 'clip_length',
    'crop_size': 'crop_size',
    'num_channels': 'num_channels',
    'num_labels': 'num_labels',
    'multi_label': 'multi_label',
    'pred_layer_name': 'pred_layer_name',
    'use_dropout': 'use_dropout',
    'use_pool1': 'use_pool1',
    'use_convolutional_pred': 'use_convolutional_pred',
    'width': 'width',
    'bn_epsilon': 'bn_epsilon',
}
OF_NETWORK = {*NETWORK, 'format_version', 'batch_norm_folded'}
# What a card says only where it is not the usual value, which older readers take for granted.
USUAL: dict[str, Any] = {
    'bn_epsilon': BN_EPSILON,
    'use_pool1': False,
    'use_convolutional_pred': False,
}
# What parameters do not show of their network, but for the size of clips
INVISIBLE = ('bn_epsilon', 'use_pool1')
CLIPS = (
    'input_type',
    'sampling_rate_rgb',
    'sampling_rate_of',
    'frame_gap_of',
    'do_flow_aggregation',
    'flow_data_type',
    'scale_h',
    'scale_w',
    'video_res_type',
    'short_edge',
)
RES_TYPES = ('scale', 'short_edge', 'original')
INPUT_TYPES = ('rgb', 'flow')
LONGEST_VALUE = 200  # of a flag; labels may be longer
LARGEST_VALUE = 1 << 20
LONGEST_JSON = 1 << 24
SHA256 = re.compile('[0-9a-f]{64}')


def of_network(network: Network, *, batch_norm_folded: bool) -> dict[str, str]:
    """Return {key: text} of a Network and of how it is stored."""
    values = {key: getattr(network, field) for key, field in NETWORK.items()}
    values['pred_layer_name'] = network.logits
    values = {key: v for key, v in values.items() if key not in USUAL or v != USUAL[key]}
    return {
        'format_version': FORMAT_VERSION,
        'batch_norm_folded': str(int(batch_norm_folded)),
        **{key: _text(value) for key, value in values.items()},
    }


def describe(
    network: Network,
    given: Input,
    *,
    class_names: Optional[Sequence[str]] = None,
    weights_sha256: Optional[str] = None,
) -> dict[str, str]:
    """Return {key: text} of what the network is to be given, and of where it comes from.

    Args:
        class_names: num_labels texts.
        weights_sha256: of the weight file that its parameters came from, in hexadecimal.

    Raises:
        InputError: an impossible setting, names that are too few or too many.
    """
    flow = given.flow or FlowSettings()
    values = {
        'input_type': 'flow' if given.flow else 'rgb',
        'sampling_rate_rgb': 1 if given.flow else given.rate,
        'sampling_rate_of': given.rate if given.flow else 2,
        'frame_gap_of': flow.gap,
        'do_flow_aggregation': flow.aggregate,
        'flow_data_type': flow.data_type,
        'scale_h': given.scale_h,
        'scale_w': given.scale_w,
        'video_res_type': given.video_res_type,
        'short_edge': given.short_edge,
    }
    card = {name: _text(value) for name, value in values.items()}
    mean, deviation = given.statistics
    card.update(channel_mean=json.dumps(list(mean)), channel_std=json.dumps(list(deviation)))
    if class_names is not None:
        card['labels'] = json.dumps(list(class_names), ensure_ascii=False)
    if weights_sha256 is not None:
        card['weights_sha256'] = weights_sha256
    clips_and_names(network, card)  # as a reader checks it
    return card


def clips_and_names(
    network: Network, card: Mapping[str, str]
) -> tuple[Optional[Input], Optional[tuple[str, ...]]]:
    """Return (Input, class names) as `input_of` and `class_names` do.

    Raises:
        InputError: the card describes nothing that `network` takes, or has a strange checksum.
    """
    digest = card.get('weights_sha256')
    if digest is not None and not SHA256.fullmatch(digest):
        raise InputError(f'weights_sha256 is {digest[:80]!r}; it has 64 hexadecimal digits')
    return input_of(network, card), class_names(network, card)


def unseen_settings(card: Mapping[str, str]) -> dict[str, str]:
    """What a card says of the network that parameters do not show; nothing if it tells of none."""
    if 'model_name' not in card:
        return {}
    return {key: card.get(key, _text(USUAL[key])) for key in INVISIBLE}


def network_of(card: Mapping[str, str]) -> tuple[Network, bool]:
    """Return (Network, whether batch norms are folded) that the texts tell of."""
    values: dict[str, Any] = {
        field: USUAL[key] if key in USUAL and key not in card else _parsed(card, key)
        for key, field in NETWORK.items()
    }
    last = values.pop('pred_layer_name')
    if not _is_plain(last):
        raise InputError(f'pred_layer_name is {last!r}; it is one plain line')
    network = Network(**values)
    if network.logits != last:
        network = dataclasses.replace(network, pred_layer_name=last)
    return network, _parsed(card, 'batch_norm_folded')


def invisible_of(card: Mapping[str, str]) -> dict[str, Any]:
    """Return {field of Network: value} of what a card says of INVISIBLE.

    Raises:
        InputError: a wrong value.
    """
    return {NETWORK[key]: _parsed(card, key) for key in INVISIBLE if key in card}


def input_of(network: Network, card: Mapping[str, str]) -> Optional[Input]:
    """Return what the network is to be given, None where the card does not say.

    Raises:
        InputError: it says a part only, a wrong value, or an input that the network does not take.
    """
    if not any(name in card for name in (*CLIPS, 'channel_mean', 'channel_std')):
        return None
    values = {name: _parsed(card, name) for name in CLIPS}
    is_flow = values['input_type'] == 'flow'
    gap, data_type = values['frame_gap_of'], values['flow_data_type']
    flow = FlowSettings(gap, values['do_flow_aggregation'], data_type) if is_flow else None
    given = Input(
        length=network.clip_length,
        rate=values['sampling_rate_of' if is_flow else 'sampling_rate_rgb'],
        flow=flow,
        video_res_type=values['video_res_type'],
        scale_w=values['scale_w'],
        scale_h=values['scale_h'],
        short_edge=values['short_edge'],
        crop_size=network.crop_size,
    )
    if given.channels != network.num_channels:
        raise InputError(f'num_channels is {network.num_channels}; the input has {given.channels}')
    for key, numbers in zip(('channel_mean', 'channel_std'), map(list, given.statistics)):
        if _json(card, key) != numbers:
            raise InputError(f'{key} is {card[key]!r}; clips are normalized with {numbers}')
    return given


def class_names(network: Network, metadata: Mapping[str, str]) -> Optional[tuple[str, ...]]:
    """Return the tuple of class names, None where there are none."""
    if 'labels' not in metadata:
        return None
    names = _json(metadata, 'labels')
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError('labels are not a list of class names')
    if len(names) != network.num_labels:
        raise InputError(f'labels name {len(names)} classes; num_labels is {network.num_labels}')
    for name in names:
        if not _is_plain(name):
            raise InputError(f'labels has {name!r}; a class name is one plain line')
    return tuple(names)


def _parsed(card: Mapping[str, str], key: str) -> Any:
    text = card.get(key)
    if text is None:
        raise InputError(f'{key} is not among the metadata')
    if len(text) > LONGEST_VALUE:
        raise InputError(f'{key} has {len(text)} characters; at most {LONGEST_VALUE}')
    try:
        value = PARSERS[key](text)
    except ValueError as error:
        raise InputError(f'{key}: {error}') from None
    if isinstance(value, int) and value > LARGEST_VALUE:
        raise InputError(f'{key} is {text}; at most {LARGEST_VALUE}')
    return value


def _integer(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f'{text!r} is not an integer') from None
    if value < 1:
        raise ValueError(f'{value} is less than 1')
    return value


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f'{text!r} is not a number') from None
    if not 0 < value < float('inf'):
        raise ValueError(f'{text} is not above 0')
    return value


def _bit(text: str) -> bool:
    return _one_of('0', '1')(text) == '1'


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f'{text!r} is unknown; known: {", ".join(words)}')
        return text

    return parse


PARSERS: dict[str, Callable[[str], Any]] = {
    **dict.fromkeys((*NETWORK, *CLIPS), _integer),
    **dict.fromkeys(('multi_label', 'use_dropout', 'use_pool1', 'use_convolutional_pred'), _bit),
    **dict.fromkeys(('do_flow_aggregation', 'batch_norm_folded'), _bit),
    'model_name': _one_of(*ARCHITECTURES, C3D),
    'pred_layer_name': str,
    'width': _number,
    'bn_epsilon': _number,
    'input_type': _one_of(*INPUT_TYPES),
    'flow_data_type': _one_of(*EXTRA_CHANNELS),
    'video_res_type': _one_of(*RES_TYPES),
}


def _json(metadata: Mapping[str, str], key: str) -> Any:
    try:
        return parse_json(metadata.get(key, ''))
    except ValueError:
        raise InputError(f'{key} is missing, or not JSON') from None


def parse_json(text: str) -> Any:
    """Return what a text of a weight file says in JSON, its integers as floats.

    Raises:
        ValueError: not JSON, nested too deeply, or longer than LONGEST_JSON.
    """
    if len(text) > LONGEST_JSON:  # its objects take 25 times the memory
        raise ValueError(f'{len(text)} characters')
    try:
        # Integers of a million digits take Python minutes; nothing here has use for integers.
        return json.loads(text, parse_int=float)
    except RecursionError:
        raise ValueError('nested too deeply') from None


def _is_plain(text: str) -> bool:
    """No control characters, which would do things to a terminal, and nothing but Unicode."""
    return not any(unicodedata.category(c) in ('Cc', 'Cs') and c != '\t' for c in text)


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)
