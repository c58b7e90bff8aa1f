"""Gives shards to actors until all are done: what an actor leaves undone another one gets."""

import contextlib
import dataclasses
import logging
import pathlib
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional

from r2plus1d.cluster.actor import ActorSettings, Counts, Opened, Outcome, Worker
from r2plus1d.cluster.crew import Crew, Lost, Member
from r2plus1d.cluster.needs import Needs
from r2plus1d.cluster.shard_queue import ShardQueue
from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.results.progress import Progress
from r2plus1d.results.shards import ShardFolder

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5.0  # for new nodes, and at a shard that another process holds
SECONDS_FOR_FILES = 60.0  # until a shared file system shows what another node wrote
LINES_OF_LOG = 20
OPENINGS = 10  # actors that may die one after another while they open their networks
ALL_FAIL = 3  # shards given up before any was done: the others would fail too


@dataclasses.dataclass(frozen=True)
class ShardJob:
    """What is done on the cluster.

    Attributes:
        open_worker: see actor.ActorSettings.
        shards: the folder of the shards.
        count: how many there are.
        records: how many records they have.
        done: {number of a shard that an earlier run did: its Counts}.
        kind: what the Workers have to be, if an earlier run decides it.
    """

    open_worker: Callable[[], contextlib.AbstractContextManager[Worker]]
    shards: ShardFolder
    count: int
    records: int
    done: Mapping[int, Counts]
    kind: Optional[Mapping[str, Any]] = None


def run_shards(job: ShardJob, needs: Needs) -> dict[int, str]:
    """Do all shards that are not done; be `connected` before.

    Returns:
        {number of a shard that was given up: why}.

    Raises:
        InputError: no node can take part, or shard after shard fails.
    """
    queue = ShardQueue(i for i in range(job.count) if i not in job.done)
    if job.done:
        log.info('%d of %d shards are done, in %s', len(job.done), job.count, job.shards.path)
    if len(queue):
        with _marked(job.shards.path) as (mark, token):
            settings = ActorSettings(job.open_worker, pathlib.Path.cwd(), mark, token)
            with _explained(job), Crew(settings, needs) as crew, _progress(job) as progress:
                _Run(job, needs, queue, crew, progress).run()
        _require_files(job, queue.given_up)
    return queue.given_up


@contextlib.contextmanager
def _marked(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, str]]:
    """Give a file that the nodes have to see, and its text."""
    folder.mkdir(parents=True, exist_ok=True)
    mark, token = folder.resolve() / 'driver.mark', uuid.uuid4().hex
    mark.write_text(token)
    try:
        yield mark, token
    finally:
        mark.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(job):
    """Say of an interrupted run how it goes on; its actors have ended by then."""
    try:
        yield
    except KeyboardInterrupt:
        done = sum(job.shards.is_done(Shard(i, job.count)) for i in range(job.count))
        log.info(
            'the actors have ended; %d of %d shards are done, in %s, and the same command goes on',
            done, job.count, job.shards.path,
        )  # fmt: skip
        raise


def _progress(job):
    done = sum(counts.records for counts in job.done.values())
    every = max(1, job.records // LINES_OF_LOG)
    return Progress(job.records, unit='records', every=every, done=done)


def _require_files(job, given_up):
    """Wait until the notes of all shards are seen here."""
    missing = set(range(job.count)) - set(given_up)
    end = time.monotonic() + SECONDS_FOR_FILES
    while missing := {i for i in missing if not job.shards.is_done(Shard(i, job.count))}:
        if time.monotonic() > end:
            first = Shard(min(missing), job.count)
            raise InputError(
                f'shard {first} was done on another node, and {job.shards.path} does not show it: '
                'the output has to be on storage that all nodes share'
            )
        time.sleep(SECONDS_FOR_FILES / 100)


class _Run:
    """One run of the driver."""

    def __init__(self, job, needs, queue, crew, progress):
        self._job, self._needs, self._queue = job, needs, queue
        self._crew, self._progress = crew, progress
        self._began, self._records = time.monotonic(), 0
        self._failed = sum(counts.failed for counts in job.done.values())
        self._done = self._died_opening = 0
        self._kind = job.kind
        self._told: set[object] = set()

    def run(self):
        look = time.monotonic()
        while self._left():
            if time.monotonic() >= look:
                self._crew.fill(self._left())
                self._require_room()
                look = time.monotonic() + SECONDS_BETWEEN_LOOKS
            came = self._crew.wait(1.0)
            if came is not None:
                member, what = came
                handle = {Opened: self._opened, Outcome: self._outcome, Lost: self._lost}
                handle[type(what)](member, what)
                if isinstance(what, Lost):
                    look = time.monotonic()
            self._employ()

    def _left(self):
        """How many shards wait or are at work."""
        return len(self._queue) + sum(m.shard is not None for m in self._crew.members)

    def _require_room(self):
        if any(member.opened for member in self._crew.members) or self._crew.room():
            return
        if self._crew.refused:
            raise InputError(next(iter(self._crew.refused.values())))
        self._tell('room', f'no node has {self._needs} for an actor; this run waits for one')

    def _tell(self, about: object, text: str) -> None:
        """Log something once."""
        if about not in self._told:
            self._told.add(about)
            log.warning('%s', text)

    def _opened(self, member: Member, opened: Opened) -> None:
        self._died_opening = 0
        refusal = opened.refusal or self._other_kind(opened.kind)
        if refusal is None:
            self._kind, member.opened = opened.kind, opened
            return
        text = f'the node {opened.machine}: {refusal}'
        self._crew.dismiss(member)
        self._crew.refused[opened.node] = text
        self._require_room()
        self._tell(opened.node, f'{text}; it takes no part')

    def _other_kind(self, kind):
        if self._kind is None or kind == self._kind:
            return None
        names = [n for n in kind if kind[n] != self._kind.get(n)]
        return ', '.join(f'{n} is {kind[n]}, and elsewhere {self._kind.get(n)}' for n in names)

    def _outcome(self, member: Member, outcome: Outcome) -> None:
        number, member.shard = member.shard, None
        assert number is not None
        shard = Shard(number, self._job.count)
        if outcome.counts is not None:
            self._count(outcome.counts)
        elif outcome.is_held:
            self._tell(number, f'shard {shard}: {outcome.reason.partition(";")[0]}; it is put off')
            self._queue.put_off(number, SECONDS_BETWEEN_LOOKS)
        elif outcome.is_final:
            self._queue.give_up(number, outcome.reason)
            log.warning('shard %s failed: %s', shard, outcome.reason)
        else:
            self._retry(number, outcome.reason)
        self._require_some_done()

    def _count(self, counts: Counts) -> None:
        self._done += 1
        self._failed += counts.failed
        self._records += counts.records
        rate = self._records / max(1e-9, time.monotonic() - self._began)
        actors = sum(member.opened is not None for member in self._crew.members)
        self._progress.step(
            f'{rate:.3g} records per second, failed: {self._failed}, actors: {actors}',
            counts.records,
        )

    def _lost(self, member: Member, lost: Lost) -> None:
        number = member.shard
        self._crew.dismiss(member)
        if number is not None:
            self._retry(number, lost.reason, node_is_lost=lost.node_is_lost)
            self._require_some_done()
            return
        if member.opened is None:
            self._died_opening += 1
            if self._died_opening >= OPENINGS:
                raise InputError(f'{OPENINGS} actors died while they opened the network')

    def _retry(self, number, reason, *, node_is_lost=False):
        waits = self._queue.retry(number, reason, node_is_lost=node_is_lost)
        end = 'it is tried again' if waits else 'it is given up, and the run goes on'
        log.warning('shard %s: %s; %s', Shard(number, self._job.count), reason, end)

    def _require_some_done(self):
        given_up = self._queue.given_up
        if len(given_up) >= ALL_FAIL and not self._done and not self._job.done:
            number, reason = next(iter(given_up.items()))
            raise InputError(f'shard {Shard(number, self._job.count)} failed: {reason}')

    def _employ(self):
        """Give each actor that has nothing to do a shard; end it if none is left."""
        idle = [m for m in self._crew.members if m.opened and m.shard is None]
        for member in idle:
            number = self._queue.take()
            if number is not None:
                self._crew.give(member, number, self._job.count)
            elif not len(self._queue):
                self._crew.dismiss(member)
