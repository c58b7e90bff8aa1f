"""What training has made, as a minidb that Caffe2's predictor loads and training continues from."""

import json
import pathlib
import shutil
from typing import Any

import numpy as np
from caffe2.python import core, workspace
from caffe2.python.predictor import predictor_exporter, serde
from caffe2.python.predictor_constants import predictor_constants

from r2plus1d.backends.caffe2 import layers
from r2plus1d.backends.caffe2.layers import build
from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_path
from r2plus1d.weights.card import CARD
from r2plus1d.weights.files import ITERATION


def save(path: pathlib.Path, net: Any, iteration: int) -> None:
    """Write parameters, momenta and the iteration; the file appears only when complete.

    Args:
        net: trainer.TrainingNet; its card, where it has one, is written too.
        iteration: number of iterations done.
    """
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
        if net.card:
            workspace.FeedBlob(CARD, json.dumps(net.card))
            blobs.append(CARD)
        save_op = core.CreateOperator(
            'Save', blobs, [], absolute_path=1, db=str(partial.resolve()), db_type='minidb'
        )
        try:
            workspace.RunOperatorOnce(save_op)
        except RuntimeError:
            free = shutil.disk_usage(path.parent).free / 1e6
            raise InputError(f'{path} cannot be written ({free:.0f} MB free)') from None


def _export(net: Any, scope: str, parameters: list[str]) -> Any:
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
