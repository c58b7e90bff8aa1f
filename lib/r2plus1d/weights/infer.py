"""Which network weights are of, as far as their names and shapes decide it."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np

from r2plus1d.networks.c3d import FC_SIZE, GROUPS
from r2plus1d.networks.input import EXTRA_CHANNELS, FlowSettings
from r2plus1d.networks.resnet3d import (
    BOTTLENECK_FACTOR,
    CONVOLUTIONS,
    STAGE_FILTERS,
    STEM_FILTERS,
    STEM_MIDDLE,
    middle_filters,
)
from r2plus1d.networks.zoo import (
    ARCHITECTURES,
    BLOCKS,
    BOTTLENECKS,
    C3D,
    C3D_INPUT,
    SIMPLE,
    is_bottleneck,
)

BLOCK = re.compile(r'comp_(0|[1-9][0-9]{0,2})_conv_([0-9])_w')
SCALE = re.compile(r'pred_logit(_L\d+)?_w')  # a factor for each label
C3D_STEM = GROUPS[0][0][0][0]
LARGEST_DIGITS = 4  # of a plain width


def infer(blobs: Mapping[str, np.ndarray]) -> dict[str, object]:
    """Return the fields of networks.network.Network that `blobs` decide, {field: value}.

    The clip length is among them only where a kernel or a layer has its size, the number of labels
    only where one layer may be the last. Nothing tells whether there is a pool1, or how large crops
    are. What does not look like any network of the zoo decides
    nothing; matching then says what is missing.
    """
    shapes = _shapes(blobs)
    trunk = _c3d(shapes) if f'{C3D_STEM}_w' in shapes else _resnet(shapes)
    heads = _heads(shapes)
    return {**trunk, **(heads[0].fields if len(heads) == 1 else {})} if trunk else {}


def _shapes(blobs: Mapping[str, np.ndarray]) -> dict[str, tuple]:
    """{name: shape} of the blobs that a network may have.

    None of those is empty or one number, and the weights of layers are matrices at least.
    """
    return {
        name: tuple(array.shape)
        for name, array in blobs.items()
        if min(array.shape, default=0) > 0
        and (array.ndim > 1 or not name.endswith('_w') or SCALE.fullmatch(name))
    }


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
    convolutions = [pair for convs, *_ in GROUPS for pair in convs]
    named = {f'{name}_w': filters for name, filters in convolutions}
    width = _width({filters: shapes[name][0] for name, filters in named.items() if name in shapes})
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
    deep = len(blocks[0].numbers) == len(BOTTLENECKS['3d'])
    depths = [d for d, known in BLOCKS.items() if known == counts and is_bottleneck(d) == deep]
    if not depths:
        return {}
    kinds = [blocks[first].kind for first in firsts]
    if not deep and any(_shares_middle(shapes, first) for first in firsts):
        kinds = [{'2+1d': '2+1d_shared'}.get(kind, kind) for kind in kinds]
    stem_kind = '2+1d' if middle else {1: '2d', 3: '3d'}.get(stem[2], 'clip')
    names = [name for name, row in ARCHITECTURES.items() if row == (stem_kind, *kinds)]
    factor = BOTTLENECK_FACTOR if deep else 1
    outer = {factor * c: blocks[first].filters for c, first in zip(STAGE_FILTERS, firsts)}
    inner = {count: blocks[first].inner for count, first in zip(STAGE_FILTERS, firsts)}
    made = {STEM_FILTERS: stem[0], **inner, **outer}
    if middle:
        made[STEM_MIDDLE] = middle[0]
    width = _width(made)
    if not names or width is None:
        return {}
    found = {
        'architecture': names[0], 'depth': depths[0], 'num_channels': (middle or stem)[1],
        'width': width,
    }  # fmt: skip
    return {**found, 'clip_length': stem[2]} if stem_kind == 'clip' else found


class _Block(NamedTuple):
    """The numbers of a block's convolutions, how they convolve, the first and last's filters."""

    numbers: tuple[int, ...]
    kind: str
    inner: int
    filters: int


def _blocks(shapes: Mapping[str, tuple]) -> list[_Block]:
    """Each block; [] unless all of them are there, alike in their numbers."""
    found: dict[int, list[int]] = {}
    for match in filter(None, map(BLOCK.fullmatch, shapes)):
        found.setdefault(int(match.group(1)), []).append(int(match.group(2)))
    blocks = []
    for index in range(len(found)):
        numbers = tuple(sorted(found.get(index, ())))
        kind = _kind(shapes, f'comp_{index}_conv_', numbers)
        if kind is None:
            return []
        first, last = (shapes[f'comp_{index}_conv_{n}_w'][0] for n in (numbers[0], numbers[-1]))
        blocks.append(_Block(numbers, kind, first, last))
    return blocks if len({len(block.numbers) for block in blocks}) == 1 else []


def _kind(shapes: Mapping[str, tuple], name: str, numbers: Sequence[int]) -> Optional[str]:
    """How a block convolves, None if it is none of ours."""
    for kinds, place in ((SIMPLE, 0), (BOTTLENECKS, 1)):
        for kind in (kind for kind, own in kinds.items() if own == numbers):
            how, conv = CONVOLUTIONS[kind], f'{name}{numbers[place]}'
            kernels = (_kernel(shapes.get(f'{conv}{end}_w')) for end in ('', '_middle'))
            if tuple(kernels) == (how.kernel, how.middle):
                return kind
    return None


def _kernel(shape: Optional[tuple]) -> Optional[tuple]:
    """What a convolution of such weights reaches over; one of 1 x 1 x 1 may be a matrix."""
    return shape if shape is None else (1, 1, 1) if len(shape) == 2 else shape[2:]


def _shares_middle(shapes: Mapping[str, tuple], block: int) -> bool:
    """Whether the second convolution has the first one's filters in the middle, not its own."""
    first = shapes.get(f'comp_{block}_conv_1_middle_w')
    second = shapes.get(f'comp_{block}_conv_2_middle_w')
    if not first or not second or first[0] != second[0]:
        return False
    return second[0] != middle_filters(second[1], shapes[f'comp_{block}_conv_2_w'][0])


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


class Head(NamedTuple):
    """A layer that may be the last: its name, how many labels it has, and a sigmoid or not."""

    name: str
    labels: int
    multi_label: bool

    @property
    def fields(self) -> dict[str, object]:
        """{field of Network: value}."""
        found: dict[str, object] = {'num_labels': self.labels, 'multi_label': self.multi_label}
        is_default = self.name == f'last_out_L{self.labels}'
        return found if is_default else {**found, 'pred_layer_name': self.name}


def infer_heads(blobs: Mapping[str, np.ndarray]) -> list[Head]:
    """Return the layers of `blobs` that may be the last, in their order."""
    return _heads(_shapes(blobs))


def _heads(shapes: Mapping[str, tuple]) -> list[Head]:
    """They have a bias. Projections have none; their 1 x 1 x 1 kernels may be matrices."""
    scaled = [name for name in shapes if SCALE.fullmatch(name)]
    inner = {'fc6_w', 'fc7_w', *scaled}
    return [
        Head(name[:-2], shape[0], bool(scaled))
        for name, shape in shapes.items()
        if name.endswith('_w')
        and len(shape) in (2, 5)
        and _kernel(shape) == (1, 1, 1)
        and name not in inner
        and f'{name[:-1]}b' in shapes
    ]


def is_same_width(one: float, other: float, *, architecture: str) -> bool:
    """Whether two widths make the same numbers of channels in every layer."""
    counts = (STEM_MIDDLE, *STAGE_FILTERS, *([FC_SIZE] if architecture == C3D else []))
    return all(max(1, round(c * one)) == max(1, round(c * other)) for c in counts)
