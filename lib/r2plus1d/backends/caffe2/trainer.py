"""The Caffe2 training net: forward, gradients, weight decay and updates on every device."""

import contextlib
import pathlib
from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
from caffe2.python import brew, workspace

from r2plus1d.backends.base import TrainerSettings, TrainingState
from r2plus1d.backends.caffe2 import layers, predictor
from r2plus1d.backends.caffe2.layers import build
from r2plus1d.backends.caffe2.machines import rendezvous
from r2plus1d.backends.caffe2.replicas import Replicas
from r2plus1d.backends.meeting import meeting_place
from r2plus1d.devices import Devices
from r2plus1d.networks import graph
from r2plus1d.networks.network import Network
from r2plus1d.weights.match import MOMENTUM_SUFFIX

MOMENTUM = 0.9


class Caffe2Trainer:
    """A network being trained; the same parameters on each device, a batch divided among them.

    Args:
        network: the Network.
        devices: the Devices.
        settings: the TrainerSettings.

    Raises:
        InputError: a GPU that Caffe2 does not see; the rest of an earlier run is in the way of
            several machines.
    """

    name = 'caffe2'
    gradient_norm = float('nan')
    seconds: Mapping[str, float] = {}

    def __init__(self, network: Network, *, devices: Devices, settings: TrainerSettings) -> None:
        self.network, self._card, self._iteration = network, settings.card, 0
        self._parameters = list(graph.trace(network).parameters)
        self._trained = list(graph.trace(network).trained)
        self._meeting, shard = contextlib.ExitStack(), settings.shard
        place = None
        if shard.count > 1:
            place = self._meeting.enter_context(
                meeting_place(shard, settings.meeting_folder, settings.run_id)
            )
        self.replicas = Replicas(devices)
        self._model = layers.new_model(
            network.name,
            use_cudnn=settings.use_cudnn,
            cudnn_workspace_limit_mb=settings.cudnn_workspace_limit_mb,
        )
        with self.replicas.workspace():
            meet = rendezvous(shard, place, settings.run_id) if place else None
        self.replicas.parallelize(
            self._model,
            lambda model, loss_scale: build(model, network, training=True, loss_scale=loss_scale),
            update=lambda model: _add_updates(model, settings.weight_decay),
            rendezvous=meet,
        )
        _seed(self._model.param_init_net, settings.seed)
        _seed(self._model.net, settings.seed, only='Dropout')
        with self.replicas.workspace():
            workspace.RunNetOnce(self._model.param_init_net)
        self._created = False

    def __enter__(self) -> 'Caffe2Trainer':
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.replicas.close()
        self._meeting.__exit__(*exc_info)

    def step(
        self, data: np.ndarray, label: np.ndarray, learning_rate: float
    ) -> tuple[float, float]:
        """Train on one batch, the same number of clips on each device; see base.Trainer.

        Returns:
            (loss, accuracy): means over the devices.
        """
        count = len(self.replicas)
        shares = list(zip(np.split(data, count), np.split(label, count)))
        self.replicas.set({'LR': np.array([learning_rate], np.float32)})
        if not self._created:
            self.replicas.set({'data': shares[0][0], 'label': shares[0][1]})
            self.replicas.create()
            self._created = True
        self.replicas.run(shares)
        self._iteration += 1
        return self._mean('loss'), self._mean('accuracy')

    def state(self) -> TrainingState:
        """Return a copy of the first device's blobs; the others have the same."""
        fetch = self.replicas.fetch
        return TrainingState(
            {name: fetch(name) for name in self._parameters},
            {name: fetch(name + MOMENTUM_SUFFIX) for name in self._trained},
            self._iteration,
        )

    def restore(self, state: TrainingState) -> None:
        """Give every device the state."""
        momenta = {name + MOMENTUM_SUFFIX: array for name, array in state.momenta.items()}
        self.replicas.set({**state.parameters, **momenta})
        self._iteration = state.iteration

    def save(self, path: pathlib.Path) -> None:
        """Write the state with the nets that Caffe2's predictor runs; see base.Trainer."""
        predictor.save(
            path,
            self.network,
            self.replicas,
            parameters=self._parameters,
            momenta=[name + MOMENTUM_SUFFIX for name in self._trained],
            iteration=self._iteration,
            card=self._card,
        )

    def profile(self) -> list[tuple[float, str, str]]:
        """Return the time of each operator; see base.Trainer."""
        with self.replicas.workspace():
            times = workspace.BenchmarkNet(self._model.net.Proto().name, 1, 3, True)
        ops = self._model.net.Proto().op
        rows = [(time, op.type, op.output[0]) for time, op in zip(times[1:], ops)]
        return sorted(rows, reverse=True)

    def _mean(self, name: str) -> float:
        if name == 'accuracy' and self.network.multi_label:
            return float('nan')
        return float(np.mean([self.replicas.fetch(name, i) for i in range(len(self.replicas))]))


def _add_updates(model: Any, weight_decay: float) -> None:
    """Nesterov SGD of each parameter of one device, as the original writes it."""
    brew.add_weight_decay(model, weight_decay)
    for parameter in model.GetParams():  # of the device whose scope this is
        gradient = model.param_to_grad[parameter]
        momentum = model.param_init_net.ConstantFill(
            [parameter], parameter + MOMENTUM_SUFFIX, value=0.0
        )
        model.net.MomentumSGDUpdate(
            [gradient, momentum, 'LR', parameter],
            [gradient, momentum, parameter],
            momentum=MOMENTUM,
            nesterov=1,
        )


def _seed(net: Any, seed: int, only: Optional[str] = None) -> None:
    """Let each operator draw from a seed of its own, the same one every time."""
    for position, op in enumerate(net.Proto().op):
        if only in (None, op.type):
            op.device_option.random_seed = 1 + (seed * 100003 + position) % (2**31 - 1)
