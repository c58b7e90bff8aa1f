"""Every ResNet of the zoo, from one row of ARCHITECTURES and a depth."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import (
    ARCHITECTURES,
    BLOCKS,
    BOTTLENECKS,
    SIMPLE,
    is_bottleneck,
)

Size = tuple[int, int, int]  # along t, h, w

STAGE_FILTERS = (64, 128, 256, 512)
BOTTLENECK_FACTOR = 4  # what leaves a bottleneck, to what is inside
STEM_FILTERS = 64
STEM_MIDDLE = 45  # the paper's choice; middle_filters() would give 83 for three channels
KERNEL = 3
STEM_KERNEL = 7
STEM_STRIDE = (1, 2, 2)
POOL_KERNEL, POOL_PAD = (1, 3, 3), (0, 1, 1)
CLIP_KERNELS = {'2d': 1, '3d': KERNEL}
# Side of the last average pool; a larger crop has more than one place for it.
POOLED_SIDE = 7
POOLED_SIDES = {224: 14, 256: 14}  # without pool1


class Convolution(NamedTuple):
    """How a stage convolves.

    Attributes:
        kernel: of the convolution.
        depthwise: whether each filter reads one channel only.
        middle: kernel of a convolution before it, which has its own batch norm; None for none.
        relu: whether a ReLU follows that batch norm.
        is_shared: whether both convolutions of a block have the first one's filters in the middle.
    """

    kernel: Size
    depthwise: bool = False
    middle: Optional[Size] = None
    relu: bool = True
    is_shared: bool = False


CONVOLUTIONS = {
    '1x1': Convolution((1, 1, 1)),
    '2d': Convolution((1, KERNEL, KERNEL)),
    '3d': Convolution((KERNEL, KERNEL, KERNEL)),
    '2+1d': Convolution((KERNEL, 1, 1), middle=(1, KERNEL, KERNEL)),
    '2+1d_shared': Convolution((KERNEL, 1, 1), middle=(1, KERNEL, KERNEL), is_shared=True),
    'ir': Convolution((KERNEL, KERNEL, KERNEL), depthwise=True),
    'ip': Convolution((KERNEL, KERNEL, KERNEL), depthwise=True, middle=(1, 1, 1), relu=False),
}


class Layer(NamedTuple):
    """One convolution of a block: its number in the names, its kind and its numbers of channels.

    Attributes:
        counted: channels from which its filters in the middle are computed; None for its own.
    """

    number: int
    kind: str
    channels: int
    filters: int
    downsample: bool = False
    counted: Optional[int] = None


def middle_filters(channels: int, filters: int, *, t: int = KERNEL, d: int = KERNEL) -> int:
    """Filters between the halves of a (2+1)D convolution with a t x d x d one's parameters.

    Source: section 3.5 of the paper, M_i = floor(t d^2 N_{i-1} N_i / (d^2 N_{i-1} + t N_i)).
    """
    return t * d * d * channels * filters // (d * d * channels + t * filters)


def build(layers: Any, network: Network) -> tuple[Any, int]:
    """Add the network up to its pooled features; returns their blob `final_avg` and its width."""
    stem, *stages = ARCHITECTURES[network.architecture]
    blob = _stem(layers, stem, network)
    if network.use_pool1:
        blob = layers.max_pool(blob, 'pool1', POOL_KERNEL, stride=STEM_STRIDE, pad=POOL_PAD)
    index, channels = 0, network.channels(STEM_FILTERS)
    blocks = BLOCKS[network.depth]
    for stage, (kind, filters, count) in enumerate(zip(stages, STAGE_FILTERS, blocks), 2):
        for block in range(count):
            downsample = stage > 2 and block == 0
            convolutions = _block(network, kind, channels, filters, downsample)
            blob = _residual(layers, blob, index, convolutions)
            index, channels = index + 1, convolutions[-1].filters
    side = POOLED_SIDE if network.use_pool1 else POOLED_SIDES.get(network.crop_size, POOLED_SIDE)
    length = final_length(network.clip_length, stem, stages)
    return layers.average_pool(blob, 'final_avg', (length, side, side)), channels


def final_length(clip_length: int, stem: str, stages: Sequence[str]) -> int:
    """Frames left before the last pool: res3 to res5 halve the clip unless they are 2D."""
    length = 1 if stem == 'clip' else clip_length
    for kind in stages[1:]:
        length //= _strides(kind)[0]
    return length


def _stem(layers: Any, kind: str, network: Network) -> Any:
    channels, filters = network.num_channels, network.channels(STEM_FILTERS)
    if kind == '2+1d':
        middle, square, pad = (
            network.channels(STEM_MIDDLE),
            (1, STEM_KERNEL, STEM_KERNEL),
            (0, 3, 3),
        )
        blob = layers.conv(
            'data', 'conv1_middle', channels, middle, square, stride=STEM_STRIDE, pad=pad
        )
        blob = layers.relu(layers.bn(blob, 'conv1_middle_spatbn_relu', middle))
        blob = layers.conv(blob, 'conv1', middle, filters, (KERNEL, 1, 1), pad=(1, 0, 0))
    else:
        t = network.clip_length if kind == 'clip' else CLIP_KERNELS[kind]
        kernel, pad = (t, STEM_KERNEL, STEM_KERNEL), (0 if kind == 'clip' else t // 2, 3, 3)
        blob = layers.conv('data', 'conv1', channels, filters, kernel, stride=STEM_STRIDE, pad=pad)
    return layers.relu(layers.bn(blob, 'conv1_spatbn_relu', filters))


def _block(
    network: Network, kind: str, channels: int, filters: int, downsample: bool
) -> list[Layer]:
    """The convolutions of a block: two of one kind, or one between two that change the width."""
    inner, outer = network.channels(filters), network.channels(BOTTLENECK_FACTOR * filters)
    if is_bottleneck(network.depth):
        first, middle, last = BOTTLENECKS[kind]
        return [
            Layer(first, '1x1', channels, inner),
            Layer(middle, kind, inner, inner, downsample),
            Layer(last, '1x1', inner, outer),
        ]
    first, last = SIMPLE[kind]
    counted = channels if CONVOLUTIONS[kind].is_shared else None
    return [
        Layer(first, kind, channels, inner, downsample),
        Layer(last, kind, inner, inner, counted=counted),
    ]


def _residual(layers: Any, blob: Any, index: int, convolutions: list[Layer]) -> Any:
    """Convolutions with ReLUs between, and the shortcut added before the last ReLU."""
    out = blob
    for layer in convolutions:
        out = _conv_bn(layers, out, f'comp_{index}', layer)
        if layer is not convolutions[-1]:
            out = layers.relu(out)
    channels, filters = convolutions[0].channels, convolutions[-1].filters
    downsamples = [layer.kind for layer in convolutions if layer.downsample]
    if downsamples or channels != filters:
        shortcut = f'shortcut_projection_{index}'
        stride = _strides(downsamples[0]) if downsamples else (1, 1, 1)
        blob = layers.conv(blob, shortcut, channels, filters, (1, 1, 1), stride=stride)
        # In simple blocks the original leaves it to Caffe2, whose default is the same 0.9.
        momentum = {} if len(convolutions) > 2 else {'momentum': None}
        blob = layers.bn(blob, f'{shortcut}_spatbn', filters, **momentum)
    return layers.relu(layers.add([blob, out], f'comp_{index}_sum_{convolutions[-1].number}'))


def _conv_bn(layers: Any, blob: Any, block: str, layer: Layer) -> Any:
    """One Layer with its batch norms."""
    how = CONVOLUTIONS[layer.kind]
    name, norm = f'{block}_conv_{layer.number}', f'{block}_spatbn_{layer.number}'
    channels, filters = layer.channels, layer.filters
    if how.middle:
        counted = layer.counted or channels
        middle = filters if how.depthwise else middle_filters(counted, filters)
        stride = _stride(how.middle, layer.downsample)
        blob = layers.conv(
            blob, f'{name}_middle', channels, middle, how.middle, stride=stride,
            pad=_pad(how.middle),
        )  # fmt: skip
        blob = layers.bn(blob, f'{norm}_middle', middle)
        blob, channels = layers.relu(blob) if how.relu else blob, middle
    blob = layers.conv(
        blob, name, channels, filters, how.kernel, stride=_stride(how.kernel, layer.downsample),
        pad=_pad(how.kernel), group=channels if how.depthwise else 1,
    )  # fmt: skip
    return layers.bn(blob, norm, filters)


def _pad(kernel: Size) -> Size:
    t, h, w = (size // 2 for size in kernel)
    return t, h, w


def _stride(kernel: Size, downsample: bool) -> Size:
    """The stride of a convolution that halves what its kernel reaches along, if it downsamples."""
    t, h, w = (2 if downsample and size > 1 else 1 for size in kernel)
    return t, h, w


def _strides(kind: str) -> Size:
    """The stride of a whole block that downsamples."""
    how = CONVOLUTIONS[kind]
    kernels = [how.kernel, *([how.middle] if how.middle else [])]
    t, h, w = (max(along) for along in zip(*(_stride(kernel, True) for kernel in kernels)))
    return t, h, w
