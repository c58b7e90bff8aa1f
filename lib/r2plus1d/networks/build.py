"""The one builder: from a row of the zoo to calls of the methods of a Layers object."""

from typing import Any

from r2plus1d.networks import c3d, resnet3d
from r2plus1d.networks.network import Network


def build_on(stack: Any, network: Network, loss_scale: float = 1.0) -> list[Any]:
    """Add `network` to `stack`, which has the methods of layers.Layers; returns [loss]."""
    trunk = c3d.build if network.is_c3d else resnet3d.build
    features, width = trunk(stack, network)
    if network.use_dropout and not network.is_c3d:
        features = stack.dropout(features)
    if network.use_convolutional_pred:
        logits = stack.conv(
            features, network.logits, width, network.num_labels, (1, 1, 1), pad=(0, 0, 0), bias=True
        )
        stack.positions_head(logits)
        return []
    logits = stack.fc(features, network.logits, width, network.num_labels)
    if network.multi_label:
        return [stack.sigmoid_head(logits, network.num_labels, loss_scale)]
    return [stack.softmax_head(logits, loss_scale)]
