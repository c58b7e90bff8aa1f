"""The golden networks of the original, and what a real Caffe2 gave for their clips."""

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
LATER = (
    'ipcsn_d50_l8_c224_pool1',
    'ircsn_d50_l8_c224_pool1',
    'ircsn_d50_l8_c256_pool1_convpred',
    'r2plus1d_d152_l8_c112',
    'r2plus1d_d34_l8_c128_convpred',
    'r3d_d50_l16_c112',
)
OPTIONAL = ('use_pool1', 'use_convolutional_pred')
CHEAP = 15e9  # multiply-adds a clip; of networks that take more there is one clip
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
    return json.loads(path_of(golden, name, '.json').read_text())


def path_of(golden, name, suffix):
    return golden / ('nets_later' if name in LATER else 'nets') / f'{name}{suffix}'


def network_of(schema):
    names = ('clip_length', 'crop_size', 'num_channels', 'num_labels')
    settings = {name: schema[name] for name in (*names, *OPTIONAL) if name in schema}
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
    rows = 2 if cost.totals(network)[0] < CHEAP else 1
    with np.load(path_of(golden, name, '.npz')) as arrays:
        outputs = {blobs[key]: array[:rows] for key, array in arrays.items()}
    return GoldenNetwork(
        network,
        {blob: made(blob, shape) for blob, shape in shapes.items()},
        _clips(golden, network, rows),
        outputs,
    )


def _clips(golden, network, rows):
    folder = golden / 'video_input'
    if network.num_channels == 3:
        clips = normalize_rgb(np.load(folder / 'start_rgb_l16.npz')['rgb_u8'][:rows])
    else:
        clips = np.load(folder / 'start_flow2c_l16.npz')['flow'][:rows]
    length, side = network.clip_length, network.crop_size
    across = -(-side // clips.shape[-1])
    tiled = np.tile(clips, (1, 1, -(-length // CLIP_LENGTH), across, across))
    return np.ascontiguousarray(tiled[:, :, :length, :side, :side])
