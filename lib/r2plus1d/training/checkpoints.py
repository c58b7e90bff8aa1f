"""Checkpoints: one minidb an epoch, which Caffe2's predictor loads and training continues from."""

import logging
import pathlib
import re
import shutil
from typing import Optional, Union

import numpy as np
from caffe2.python import core, workspace
from caffe2.python.predictor import predictor_exporter, serde
from caffe2.python.predictor_constants import predictor_constants

from r2plus1d.backends.caffe2 import layers
from r2plus1d.backends.caffe2.layers import build
from r2plus1d.backends.caffe2.trainer import TrainingNet
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.results.complete import complete_path
from r2plus1d.weights.files import read_minidb

log = logging.getLogger(__name__)

EPOCH = re.compile(r'_(\d+)\.mdl$')
ITERATION = 'training_iteration'  # blob of the number of iterations done


def checkpoint_path(folder: Union[str, pathlib.Path], network: Network, epoch: int) -> pathlib.Path:
    """`{model_name}_{epoch}.mdl`, with the width in the name where it is not 1."""
    return pathlib.Path(folder) / f'{checkpoint_stem(network)}_{epoch}.mdl'


def checkpoint_stem(network: Network) -> str:
    return network.architecture + ('' if network.width == 1 else f'_w{network.width:g}')


def newest(
    folder: Union[str, pathlib.Path], network: Network
) -> tuple[int, Optional[pathlib.Path]]:
    """Return (epoch, path) of the network's last complete checkpoint in `folder`, or (0, None)."""
    stem = checkpoint_stem(network)
    pattern = re.compile(re.escape(stem) + EPOCH.pattern)
    found = {
        int(match.group(1)): path
        for path in pathlib.Path(folder).glob(f'{stem}_*.mdl')
        if (match := pattern.fullmatch(path.name))
    }
    return max(found.items(), default=(0, None))


def epoch_of(path: Union[str, pathlib.Path]) -> Optional[int]:
    """The epoch after which a checkpoint was written, from its name; None if it has none."""
    match = EPOCH.search(pathlib.Path(path).name)
    return int(match.group(1)) if match else None


def save(path: Union[str, pathlib.Path], net: TrainingNet, iteration: int) -> None:
    """Write parameters, momenta and the iteration; the file appears only when complete.

    Args:
        net: TrainingNet.
        iteration: number of iterations done.
    """
    path = pathlib.Path(path)
    scope = net.replicas.scopes[0]
    parameters = [scope + name for name in net.parameter_names]
    solver = [scope + name for name in net.momentum_names]
    with net.replicas.workspace(), complete_path(path) as partial:
        partial.unlink(missing_ok=True)  # Save adds to a minidb that is there
        workspace.FeedBlob(scope + ITERATION, np.array([iteration], np.int64))
        meta = predictor_exporter.get_meta_net_def(_export(net, scope, parameters))
        name = predictor_constants.META_NET_DEF
        workspace.FeedBlob(name, serde.serialize_protobuf_struct(meta))
        blobs = [name, *parameters, *solver, scope + ITERATION]
        save_op = core.CreateOperator(
            'Save', blobs, [], absolute_path=1, db=str(partial.resolve()), db_type='minidb'
        )
        try:
            workspace.RunOperatorOnce(save_op)
        except RuntimeError:
            free = shutil.disk_usage(path.parent).free / 1e6
            raise InputError(f'{path} cannot be written ({free:.0f} MB free)') from None


def _export(net, scope, parameters):
    """What Caffe2's predictor needs to know: the inference net, its inputs and outputs."""
    model = layers.new_model(f'{net.network.name}_predict', init_params=False)
    with core.NameScope(scope.rstrip('/')):
        build(model, net.network)
    return predictor_exporter.PredictorExportMeta(
        predict_net=model.net,
        parameters=parameters,
        inputs=[f'{scope}data', f'{scope}label'],
        outputs=[scope + net.network.prediction],
        shapes={
            f'{scope}data': [1, *net.network.data_shape],
            f'{scope}label': [1, *net.network.label_shape],
            scope + net.network.prediction: [1, net.network.num_labels],
        },
    )


def restore(path: Union[str, pathlib.Path], net: TrainingNet) -> int:
    """Give a TrainingNet everything that `save` wrote; returns the iterations done.

    Raises:
        InputError: a file that is no checkpoint of this network.
    """
    blobs = read_minidb(path)
    needed = [*net.parameter_names, *net.momentum_names, ITERATION]
    missing = [name for name in needed if name not in blobs]
    if missing:
        raise InputError(f'{path} is no checkpoint to continue from: it lacks {missing[0]}')
    others = sorted(set(blobs) - set(needed))
    if others:
        raise InputError(f'{path} is of another network: it has {others[0]} too')
    iteration = int(blobs.pop(ITERATION)[0])
    wanted = {name: blobs[name] for name in needed if name in blobs}
    for name, array in net.get(wanted).items():
        if array.shape != wanted[name].shape:
            raise InputError(
                f'{path} is of another network: {name} is {wanted[name].shape}, not {array.shape}'
            )
    net.set(wanted)
    log.info('continuing from %s, after %d iterations', path, iteration)
    return iteration
