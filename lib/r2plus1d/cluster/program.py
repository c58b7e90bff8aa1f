"""The programs of tools/, in an actor: they do a shard as their flag --shard does."""

import contextlib
import runpy
import sys
from collections.abc import Iterator, Sequence

from r2plus1d.cli.command import programs
from r2plus1d.cluster.actor import Worker


@contextlib.contextmanager
def open_program(name: str, words: Sequence[str]) -> Iterator[Worker]:
    """Give the Worker of a program.

    Args:
        name: such as extract_features; it has a function `open_worker` of a command line.
        words: the command line of the driver.
    """
    path = programs()[name]
    sys.argv = [str(path), *words]
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))  # as `python path` does
    with runpy.run_path(str(path), run_name='shard')['open_worker'](list(words)) as worker:
        yield worker
