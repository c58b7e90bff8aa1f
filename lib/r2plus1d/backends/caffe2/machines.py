"""Several machines that train one network, through Caffe2's Gloo and a shared folder."""

import pathlib
from typing import Any

from caffe2.python import core, workspace

from r2plus1d.devices import Shard


def rendezvous(shard: Shard, place: pathlib.Path, run_id: str) -> dict[str, Any]:
    """Return what data_parallel_model takes; the store is made in the current Caffe2 workspace.

    Args:
        shard: which of the machines this is.
        place: the folder of the meeting.
        run_id: tells runs apart.
    """
    store = f'{run_id}_store'
    create = core.CreateOperator(
        'FileStoreHandlerCreate', [], [store], path=str(place.resolve()), prefix=run_id
    )
    workspace.RunOperatorOnce(create)
    return {
        'kv_handler': store,
        'num_shards': shard.count,
        'shard_id': shard.index,
        'engine': 'GLOO',
        'exit_nets': None,
    }
