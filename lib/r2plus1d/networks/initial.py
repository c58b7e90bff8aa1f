"""Seeded random parameters."""

import numpy as np

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
