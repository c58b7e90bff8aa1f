"""A network that trains in a moment, as flags of tools/train_net.py and as a Network."""

from r2plus1d.networks.network import Network

FLAGS = (
    '--model_name=r2d', '--model_depth=10', '--width=0.0625', '--clip_length_rgb=8',
    '--num_labels=5', '--batch_size=4', '--epoch_size=8', '--base_learning_rate=0.01',
)  # fmt: skip
SMALL = Network('r2d', 10, clip_length=8, num_labels=5, width=0.0625)
