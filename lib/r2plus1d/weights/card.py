"""What an exported file says of itself: key and text, written as flags are on a command line."""

import argparse
import dataclasses
import json
import re
import unicodedata

from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.errors import InputError
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network

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
    'width': 'width',
}
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
TYPES = {**flags.NETWORK, **flags.CLIPS, 'clip_length': flags.NETWORK['clip_length_rgb']}
LONGEST_VALUE = 200  # of a flag; labels may be longer
LARGEST_VALUE = 1 << 20
SHA256 = re.compile('[0-9a-f]{64}')


def of_network(network, *, batch_norm_folded):
    """Return {key: text} of a Network and of how it is stored."""
    values = {key: getattr(network, field) for key, field in NETWORK.items()}
    values['pred_layer_name'] = network.logits
    return {
        'format_version': FORMAT_VERSION,
        'batch_norm_folded': str(int(batch_norm_folded)),
        **{key: _text(value) for key, value in values.items()},
    }


def describe(network, settings, *, class_names=None, weights_sha256=None):
    """Return {key: text} of what the network is to be given, and of where it comes from.

    Args:
        network: models.network.Network.
        settings: {name: value} of the options CLIPS, as flags.parse gives them.
        class_names: num_labels texts.
        weights_sha256: of the weight file, in hexadecimal.

    Raises:
        InputError: a setting that is missing or impossible, names that are too few or too many.
    """
    values = {name: settings.get(name) for name in CLIPS}
    missing = [name for name in CLIPS if values[name] is None and name != 'short_edge']
    if missing:
        raise InputError(f'{missing[0]} is not given; the file is to say how clips are made')
    if values['short_edge'] is None:  # as options.clip_settings has it
        values['short_edge'] = min(values['scale_h'], values['scale_w'])
    metadata = {name: _text(value) for name, value in values.items()}
    mean, deviation = normalization(values['input_type'], values['flow_data_type'])
    metadata.update(channel_mean=json.dumps(mean), channel_std=json.dumps(deviation))
    if class_names is not None:
        metadata['labels'] = json.dumps(list(class_names), ensure_ascii=False)
    if weights_sha256 is not None:
        metadata['weights_sha256'] = weights_sha256
    clips_and_names(network, metadata)  # as a reader checks it
    return metadata


def normalization(input_type, flow_data_type):
    """Return the lists (mean, standard deviation) of the channels, in their order.

    The magnitude of a flow is |x| + |y| of the normalized x and y, itself normalized.
    """
    flow = FlowSettings(data_type=flow_data_type) if input_type == 'flow' else None
    mean, deviation = Input(flow=flow).statistics
    return list(mean), list(deviation)


def clips_and_names(network, metadata):
    """Return (settings, class names) as `clip_settings` and `class_names` do.

    Raises:
        InputError: `metadata` describes nothing that `network` takes, or has a strange checksum.
    """
    digest = metadata.get('weights_sha256')
    if digest is not None and not SHA256.fullmatch(digest):
        raise InputError(f'weights_sha256 is {digest[:80]!r}; it has 64 hexadecimal digits')
    return clip_settings(network, metadata), class_names(network, metadata)


def network_of(metadata):
    """Return (Network, whether batch norms are folded) that the texts tell of."""
    values = {field: _parsed(metadata, key) for key, field in NETWORK.items()}
    last = values.pop('pred_layer_name')
    if not _is_plain(last):
        raise InputError(f'pred_layer_name is {last!r}; it is one plain line')
    network = Network(**values)
    if network.logits != last:
        network = dataclasses.replace(network, pred_layer_name=last)
    return network, _parsed(metadata, 'batch_norm_folded', flag_types.bit)


def clip_settings(network, metadata):
    """Return {option: value} of CLIPS and of what the network decides, {} where there are none.

    Raises:
        InputError: not all of them, a wrong value, or clips that the network does not take.
    """
    if not any(name in metadata for name in (*CLIPS, 'channel_mean', 'channel_std')):
        return {}
    settings = {name: _parsed(metadata, name) for name in CLIPS}
    length = 'clip_length_of' if settings['input_type'] == 'flow' else 'clip_length_rgb'
    settings[length] = network.clip_length
    settings.update(crop_size=network.crop_size, num_channels=network.num_channels)
    args = flags.parse('', flags.NETWORK, flags.CLIPS, argv=[])
    from_flags.clip_settings(argparse.Namespace(**{**vars(args), **settings}))  # it checks them
    expected = normalization(settings['input_type'], settings['flow_data_type'])
    for key, numbers in zip(('channel_mean', 'channel_std'), expected):
        if _json(metadata, key) != numbers:
            raise InputError(f'{key} is {metadata[key]!r}; clips are normalized with {numbers}')
    return settings


def class_names(network, metadata):
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


def _parsed(metadata, key, kind=None):
    text = metadata.get(key)
    if text is None:
        raise InputError(f'{key} is not among the metadata')
    if len(text) > LONGEST_VALUE:
        raise InputError(f'{key} has {len(text)} characters; at most {LONGEST_VALUE}')
    try:
        value = (kind or TYPES[key][0])(text)
    except argparse.ArgumentTypeError as error:
        raise InputError(f'{key}: {error}') from None
    if isinstance(value, int) and value > LARGEST_VALUE:
        raise InputError(f'{key} is {text}; at most {LARGEST_VALUE}')
    return value


def _json(metadata, key):
    try:
        # Integers of a million digits take Python minutes; nothing here has use for integers.
        return json.loads(metadata.get(key, ''), parse_int=float)
    except (ValueError, RecursionError):
        raise InputError(f'{key} is missing, or not JSON') from None


def _is_plain(text):
    """No control characters, which would do things to a terminal, and nothing but Unicode."""
    return not any(unicodedata.category(c) in ('Cc', 'Cs') and c != '\t' for c in text)


def _text(value):
    return str(int(value)) if isinstance(value, bool) else str(value)
