"""PyTorch's names of parameters, and Caffe2's: from one to the other, and back.

torchvision's video networks, and ig65m-pytorch's after them:

    stem.0.weight                       conv1_w, or conv1_middle_w of a (2+1)D stem
    layer2.0.conv1.0.0.weight           comp_2_conv_1_middle_w
    layer2.0.conv1.1.running_mean       comp_2_spatbn_1_rm
    layer2.0.downsample.0.weight        shortcut_projection_2_w
    fc.bias                             last_out_L400_b

Caffe2 counts blocks over all stages. mmaction2 has `backbone.layer2.0.conv1.conv.weight` and the
like for the same arrays. Entries of other networks, such as C3D, keep the names of their layers.
"""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Optional

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.copies import TORCH_EPSILON
from r2plus1d.networks.network import BN_EPSILON, Network
from r2plus1d.networks.zoo import BLOCKS
from r2plus1d.weights.infer import infer

STAGES = (1, 2, 3, 4)
COUNTER = 'num_batches_tracked'  # counts training batches; nothing is computed from it
NORM = {'weight': 's', 'bias': 'b', 'running_mean': 'rm', 'running_var': 'riv'}
PRODUCT = {'weight': 'w', 'bias': 'b'}
LISTED = 5

STEM = {'stem.0': 'conv1', 'stem.1': 'conv1_spatbn_relu'}
FACTORED_STEM = {
    'stem.0': 'conv1_middle',
    'stem.1': 'conv1_middle_spatbn_relu',
    'stem.3': 'conv1',
    'stem.4': 'conv1_spatbn_relu',
}
# In a block: the end of an entry's layer -> the layer in Caffe2; {n} is a convolution's number.
# What stands between the halves of a convolution decides where the second one is: a batch norm and
# a ReLU, or a batch norm alone.
HALVES = {'.0.0': 'conv_{n}_middle', '.0.1': 'spatbn_{n}_middle', '.0.2': 'conv_{n}',
          '.0.3': 'conv_{n}', '.0': 'conv_{n}', '.1': 'spatbn_{n}'}  # fmt: skip
SHORTCUT = {
    'downsample.0': 'shortcut_projection_{i}',
    'downsample.1': 'shortcut_projection_{i}_spatbn',
}
OTHERS = re.compile(r'conv\d[ab](_bn)?|fc[67]|pred_logit')  # layers whose names are the same

PLACE = re.compile(r'layer([1-4])\.(\d{1,3})\.(.+)')
CONVOLUTION = re.compile(r'conv([123])((?:\.\d){1,2})')
IN_BLOCK = re.compile(r'comp_(\d+)_(conv|spatbn)_(\d)(_middle)?')
PROJECTION = re.compile(r'shortcut_projection_(\d+)(_spatbn)?')
STATE_DICT = re.compile(r'(backbone\.)?layer1\.0\.conv1\.|conv1a\.weight$')
# mmaction2's ends of layers -> torchvision's
MMACTION = (
    (re.compile(r'cls_head\.fc_cls$'), 'fc'),
    (re.compile(r'backbone\.conv1\.conv$'), 'stem.0'),
    (re.compile(r'backbone\.conv1\.bn$'), 'stem.1'),
    (re.compile(r'backbone\.(layer[1-4]\.\d+\.(?:conv[123]|downsample))\.conv$'), r'\1.0'),
    (re.compile(r'backbone\.(layer[1-4]\.\d+\.(?:conv[123]|downsample))\.bn$'), r'\1.1'),
)
DEPTHWISE = re.compile(r'backbone\.(layer[1-4]\.\d+\.conv2)\.([01])\.(conv|bn)$')


def is_state_dict(names: Iterable[str]) -> bool:
    """Whether these are the names of a PyTorch network's parameters, one that is known here."""
    return any(STATE_DICT.match(name) for name in names)


def from_state_dict(
    entries: Mapping[str, np.ndarray], *, source: str, last: Optional[str] = None
) -> dict[str, np.ndarray]:
    """Return {blob: array} of the entries of a state dict, each used once.

    Args:
        entries: {name: array}, of torchvision, ig65m-pytorch or mmaction2.
        source: the file's name, for messages.
        last: name of the last layer; None is last_out_L and its number of labels.

    Raises:
        InputError: entries that are not of one of our networks; the message names them.
    """
    layers: dict[str, dict[str, np.ndarray]] = {}
    for name, array in entries.items():
        layer, _, part = name.rpartition('.')
        if part != COUNTER:
            layers.setdefault(layer, {})[part] = array
    layers = _of_torchvision(layers, source)
    for part in PRODUCT if 'fc' in layers else ():
        if part not in layers['fc']:
            raise InputError(f'{source}: the last layer, fc, has no {part}')
        if not layers['fc'][part].ndim:
            raise InputError(f'{source}: the last layer, fc, has one number as its {part}')
    names = _blob_layers(layers, last)
    blobs: dict[str, np.ndarray] = {}
    strange = []
    for layer, parts in layers.items():
        ends = NORM if 'running_mean' in parts else PRODUCT
        for part, array in parts.items():
            blob = f'{names[layer]}_{ends[part]}' if names[layer] and part in ends else None
            if blob is None or blob in blobs:
                strange.append(f'{layer}.{part}')
            else:
                blobs[blob] = array
    if strange:
        more = f' and {len(strange) - LISTED} more' if len(strange) > LISTED else ''
        raise InputError(
            f'{source}: {", ".join(strange[:LISTED])}{more}: no entries of a network that is '
            'known here; names are those of torchvision or mmaction2'
        )
    return blobs


def _of_torchvision(
    layers: Mapping[str, dict[str, np.ndarray]], source: str
) -> dict[str, dict[str, np.ndarray]]:
    """Layers under torchvision's names."""
    found: dict[str, dict[str, np.ndarray]] = {}
    named: dict[str, str] = {}
    for layer, parts in layers.items():
        name = _torchvision(layer, layers)
        if name in found:
            raise InputError(f'{source}: {named[name]} and {layer} are both the layer {name}')
        found[name], named[name] = parts, layer
    return found


def with_blob_names(
    arrays: dict[str, np.ndarray], card: Optional[dict[str, str]], path: object
) -> tuple[dict[str, np.ndarray], Optional[dict[str, str]]]:
    """Return (blobs, card) of what a file holds, under whichever names.

    A state dict does not say the epsilon of its batch norms. Where the card does not either, what
    `epsilon_of` takes for it is put into the card.

    Raises:
        InputError: as from_state_dict.
    """
    if not is_state_dict(arrays):
        return arrays, card
    said = card or {}
    blobs = from_state_dict(arrays, source=str(path), last=said.get('pred_layer_name'))
    epsilon = epsilon_of(infer(blobs))
    if 'bn_epsilon' in said or 'model_name' in said or epsilon == BN_EPSILON:
        return blobs, card
    return blobs, {**said, 'bn_epsilon': str(epsilon)}


def epsilon_of(network: Mapping[str, object]) -> float:
    """Return the epsilon of the batch norms of a state dict that does not say it.

    The original's (2+1)D and channel-separated networks exist in PyTorch as ports of its weights
    only, which keep its epsilon. All others are taken for PyTorch's own.

    Args:
        network: {field of Network: value}, as infer returns.
    """
    is_port = network.get('architecture') in ('r2plus1d', 'ir-csn', 'ip-csn', 'c3d')
    return BN_EPSILON if is_port else TORCH_EPSILON


def to_state_dict(network: Network, parameters: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return {entry: array} of a network's parameters, in the order and names of torchvision.

    Args:
        parameters: {blob: array}, complete.

    Returns:
        float32 arrays as they are, and for each batch norm a counter of 0 (int64).
    """
    entries: dict[str, np.ndarray] = {}
    for name, blob in names_of(network).items():
        array = parameters[blob]
        # Where the last layer is a convolution of 1 x 1 x 1, PyTorch has a matrix all the same.
        entries[name] = array.reshape(len(array), -1) if name == 'fc.weight' else array
        if name.endswith('.running_var'):
            entries[name.replace('running_var', COUNTER)] = np.array(0, np.int64)
    return entries


def names_of(network: Network) -> dict[str, str]:
    """Return {entry: blob} of every parameter of `network`, in the order of a state dict."""
    shapes = graph.trace(network).parameters
    found = {}
    for blob in shapes:
        layer, _, end = blob.rpartition('_')
        if end in ('rm', 'riv'):  # they are listed at the end; here they follow their shift
            continue
        is_norm = f'{layer}_rm' in shapes
        if is_norm and end == 'b':
            continue
        entry = _entry_layer(layer, network)
        ends = NORM if is_norm else {part: e for part, e in PRODUCT.items() if e == end}
        found.update({f'{entry}.{part}': f'{layer}_{its_end}' for part, its_end in ends.items()})
    return found


def _torchvision(layer: str, layers: Collection[str]) -> str:
    """The name in torchvision of a layer that may have mmaction2's."""
    for pattern, name in MMACTION:
        if pattern.match(layer):
            return pattern.sub(name, layer)
    found = DEPTHWISE.match(layer)
    if not found:
        return layer
    conv, place, kind = found.groups()
    if f'backbone.{conv}.1.conv' not in layers:  # a depthwise convolution alone
        return f'{conv}.{0 if kind == "conv" else 1}'
    if place == '0':
        return f'{conv}.0.{0 if kind == "conv" else 1}'
    return f'{conv}.0.2' if kind == 'conv' else f'{conv}.1'


def _blob_layers(
    layers: Mapping[str, Mapping[str, np.ndarray]], last: Optional[str]
) -> dict[str, Optional[str]]:
    """{layer of entries: layer of blobs, None for one that no network has}."""
    counts = [0] * len(STAGES)
    for layer in layers:
        if found := PLACE.fullmatch(layer):
            stage, block = int(found[1]) - 1, int(found[2])
            counts[stage] = max(counts[stage], block + 1)
    firsts = list(itertools.accumulate([0, *counts]))
    stem = FACTORED_STEM if 'stem.3' in layers else STEM
    fixed: dict[str, Optional[str]] = {**stem}
    if 'fc' in layers:
        fixed['fc'] = last or f'last_out_L{len(layers["fc"]["weight"])}'
    return {
        layer: fixed.get(layer) or _same(layer) or _in_block(layer, layers, firsts)
        for layer in layers
    }


def _same(layer: str) -> Optional[str]:
    return layer if OTHERS.fullmatch(layer) else None


def _in_block(
    layer: str, layers: Mapping[str, Mapping[str, np.ndarray]], firsts: list[int]
) -> Optional[str]:
    place = PLACE.fullmatch(layer)
    if not place:
        return None
    index = firsts[int(place[1]) - 1] + int(place[2])
    if place[3] in SHORTCUT:
        return SHORTCUT[place[3]].format(i=index)
    found = CONVOLUTION.fullmatch(place[3])
    if not found or found[2] not in HALVES:
        return None
    number = int(found[1])
    if number > 1 and _is_depthwise(layers.get(f'layer{place[1]}.{place[2]}.conv2.0')):
        number += 1  # an ir-CSN block has no second convolution
    return f'comp_{index}_{HALVES[found[2]].format(n=number)}'


def _is_depthwise(parts: Optional[Mapping[str, np.ndarray]]) -> bool:
    shape = parts['weight'].shape if parts and 'weight' in parts else ()
    return len(shape) == 5 and shape[1] == 1 and shape[0] > 1 and min(shape[2:]) > 1


def _entry_layer(layer: str, network: Network) -> str:
    """The name in a state dict of a layer of blobs."""
    shapes = graph.trace(network).parameters
    stem = FACTORED_STEM if 'conv1_middle_w' in shapes else STEM
    fixed = {name: entry for entry, name in stem.items()}
    if layer == network.logits:
        return 'fc'
    if layer in fixed:
        return fixed[layer]
    if found := PROJECTION.fullmatch(layer):
        return f'{_block_place(int(found[1]), network)}.downsample.{1 if found[2] else 0}'
    found = IN_BLOCK.fullmatch(layer)
    if not found:
        return layer
    index, kind, number, middle = int(found[1]), found[2], int(found[3]), found[4]
    numbers = [n for n in range(1, 5) if f'comp_{index}_conv_{n}_w' in shapes]
    conv = f'{_block_place(index, network)}.conv{numbers.index(number) + 1}'
    between = shapes.get(f'comp_{index}_conv_{number}_middle_w')
    if middle:
        return f'{conv}.0.{0 if kind == "conv" else 1}'
    if kind == 'spatbn':
        return f'{conv}.1'
    if between is None:
        return f'{conv}.0'
    return f'{conv}.0.{2 if between[2:] == (1, 1, 1) else 3}'


def _block_place(index: int, network: Network) -> str:
    firsts = list(itertools.accumulate([0, *BLOCKS[network.depth]]))
    stage = max(stage for stage in STAGES if firsts[stage - 1] <= index)
    return f'layer{stage}.{index - firsts[stage - 1]}'
