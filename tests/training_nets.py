"""A small network in training; needs Caffe2."""

from r2plus1d.backends.caffe2.trainer import TrainingNet
from r2plus1d.devices import Devices
from r2plus1d.networks.network import Network
from r2plus1d.weights.card import of_network

NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.0625)
RATE, DECAY = 0.01, 0.005
CARD = of_network(NETWORK, batch_norm_folded=False)


def training_net(replicas=1, network=NETWORK, seed=0):
    devices = Devices('cpu', tuple(range(replicas)))
    return TrainingNet(network, devices=devices, weight_decay=DECAY, seed=seed, card=CARD)
