"""The Caffe2 training net: forward, gradients, weight decay and updates on every device."""

import numpy as np
from caffe2.python import brew, workspace

from r2plus1d.backends.caffe2 import layers, predictor
from r2plus1d.backends.caffe2.layers import build
from r2plus1d.backends.caffe2.replicas import Replicas

MOMENTUM = 0.9
MOMENTUM_SUFFIX = '_momentum'


class TrainingNet:
    """A network being trained; the same parameters on each device, a batch divided among them.

    Args:
        network: models.network.Network.
        devices: engines.Devices.
        weight_decay: factor of the L2 penalty, on what Caffe2's brew tags as weights: those of
            convolutions and FC layers, and the scales of batch norms, as in the original.
        seed: of the initial parameters.
        meet: a function that returns how several machines find each other, as
            data_parallel_model takes it, or None for one machine.
        use_cudnn, cudnn_workspace_limit_mb: cuDNN on GPUs and the memory that it may use.
        card: {key: text} that files say of the network, see weights.card; None for nothing.
    """

    def __init__(
        self, network, *, devices, weight_decay, seed=0, meet=None, use_cudnn=True,
        cudnn_workspace_limit_mb=64, card=None,
    ):  # fmt: skip
        self.network, self.replicas, self.card = network, Replicas(devices), card
        self.model = layers.new_model(
            network.name, use_cudnn=use_cudnn, cudnn_workspace_limit_mb=cudnn_workspace_limit_mb
        )
        with self.replicas.workspace():
            rendezvous = meet() if meet else None
        self.replicas.parallelize(
            self.model,
            lambda model, loss_scale: build(model, network, training=True, loss_scale=loss_scale),
            update=lambda model: _add_updates(model, weight_decay),
            rendezvous=rendezvous,
        )
        _seed(self.model.param_init_net, seed)
        _seed(self.model.net, seed, only='Dropout')
        with self.replicas.workspace():
            workspace.RunNetOnce(self.model.param_init_net)
        self._created = False

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.replicas.close()

    @property
    def parameter_names(self):
        """Names of what an inference network needs: parameters and running statistics."""
        scope = self.replicas.scopes[0]
        blobs = map(str, self.model.GetParams() + self.model.GetComputedParams())
        return [blob[len(scope) :] for blob in blobs if blob.startswith(scope)]

    @property
    def momentum_names(self):
        scope = self.replicas.scopes[0]
        blobs = [str(p) for p in self.model.GetParams() if str(p).startswith(scope)]
        return [blob[len(scope) :] + MOMENTUM_SUFFIX for blob in blobs]

    def get(self, names):
        """Return {name: array} of blobs of the first device."""
        return {name: self.replicas.fetch(name) for name in names}

    def set(self, blobs):
        """Give {name: array} to every device."""
        self.replicas.set(blobs)

    def save(self, path, iteration):
        """Write parameters, momenta and the number of iterations done to a minidb, whole or not."""
        predictor.save(path, self, iteration)

    def step(self, data, label, learning_rate):
        """Train on one batch, the same number of clips on each device.

        Returns:
            (loss, accuracy): of the batch, before the update, the mean over the devices; the
            accuracy of a multi-label network is NaN.
        """
        count = len(self.replicas)
        shares = list(zip(np.split(data, count), np.split(label, count)))
        self.replicas.set({'LR': np.array([learning_rate], np.float32)})
        if not self._created:
            self.replicas.set({'data': shares[0][0], 'label': shares[0][1]})
            self.replicas.create()
            self._created = True
        self.replicas.run(shares)
        return self._mean('loss'), self._mean('accuracy')

    def profile(self):
        """Return [(milliseconds, operator type, its first output)], the slowest first.

        Runs the net a few more times on its last batch, which trains it further.
        """
        with self.replicas.workspace():
            times = workspace.BenchmarkNet(self.model.net.Proto().name, 1, 3, True)
        ops = self.model.net.Proto().op
        rows = [(time, op.type, op.output[0]) for time, op in zip(times[1:], ops)]
        return sorted(rows, reverse=True)

    def _mean(self, name):
        if name == 'accuracy' and self.network.multi_label:
            return float('nan')
        return float(np.mean([self.replicas.fetch(name, i) for i in range(len(self.replicas))]))


def _add_updates(model, weight_decay):
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


def _seed(net, seed, only=None):
    """Let each operator draw from a seed of its own, the same one every time."""
    for position, op in enumerate(net.Proto().op):
        if only in (None, op.type):
            op.device_option.random_seed = 1 + (seed * 100003 + position) % (2**31 - 1)
