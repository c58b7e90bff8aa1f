"""What the tests of extraction share: a small network, and the tool in this process."""

import csv

import numpy as np

import tool_here
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.backends.installed import has
from r2plus1d.devices import Devices
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.video.clip import normalize
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.read_clips import read_clips
from r2plus1d.weights.files import save_pickle

TOOL = 'tools/extract_features.py'
NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=8, width=0.125)
PARAMETERS = random_parameters(NETWORK, 0)
# One engine for the tool and for what it is compared to: the reference where there is one.
ENGINE = next(name for name in ('caffe2', 'torch', 'openvino') if has(name))
FLAGS = (
    '--model_depth=10', '--width=0.125', '--clip_length_rgb=8', '--num_labels=8',
    f'--engine={ENGINE}',
)  # fmt: skip
START = ClipSettings(length=8, decode_type='start')


def run_here(*arguments):
    """Run the tool in this process."""
    return tool_here.run_here(TOOL, *arguments)


def save_weights(folder, parameters=PARAMETERS):
    """Write the network's weights; return the flag that names them."""
    path = folder / 'weights.pkl'
    save_pickle(path, parameters)
    return f'--load_model_path={path}'


def by_hand(clips, names, settings=START):
    """Blobs of the network, one clip after another: {name: array}.

    Args:
        clips: [(path of a video, record's index, start frame or None)].
        names: blobs of the network.
    """
    rows = []
    settings_of_engine = EngineSettings(ENGINE)
    with open_engine(
        NETWORK, devices=Devices(), outputs=names, settings=settings_of_engine
    ) as engine:
        engine.load(PARAMETERS)
        for path, index, start in clips:
            pixels = read_clips(path, settings, draw=index, start_frame=start).pixels
            for pixel in normalize(pixels, settings):
                rows.append(engine.run(pixel[None]))
    return {name: np.concatenate([row[name] for row in rows]) for name in names}


def rows_of(path):
    with path.open(newline='', errors='surrogateescape') as file:
        return list(csv.DictReader(file))


def load_folder(path):
    """{name: array} of a folder of .npy files."""
    return {file.stem: np.load(file) for file in path.glob('*.npy')}


def files_of(folder):
    """{name: bytes} of every file in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}
