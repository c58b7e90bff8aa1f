"""State dicts of PyTorch: those of the golden networks, and small ones that the tests make."""

import json
import runpy

import numpy as np

from onnx_models import parameters_of
from r2plus1d.networks.input import normalize_rgb
from r2plus1d.weights.state_dict import COUNTER, to_state_dict

GOLDEN_NAMES = ('r3d_18', 'mc3_18', 'r2plus1d_18')  # of torchvision
GOLDEN_COUNT = 7  # training batches that the golden batch norms say they saw


def golden_entries(golden, name):
    """{entry: array} of one of GOLDEN_NAMES, in the order of its state dict."""
    folder = golden / 'torch'
    made = runpy.run_path(str(folder / 'parameters.py'))['golden_entry']
    shapes = json.loads((folder / f'{name}.json').read_text())['state_dict']
    return {
        entry: np.array(GOLDEN_COUNT) if entry.endswith(COUNTER) else made(entry, tuple(shape))
        for entry, (shape, _) in shapes.items()
    }


def golden_outputs(golden, name):
    """(normalized clips, {'logits', 'feature': rows}) of one of GOLDEN_NAMES."""
    clips = np.load(golden / 'video_input' / 'start_rgb_l16.npz')['rgb_u8'][:2]
    with np.load(golden / 'torch' / f'{name}.npz') as outputs:
        return normalize_rgb(clips), dict(outputs)


def entries_of(network, seed=0):
    """{entry: array} of a network with random parameters."""
    return to_state_dict(network, parameters_of(network, seed))


def assert_same(found, expected):
    """Two dicts of arrays have the same names and bytes."""
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), name
