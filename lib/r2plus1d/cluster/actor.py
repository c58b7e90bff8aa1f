"""What runs on the nodes: it opens its network once, and does one shard after another."""

import contextlib
import dataclasses
import logging
import os
import pathlib
import platform
import time
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional

from r2plus1d.devices import Shard
from r2plus1d.errors import BackendError, InputError
from r2plus1d.results.hold import HeldError

log = logging.getLogger(__name__)

SECONDS_FOR_MARK = 10.0  # until a shared file system shows a new file
STORAGE = 'the output has to be on storage that all nodes share, under the same path'


class Counts(NamedTuple):
    """How many records a shard has, and how many of them failed."""

    records: int
    failed: int


class Worker(NamedTuple):
    """What does the shards.

    Attributes:
        kind: what has to be the same in all actors, such as the engine.
        run: does a shard.
    """

    kind: Mapping[str, Any]
    run: Callable[[Shard], Counts]


@dataclasses.dataclass(frozen=True)
class ActorSettings:
    """What an actor is given.

    Attributes:
        open_worker: returns a context manager that gives a Worker.
        folder: where the driver runs, from which paths that are not absolute count.
        mark: a file beside the shards that the driver has written.
        token: the text in it.
    """

    open_worker: Callable[[], contextlib.AbstractContextManager[Worker]]
    folder: pathlib.Path
    mark: pathlib.Path
    token: str


class Opened(NamedTuple):
    """An actor is there.

    Attributes:
        node: the node's id.
        machine: its name.
        kind: that of its Worker.
        refusal: why it can do nothing, or None.
    """

    node: str
    machine: str
    kind: Mapping[str, Any]
    refusal: Optional[str] = None


class Outcome(NamedTuple):
    """What became of a shard.

    Attributes:
        counts: Counts, or None if it is not done.
        reason: why it is not.
        is_held: another process is at work on it.
        is_final: trying again changes nothing.
    """

    counts: Optional[Counts] = None
    reason: str = ''
    is_held: bool = False
    is_final: bool = False


class ShardActor:
    """The class of the actors; it can be used without Ray."""

    def __init__(self, settings: ActorSettings) -> None:
        self._settings = settings
        self._stack = contextlib.ExitStack()

    def open(self, node: str) -> Opened:
        """Open the Worker, on the node of this id."""
        machine = platform.node()
        try:
            _enter(self._settings)
            self._worker = self._stack.enter_context(self._settings.open_worker())
        except Exception as error:
            return Opened(node, machine, {}, _explain(error))
        return Opened(node, machine, dict(self._worker.kind))

    def run(self, index: int, count: int) -> Outcome:
        """Do the shard `index` of `count`."""
        try:
            return Outcome(Counts(*self._worker.run(Shard(index, count))))
        except HeldError as error:
            return Outcome(reason=str(error), is_held=True)
        except Exception as error:
            return Outcome(reason=_explain(error), is_final=isinstance(error, InputError))


def _enter(settings):
    """Go to the driver's folder, and see what it wrote beside the shards."""
    try:
        os.chdir(settings.folder)
    except OSError as error:
        raise InputError(f'{settings.folder}: {error.strerror}; {STORAGE}') from None
    end = time.monotonic() + SECONDS_FOR_MARK
    while not _has(settings.mark, settings.token):
        if time.monotonic() > end:
            raise InputError(f'{settings.mark}, which this run wrote, is not there; {STORAGE}')
        time.sleep(SECONDS_FOR_MARK / 20)


def _has(path, text):
    try:
        return path.read_text() == text
    except OSError:
        return False


def _explain(error):
    """One line about an error; the log of the actor has all of what is a mistake of ours."""
    if isinstance(error, (InputError, BackendError)):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f'{error.filename}: {error.strerror}'
    log.error('this is a mistake in the program', exc_info=error)
    return f'{type(error).__name__}: {error}'
