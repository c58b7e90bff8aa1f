"""A small network in training; needs Caffe2."""

import dataclasses

from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import open_trainer
from r2plus1d.devices import Devices
from r2plus1d.networks.network import Network
from r2plus1d.weights.card import of_network

NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.0625)
RATE, DECAY = 0.01, 0.005
CARD = of_network(NETWORK, batch_norm_folded=False)


def open_net(replicas=1, network=NETWORK, seed=0):
    settings = TrainerSettings(weight_decay=DECAY, seed=seed, card=CARD)
    return open_trainer(network, devices=Devices('cpu', tuple(range(replicas))), settings=settings)


def parameters_of(trainer):
    return trainer.state().parameters


def set_parameters(trainer, parameters, **changes):
    """Replace some parameters, or other fields of the trainer's state."""
    state = trainer.state()
    merged = {**state.parameters, **parameters}
    trainer.restore(dataclasses.replace(state, parameters=merged, **changes))


def set_iteration(trainer, iteration):
    set_parameters(trainer, {}, iteration=iteration)
