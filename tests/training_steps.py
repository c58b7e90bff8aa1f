"""Five steps of training across a change of the rate, as Caffe2 makes them, in a file.

Run in the environment with Caffe2, this module writes the file anew.
"""

import pathlib

import numpy as np

from r2plus1d.backends.base import TrainerSettings, TrainingState
from r2plus1d.backends.choose import open_trainer
from r2plus1d.devices import Devices
from r2plus1d.networks.initial import training_parameters
from r2plus1d.networks.network import Network

PATH = pathlib.Path(__file__).with_suffix('.npz')
RATES = (0.001, 0.001, 0.001, 0.0001, 0.0001)
KEPT = 200  # values of a blob
SHIFT = 4  # of a batch norm, in deviations
CLIPS = 4
NETWORKS = {
    'r2plus1d': Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.0625),
    'ir-csn': Network('ir-csn', 50, clip_length=8, num_labels=5, width=0.0625),
    'mc3': Network('mc3', 10, clip_length=8, num_labels=5, width=0.0625, multi_label=True),
}


def batches(network):
    """Yield (data, label, rate) of each step."""
    rng = np.random.default_rng(1)
    data = rng.standard_normal((CLIPS, *network.data_shape)).astype(np.float32)
    label = rng.integers(0, 2 if network.multi_label else 5, (CLIPS, *network.label_shape))
    for rate in RATES:
        yield data, label.astype(np.int32), rate


def train(trainer, network):
    """Return {what: array} of a training: losses, and parameters and momenta at its end.

    Of each blob a part is kept, the same one every time.
    """
    trainer.restore(TrainingState(first_parameters(network), trainer.state().momenta, 0))
    losses = [trainer.step(*batch)[0] for batch in batches(network)]
    end = trainer.state()
    return {
        'losses': np.array(losses, np.float32),
        **{name: part(array) for name, array in end.parameters.items()},
        **{f'{name}_momentum': part(array) for name, array in end.momenta.items()},
    }


def first_parameters(network):
    """Return what training begins with.

    Every other channel of a batch norm is far above 0, the others are far below it. Next to 0 the
    last bit of a sum decides what a ReLU does with it, and no two frameworks sum alike.
    """
    parameters = training_parameters(network, 0)
    for name, array in parameters.items():
        if 'spatbn' in name and name.endswith('_b'):
            array[:] = SHIFT
            array[1::2] = -SHIFT
    return parameters


def part(array):
    places = np.random.default_rng(2).permutation(array.size)[:KEPT]
    return array.ravel()[places]


def read(name):
    """Return what `train` gave for the network `name` in Caffe2."""
    with np.load(PATH) as arrays:
        begin = f'{name}/'
        return {key[len(begin) :]: arrays[key] for key in arrays if key.startswith(begin)}


def main():
    arrays = {}
    for name, network in NETWORKS.items():
        settings = TrainerSettings('caffe2')
        with open_trainer(network, devices=Devices(), settings=settings) as trainer:
            arrays.update({f'{name}/{k}': v for k, v in train(trainer, network).items()})
    np.savez_compressed(PATH, **arrays)


if __name__ == '__main__':
    main()
