"""What training has made, as a minidb that Caffe2's predictor loads and training continues from."""

import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
from caffe2.python import core, workspace
from caffe2.python.predictor import predictor_exporter, serde
from caffe2.python.predictor_constants import predictor_constants

from r2plus1d.backends.caffe2 import layers
from r2plus1d.backends.caffe2.layers import build
from r2plus1d.backends.caffe2.replicas import Replicas
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.results.complete import complete_path
from r2plus1d.weights.card import CARD
from r2plus1d.weights.match import ITERATION


def save(
    path: pathlib.Path,
    network: Network,
    replicas: Replicas,
    *,
    parameters: Sequence[str],
    momenta: Sequence[str],
    iteration: int,
    card: Optional[Mapping[str, str]] = None,
) -> None:
    """Write blobs of the first device and the iteration; the file appears only when complete.

    Args:
        replicas: those that train `network`.
        parameters, momenta: names of blobs, in the order in which they are written.
        iteration: number of iterations done.
        card: {key: text}, written where there is one.

    Raises:
        InputError: the file cannot be written.
    """
    scope = replicas.scopes[0]
    scoped = [scope + name for name in parameters]
    with replicas.workspace(), complete_path(path) as partial:
        partial.unlink(missing_ok=True)  # Save adds to a minidb that is there
        workspace.FeedBlob(scope + ITERATION, np.array([iteration], np.int64))
        meta = predictor_exporter.get_meta_net_def(_export(network, scope, scoped))
        name = predictor_constants.META_NET_DEF
        workspace.FeedBlob(name, serde.serialize_protobuf_struct(meta))
        blobs = [name, *scoped, *(scope + blob for blob in momenta), scope + ITERATION]
        if card:
            workspace.FeedBlob(CARD, json.dumps(dict(card)))
            blobs.append(CARD)
        save_op = core.CreateOperator(
            'Save', blobs, [], absolute_path=1, db=str(partial.resolve()), db_type='minidb'
        )
        try:
            workspace.RunOperatorOnce(save_op)
        except RuntimeError:
            free = shutil.disk_usage(path.parent).free / 1e6
            raise InputError(f'{path} cannot be written ({free:.0f} MB free)') from None


def _export(network: Network, scope: str, parameters: list[str]) -> Any:
    """What Caffe2's predictor needs to know: the inference net, its inputs and outputs."""
    model = layers.new_model(f'{network.name}_predict', init_params=False)
    with core.NameScope(scope.rstrip('/')):
        build(model, network)
    return predictor_exporter.PredictorExportMeta(
        predict_net=model.net,
        parameters=parameters,
        inputs=[f'{scope}data', f'{scope}label'],
        outputs=[scope + network.prediction],
        shapes={
            f'{scope}data': [1, *network.data_shape],
            f'{scope}label': [1, *network.label_shape],
            scope + network.prediction: [1, network.num_labels],
        },
    )
