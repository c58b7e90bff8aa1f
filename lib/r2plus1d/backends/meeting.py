"""A folder in which the machines that train one network find each other."""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator
from typing import Union

from r2plus1d.devices import Shard
from r2plus1d.errors import InputError


@contextlib.contextmanager
def meeting_place(
    shard: Shard, folder: Union[str, pathlib.Path], run_id: str
) -> Iterator[pathlib.Path]:
    """Give the folder of the meeting, which is in `folder` and has this machine's mark in it.

    What a machine leaves in the folder is of one run. It is removed by the last machine that ends
    well; after a run that did not, it is in the way and a new run is refused.

    Args:
        shard: which of the machines this is.
        folder: a folder that all machines share.
        run_id: tells runs in the same folder apart.

    Raises:
        InputError: the rest of an earlier run is in the way.
    """
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
    yield place
    marker.unlink(missing_ok=True)
    if not any(place.glob('machine_*')):
        shutil.rmtree(place, ignore_errors=True)
