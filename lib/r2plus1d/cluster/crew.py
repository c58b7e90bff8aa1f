"""The actors of a run: as many as there is work for, wherever there is place."""

import contextlib
import dataclasses
import pathlib
import sys
import time
from typing import Any, NamedTuple, Optional, Union

from r2plus1d.cluster.actor import ActorSettings, Opened, Outcome
from r2plus1d.cluster.needs import Needs

LIBRARY = pathlib.Path(__file__).resolve().parents[2]  # the folder that r2plus1d lies in
LEAST_SPARE = 4  # actors that wait for a node that is not there yet


@dataclasses.dataclass(eq=False)
class Member:
    """One actor.

    Attributes:
        handle: Ray's.
        opened: what it said when it was there, or None.
        shard: number of the shard that it is at, or None.
    """

    handle: Any
    opened: Optional[Opened] = None
    shard: Optional[int] = None


class Lost(NamedTuple):
    """An actor is no more.

    Attributes:
        reason: why, in words.
        node_is_lost: its node is no more.
    """

    reason: str
    node_is_lost: bool = False


def _class_by_value() -> type:
    """Return a class that Ray sends to the nodes: it imports from where the driver does.

    Ray gives its processes no other folders than the program's and the current one.
    """

    class ShardActor:
        def __init__(self, paths: list[str], pickled: bytes) -> None:
            self.paths, self.pickled = paths, pickled
            self.actor: Any = None

        def open(self) -> tuple[Any, ...]:
            import platform
            import sys

            import ray

            node = ray.get_runtime_context().get_node_id()
            sys.path[:0] = self.paths[:1]
            sys.path += [path for path in self.paths if path not in sys.path]
            try:
                from r2plus1d.cluster import actor

                self.actor = actor.ShardActor(ray.cloudpickle.loads(self.pickled))
            except Exception as error:
                return node, platform.node(), {}, f'{type(error).__name__}: {error}'
            return tuple(self.actor.open(node))

        def run(self, index: int, count: int) -> tuple[Any, ...]:
            return tuple(self.actor.run(index, count))

    return ShardActor


class Crew:
    """Actors come and go; use as a context manager, which ends them all.

    Args:
        settings: ActorSettings.
        needs: of each actor.

    Attributes:
        members: Members, those among them that wait for a node.
        refused: {id of a node that takes no part: why}.
    """

    def __init__(self, settings: ActorSettings, needs: Needs) -> None:
        import ray

        self._ray, self._needs = ray, needs
        self._class = ray.remote(_class_by_value())
        self._paths = [str(LIBRARY), *sys.path]
        self._pickled = ray.cloudpickle.dumps(settings)
        self._calls: dict[Any, Member] = {}
        self.members: list[Member] = []
        self.refused: dict[str, str] = {}

    def __enter__(self) -> 'Crew':
        return self

    def __exit__(self, *exc_info: object) -> None:
        for member in list(self.members):
            self.dismiss(member)

    def room(self) -> int:
        """Return how many actors the nodes have place for, but for those that are refused."""
        nodes = (node for node in self._ray.nodes() if node['Alive'])
        return sum(
            self._needs.fitting(node['Resources'])
            for node in nodes
            if node['NodeID'] not in self.refused
        )

    def fill(self, wanted: int) -> None:
        """Ask for `wanted` actors, or for as many as have place and some more.

        Those that have no place wait for a node; a cluster that grows by itself adds it for them.
        """
        room = self.room()
        while len(self.members) < min(wanted, room + max(LEAST_SPARE, room)):
            self._add()

    def _add(self):
        others = {'ray.io/node-id': f'!in({",".join(self.refused)})'} if self.refused else None
        handle = self._class.options(
            num_cpus=self._needs.cores, num_gpus=self._needs.gpus, label_selector=others
        ).remote(self._paths, self._pickled)
        member = Member(handle)
        self.members.append(member)
        self._calls[handle.open.remote()] = member

    def give(self, member: Member, shard: int, count: int) -> None:
        """Let an actor do the shard `shard` of `count`."""
        member.shard = shard
        self._calls[member.handle.run.remote(shard, count)] = member

    def dismiss(self, member: Member) -> None:
        """End an actor."""
        self.members.remove(member)
        for call in [call for call, whose in self._calls.items() if whose is member]:
            del self._calls[call]
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(member.handle)

    def wait(self, seconds: float) -> Optional[tuple[Member, Union[Opened, Outcome, Lost]]]:
        """Return what the next actor says, None if none does for so long."""
        calls = list(self._calls)
        if not calls:
            time.sleep(seconds)
            return None
        done, _ = self._ray.wait(calls, timeout=seconds)
        if not done:
            return None
        member = self._calls.pop(done[0])
        try:
            value = self._ray.get(done[0])
            return member, Outcome(*value) if member.shard is not None else Opened(*value)
        except self._ray.exceptions.RayError as error:
            return member, self._lost(member, error)

    def _lost(self, member, error):
        if isinstance(error, self._ray.exceptions.OutOfMemoryError):
            return Lost('its node ran out of memory')
        where = f' on {member.opened.machine}' if member.opened else ''
        if isinstance(error, self._ray.exceptions.ActorUnavailableError):
            # Some seconds before Ray is sure that a node is lost. If the actor still runs, it
            # holds its shard until it is done, and another actor puts that off.
            return Lost(f'its actor{where} cannot be reached', node_is_lost=True)
        there = {node['NodeID'] for node in self._ray.nodes() if node['Alive']}
        if member.opened and member.opened.node not in there:
            return Lost(f'its node {member.opened.machine} was lost', node_is_lost=True)
        return Lost(f'its actor{where} died')
