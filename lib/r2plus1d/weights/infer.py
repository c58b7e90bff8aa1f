"""Which network weights are of, as far as their names and shapes decide it."""

import math
import re
from collections.abc import Mapping
from typing import Optional

import numpy as np

from r2plus1d.networks.c3d import GROUPS
from r2plus1d.networks.input import EXTRA_CHANNELS, FlowSettings
from r2plus1d.networks.resnet3d import STAGE_FILTERS, STEM_FILTERS, STEM_MIDDLE
from r2plus1d.networks.zoo import ARCHITECTURES, BLOCKS, C3D, C3D_INPUT

BLOCK = re.compile(r'comp_(\d+)_conv_(1|2)_w')
HEAD = re.compile(r'last_out_L(\d+)')
C3D_STEM = GROUPS[0][0][0][0]
LARGEST_DIGITS = 4  # of a plain width


def infer(blobs: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return the fields of networks.network.Network that `blobs` decide, {field: value}.

    The clip length is among them only where a kernel or a layer has its size. What does not look
    like any network of the zoo decides nothing; matching then says what is missing.
    """
    shapes = {name: tuple(array.shape) for name, array in blobs.items()}
    trunk = _c3d(shapes) if f'{C3D_STEM}_w' in shapes else _resnet(shapes)
    return {**trunk, **_head(shapes)} if trunk else {}


def infer_flow(network: Mapping[str, object]) -> Optional[str]:
    """Return the flow that the number of channels of `network` tells, None if it tells none.

    Args:
        network: {field of Network: value}.

    Returns:
        A key of EXTRA_CHANNELS. Three channels may be RGB or flow, and tell nothing.
    """
    counts = {name: FlowSettings(data_type=name).channels for name in EXTRA_CHANNELS}
    fitting = [name for name, count in counts.items() if count == network.get('num_channels')]
    return fitting[0] if len(fitting) == 1 else None


def _c3d(shapes: Mapping[str, tuple]) -> dict[str, object]:
    stem = shapes[f'{C3D_STEM}_w']
    if len(stem) != 5:
        return {}
    length, size = C3D_INPUT
    first = GROUPS[0][0][0][1]
    width = _width({first: stem[0]})
    return {
        'architecture': C3D, 'clip_length': length, 'crop_size': size, 'num_channels': stem[1],
        **({'width': width} if width else {}),
    }  # fmt: skip


def _resnet(shapes: Mapping[str, tuple]) -> dict[str, object]:
    stem, middle = shapes.get('conv1_w'), shapes.get('conv1_middle_w')
    blocks = _blocks(shapes)
    if stem is None or len(stem) != 5 or not blocks:
        return {}
    # res3 to res5 begin with a projection; numbers of filters may be the same in narrow networks.
    firsts = [n for n in range(len(blocks)) if n == 0 or f'shortcut_projection_{n}_w' in shapes]
    ends = [*firsts[1:], len(blocks)]
    counts = tuple(end - first for first, end in zip(firsts, ends))
    depth = next((depth for depth, known in BLOCKS.items() if known == counts), None)
    if depth is None:
        return {}
    kinds = tuple(blocks[first][1] for first in firsts)
    stem_kind = '2+1d' if middle else {1: '2d', 3: '3d'}.get(stem[2], 'clip')
    names = [name for name, row in ARCHITECTURES.items() if row == (stem_kind, *kinds)]
    made = {STEM_FILTERS: stem[0], **dict(zip(STAGE_FILTERS, (blocks[f][0] for f in firsts)))}
    if middle:
        made[STEM_MIDDLE] = middle[0]
    width = _width(made)
    if not names or width is None:
        return {}
    found = {
        'architecture': names[0], 'depth': depth, 'num_channels': (middle or stem)[1],
        'width': width,
    }  # fmt: skip
    return {**found, 'clip_length': stem[2]} if stem_kind == 'clip' else found


def _blocks(shapes: Mapping[str, tuple]) -> list[tuple[int, str]]:
    """(filters, how it convolves) of each block; [] unless all of them are there."""
    numbers = {int(found.group(1)) for found in map(BLOCK.fullmatch, shapes) if found}
    blocks = []
    for number in range(len(numbers)):
        first = shapes.get(f'comp_{number}_conv_1_w', ())
        second = shapes.get(f'comp_{number}_conv_2_w', ())
        if len(first) != 5 or len(second) != 5:
            return []
        factored = f'comp_{number}_conv_1_middle_w' in shapes
        kind = '2+1d' if factored else {1: '2d', 3: '3d'}.get(first[2], '')
        blocks.append((second[0], kind))
    return blocks


def _width(made: Mapping[int, int]) -> Optional[float]:
    """The factor that makes each published number of channels what it is here, the plainest one."""
    # A layer has one channel at least, however narrow the network.
    low = max((here - 0.5) / published if here > 1 else 0 for published, here in made.items())
    high = min((here + 0.5) / published for published, here in made.items())
    scales = [10**digits for digits in range(LARGEST_DIGITS + 1)]
    plain = (math.ceil(low * scale) / scale for scale in scales)
    for width in (*plain, (low + high) / 2):
        if width > 0 and all(max(1, round(c * width)) == n for c, n in made.items()):
            return float(width)
    return None


def _head(shapes: Mapping[str, tuple]) -> dict[str, object]:
    """The last layer: its name, how many labels it has, and whether they exclude each other.

    It has a bias. The projections have none, whose 1 x 1 x 1 kernels may be kept as matrices.
    """
    scaled = [name for name in shapes if re.fullmatch(r'pred_logit(_L\d+)?_w', name)]
    inner = {'fc6_w', 'fc7_w', *scaled}
    outer = (
        name
        for name, shape in shapes.items()
        if name.endswith('_w')
        and len(shape) == 2
        and name not in inner
        and f'{name[:-1]}b' in shapes
    )
    layers = [name[:-2] for name in outer]
    if len(layers) != 1:
        return {}
    (name,) = layers
    labels = shapes[f'{name}_w'][0]
    found: dict[str, object] = {'num_labels': labels, 'multi_label': bool(scaled)}
    return found if HEAD.fullmatch(name) else {**found, 'pred_layer_name': name}


def infer_width_is_same(width: float, blobs: Mapping[str, np.ndarray]) -> bool:
    """Whether `width` makes the numbers of channels that `blobs` have."""
    published = {'conv1_w': STEM_FILTERS, 'conv1_middle_w': STEM_MIDDLE, 'conv1a_w': STEM_FILTERS}
    stems = [(blobs[name].shape[0], count) for name, count in published.items() if name in blobs]
    return bool(stems) and all(max(1, round(count * width)) == here for here, count in stems)
