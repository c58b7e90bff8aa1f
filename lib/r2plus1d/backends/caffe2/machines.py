"""Several machines that train one network, through Caffe2's Gloo and a shared folder."""

import contextlib
import pathlib
import shutil

from caffe2.python import core, workspace

from r2plus1d.errors import InputError


@contextlib.contextmanager
def meeting(shard, folder, run_id):
    """Give a function that returns how the machines find each other; None for one machine.

    What a machine leaves in the folder is of one run. It is removed by the last machine that ends
    well; after a run that did not, it is in the way and a new run is refused.

    Args:
        shard: training.data.Shard.
        folder: a folder that all machines share.
        run_id: tells runs in the same folder apart.

    Raises:
        InputError: the rest of an earlier run is in the way.
    """
    if shard.count == 1:
        yield None
        return
    place = pathlib.Path(folder) / f'{run_id}_rendezvous'
    place.mkdir(parents=True, exist_ok=True)
    marker = place / f'machine_{shard.index}'
    try:
        marker.touch(exist_ok=False)
    except FileExistsError:
        raise InputError(
            f'{place} is of an earlier run or another machine {shard.index}: remove it before all '
            'machines start again, or give another --run_id'
        ) from None
    yield lambda: _rendezvous(shard, place, run_id)
    marker.unlink()
    if not any(place.glob('machine_*')):
        shutil.rmtree(place, ignore_errors=True)


def _rendezvous(shard, place, run_id):
    """What data_parallel_model takes; the store is made in the current Caffe2 workspace."""
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
