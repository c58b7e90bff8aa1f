"""Seeded random parameters: those that training begins with, and some to try things with."""

import numpy as np

from r2plus1d.networks import graph
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.network import Network


def random_parameters(network: Network, seed: int) -> dict[str, np.ndarray]:
    """Return seeded random parameters of `network`, {blob: array}, to try things without weights.

    Convolution and FC weights are He-normal; biases and running means 0, scales and variances 1.
    """
    parameters = {}
    for name, shape in parameter_shapes(network).items():
        rng = np.random.default_rng([seed, *name.encode()])
        if name.endswith(('_s', '_riv')) or name == 'pred_logit_w':
            parameters[name] = np.ones(shape, np.float32)
        elif name.endswith(('_b', '_rm')):
            parameters[name] = np.zeros(shape, np.float32)
        else:
            scale = np.float32(np.sqrt(2 / np.prod(shape[1:])))
            parameters[name] = rng.standard_normal(shape, np.float32) * scale
    return parameters


def training_parameters(network: Network, seed: int) -> dict[str, np.ndarray]:
    """Return what training from scratch begins with, {blob: float32 array}, as Caffe2's fills.

    Convolutions: normal, sqrt(2 / fan_out), as MSRAFill. Fully connected layers: uniform in
    +-sqrt(3 / fan_in), as XavierFill. Everything else is as in `random_parameters`.
    """
    parameters = random_parameters(network, seed)
    for node in graph.trace(network).nodes:
        if node.kind not in ('Conv', 'FC'):
            continue
        name = node.parameters[0]
        shape, rng = parameters[name].shape, np.random.default_rng([seed, *name.encode()])
        if node.kind == 'Conv':
            scale = np.float32(np.sqrt(2 * shape[1] / np.prod(shape)))
            parameters[name] = rng.standard_normal(shape, np.float32) * scale
        else:
            limit = np.float32(np.sqrt(3 / shape[1]))
            parameters[name] = (2 * rng.random(shape, np.float32) - 1) * limit
    return parameters
