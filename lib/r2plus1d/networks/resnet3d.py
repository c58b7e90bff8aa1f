"""Every ResNet of the zoo, 2D, 3D, mixed and (2+1)D, from one row of ARCHITECTURES."""

from collections.abc import Sequence
from typing import Any

from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, BLOCKS

STAGE_FILTERS = (64, 128, 256, 512)
STEM_FILTERS = 64
STEM_MIDDLE = 45  # the paper's choice; middle_filters() would give 83 for three channels
TOTAL_SPATIAL_STRIDE = 16
KERNEL = 3
STEM_KERNEL = 7
STEM_STRIDE = (1, 2, 2)
CLIP_KERNELS = {'2d': 1, '3d': KERNEL}


def middle_filters(channels: int, filters: int, *, t: int = KERNEL, d: int = KERNEL) -> int:
    """Filters between the halves of a (2+1)D convolution with a t x d x d one's parameters.

    Source: section 3.5 of the paper, M_i = floor(t d^2 N_{i-1} N_i / (d^2 N_{i-1} + t N_i)).
    """
    return t * d * d * channels * filters // (d * d * channels + t * filters)


def build(layers: Any, network: Network) -> tuple[Any, int]:
    """Add the network up to its pooled features; returns their blob `final_avg` and its width."""
    stem, *stages = ARCHITECTURES[network.architecture]
    blob = _stem(layers, stem, network)
    index, channels = 0, network.channels(STEM_FILTERS)
    blocks = BLOCKS[network.depth]
    for stage, (kind, filters, count) in enumerate(zip(stages, STAGE_FILTERS, blocks), 2):
        for block in range(count):
            downsample = stage > 2 and block == 0
            width = network.channels(filters)
            blob = _block(layers, blob, index, kind, channels, width, downsample)
            index, channels = index + 1, width
    size = network.crop_size // TOTAL_SPATIAL_STRIDE
    length = final_length(network.clip_length, stem, stages)
    return layers.average_pool(blob, 'final_avg', (length, size, size)), channels


def final_length(clip_length: int, stem: str, stages: Sequence[str]) -> int:
    """Frames left before the last pool: res3 to res5 halve the clip unless they are 2D."""
    length = 1 if stem == 'clip' else clip_length
    for kind in stages[1:]:
        length = length if kind == '2d' else length // 2
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
    layers: Any, blob: Any, index: int, kind: str, channels: int, filters: int, downsample: bool
) -> Any:
    """A simple block: two convolutions, and the shortcut added before the last ReLU."""
    spatial = 2 if downsample else 1
    temporal = 1 if kind == '2d' else spatial
    name = f'comp_{index}'
    out = _conv_bn(layers, blob, name, 1, kind, channels, filters, (temporal, spatial))
    out = _conv_bn(layers, layers.relu(out), name, 2, kind, filters, filters, (1, 1))
    if downsample or channels != filters:
        shortcut = f'shortcut_projection_{index}'
        strides = (temporal, spatial, spatial)
        blob = layers.conv(blob, shortcut, channels, filters, (1, 1, 1), stride=strides)
        # The original leaves this one's momentum to Caffe2, whose default is the same 0.9.
        blob = layers.bn(blob, f'{shortcut}_spatbn', filters, momentum=None)
    return layers.relu(layers.add([blob, out], f'{name}_sum_2'))


def _conv_bn(
    layers: Any, blob: Any, block: str, number: int, kind: str, channels: int, filters: int,
    strides: tuple[int, int],
) -> Any:  # fmt: skip
    temporal, spatial = strides
    conv, bn = f'{block}_conv_{number}', f'{block}_spatbn_{number}'
    if kind == '2+1d':
        middle = middle_filters(channels, filters)
        stride = (1, spatial, spatial)
        blob = layers.conv(
            blob, f'{conv}_middle', channels, middle, (1, 3, 3), stride=stride, pad=(0, 1, 1)
        )
        blob = layers.relu(layers.bn(blob, f'{bn}_middle', middle))
        blob = layers.conv(
            blob, conv, middle, filters, (3, 1, 1), stride=(temporal, 1, 1), pad=(1, 0, 0)
        )
    else:
        t = CLIP_KERNELS[kind]
        stride, pad = (temporal, spatial, spatial), (t // 2, 1, 1)
        blob = layers.conv(blob, conv, channels, filters, (t, 3, 3), stride=stride, pad=pad)
    return layers.bn(blob, bn, filters)
