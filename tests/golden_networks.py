"""The golden networks: ten of the original's, and what a real Caffe2 gave for their clips."""

import json
import runpy
from typing import NamedTuple

import numpy as np

from r2plus1d.networks import cost
from r2plus1d.networks.input import normalize_rgb
from r2plus1d.networks.network import Network

NAMES = (
    'c3d_d18_l16',
    'mc3_d18_l16',
    'r2d_d18_l8',
    'r2df_d18_l8',
    'r2plus1d_d18_l16',
    'r2plus1d_d18_l8',
    'r2plus1d_d34_l32',
    'r2plus1d_d34_l32_flow',
    'r3d_d18_l8',
    'rmc3_d18_l8',
)
CLIP_LENGTH = 16  # of the golden clips; a longer one is made of repetitions


class GoldenNetwork(NamedTuple):
    """One of them.

    Attributes:
        network: models.network.Network.
        parameters: {blob: float32 array}, of full width.
        clips: float32 N x C x T x H x W, normalized.
        outputs: {blob: float32 array of N rows}: the prediction, the logits and the features.
    """

    network: Network
    parameters: dict
    clips: np.ndarray
    outputs: dict


def schema_of(golden, name):
    """The graph of a golden network, as schema has it."""
    return json.loads((golden / 'nets' / f'{name}.json').read_text())


def network_of(schema):
    names = ('clip_length', 'crop_size', 'num_channels', 'num_labels')
    settings = {name: schema[name] for name in names}
    return Network(schema['model_name'], schema['model_depth'], **settings)


def read(golden, name):
    """Return the GoldenNetwork `name` of the folder `golden`."""
    network = network_of(schema_of(golden, name))
    made = runpy.run_path(str(golden / 'parameters.py'))['golden_parameter']
    shapes = cost.parameter_shapes(network)
    blobs = {
        'softmax': network.prediction,
        'logits': network.logits,
        'feature': 'fc7' if network.is_c3d else 'final_avg',
    }
    with np.load(golden / 'nets' / f'{name}.npz') as arrays:
        outputs = {blobs[key]: array for key, array in arrays.items()}
    return GoldenNetwork(
        network,
        {blob: made(blob, shape) for blob, shape in shapes.items()},
        _clips(golden, network, len(outputs[network.logits])),
        outputs,
    )


def _clips(golden, network, rows):
    folder = golden / 'video_input'
    if network.num_channels == 3:
        clips = normalize_rgb(np.load(folder / 'start_rgb_l16.npz')['rgb_u8'][:rows])
    else:
        clips = np.load(folder / 'start_flow2c_l16.npz')['flow'][:rows]
    repeats = -(-network.clip_length // CLIP_LENGTH)
    return np.ascontiguousarray(np.tile(clips, (1, 1, repeats, 1, 1))[:, :, : network.clip_length])
