"""C3D, the VGG-style 3D network, from a table of layers."""

from typing import Any

from r2plus1d.networks.network import Network

KERNEL = (3, 3, 3)
PAD = (1, 1, 1)
# (convolutions as (name, filters), pool that follows, its kernel and stride)
GROUPS = (
    ((('conv1a', 64),), 'pool1', (1, 2, 2)),
    ((('conv2a', 128),), 'pool2', (2, 2, 2)),
    ((('conv3a', 256), ('conv3b', 256)), 'pool3', (2, 2, 2)),
    ((('conv4a', 512), ('conv4b', 512)), 'pool4', (2, 2, 2)),
    ((('conv5a', 512), ('conv5b', 512)), 'pool5', (2, 2, 2)),
)
POOLED_PLACES = 1 * 3 * 3  # of pool5 for an input of 16 x 112 x 112
FC_SIZE = 4096


def build(layers: Any, network: Network) -> tuple[Any, int]:
    """Add C3D up to its last hidden layer; returns the blob `fc7_dropout` and its width."""
    blob, channels = 'data', network.num_channels
    for convs, pool, kernel in GROUPS:
        for name, filters in convs:
            filters = network.channels(filters)
            blob = layers.conv(blob, name, channels, filters, KERNEL, pad=PAD, bias=True)
            blob = layers.relu(layers.bn(blob, f'{name}_bn', filters))
            channels = filters
        blob = layers.max_pool(blob, pool, kernel)
    width = network.channels(FC_SIZE)
    for name, size in (('fc6', channels * POOLED_PLACES), ('fc7', width)):
        blob = layers.dropout(layers.relu(layers.fc(blob, name, size, width)))
    return blob, width
