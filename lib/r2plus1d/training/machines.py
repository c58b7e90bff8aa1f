"""Several machines that train one network, through Caffe2's Gloo and a shared folder."""

import pathlib

from caffe2.python import core, workspace


def rendezvous(shard, folder, run_id):
    """Return how the machines find each other, as data_parallel_model takes it; None for one.

    Args:
        shard: training.data.Shard.
        folder: a folder that all machines share.
        run_id: tells runs in the same folder apart; a new run needs a new one.

    The store is made in the current Caffe2 workspace.
    """
    if shard.count == 1:
        return None
    store_folder = pathlib.Path(folder) / f'{run_id}_rendezvous'
    store_folder.mkdir(parents=True, exist_ok=True)
    store = f'{run_id}_store'
    create = core.CreateOperator(
        'FileStoreHandlerCreate', [], [store], path=str(store_folder.resolve()), prefix=run_id
    )
    workspace.RunOperatorOnce(create)
    return {
        'kv_handler': store,
        'num_shards': shard.count,
        'shard_id': shard.index,
        'engine': 'GLOO',
        'exit_nets': None,
    }
