"""Workers of Ray's actors that end their processes in the middle of a shard, or wait in it."""

import contextlib
import os
import pathlib
import signal
import time

from r2plus1d.cluster.actor import Counts, Worker
from r2plus1d.cluster.program import open_program
from r2plus1d.results.shards import ShardFolder

SECONDS = 60  # for which a worker waits at most


def folder_of(words):
    """The folder of the output that a command line names."""
    flag = next(word for word in words if word.startswith('--output'))
    return pathlib.Path(flag.partition('=')[2]).parent


def first_time(path):
    """Whether nobody has made the file yet."""
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@contextlib.contextmanager
def changed(name, words, before):
    """The Worker of a program, which calls `before(folder, shard)` before each shard."""
    with open_program(name, words) as worker:

        def run(shard):
            before(folder_of(words), shard)
            return worker.run(shard)

        yield worker._replace(run=run)


def die_once(folder, shard):
    if shard.index == 1 and first_time(folder / 'died'):
        os.kill(os.getpid(), signal.SIGKILL)


def die_at_one(folder, shard):
    if shard.index == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def wait_on_the_doomed_node(folder, shard):
    """Stay in a shard on one node; the others wait until it has one."""
    import ray

    if (folder / 'doomed').read_text() == ray.get_runtime_context().get_node_id():
        (folder / 'started').write_text(str(shard.index))
        time.sleep(SECONDS)
        os._exit(1)
    end = time.monotonic() + SECONDS
    while not (folder / 'started').exists() and time.monotonic() < end:
        time.sleep(0.05)


def killed_once(name, words):
    return changed(name, words, die_once)


def killed_at_one(name, words):
    return changed(name, words, die_at_one)


def on_a_node_that_goes(name, words):
    return changed(name, words, wait_on_the_doomed_node)


@contextlib.contextmanager
def notes_only(output):
    """A Worker whose shards have ten records, one of them failed, and nothing but their notes."""

    def run(shard):
        ShardFolder(output).finish(shard, 10 * shard.index, 10 * shard.index + 10, {}, failed=1)
        return Counts(10, 1)

    yield Worker({'engine': 'none'}, run)


@contextlib.contextmanager
def no_notes():
    """A Worker that writes where nobody sees it."""
    yield Worker({}, lambda shard: Counts(1, 0))


def refusing():
    """What cannot be opened."""
    raise FileNotFoundError(2, 'No such file or directory', 'weights.pkl')
