"""Which shard is next: those that failed are tried again, and at some time given up."""

import collections
import heapq
import time
from collections.abc import Iterable
from typing import Callable, Optional

TRIES = 3  # of a shard whose actor dies, or that fails
LOST_NODES = 10  # that a shard may have been on; most of them are not its fault


class ShardQueue:
    """The shards that wait.

    Args:
        numbers: of the shards.
        now: seconds, as of time.monotonic.

    Attributes:
        given_up: {number of a shard: why}.
    """

    def __init__(
        self, numbers: Iterable[int], *, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._ready, self._now = collections.deque(numbers), now
        self._later: list[tuple[float, int]] = []
        self._tries: collections.Counter[int] = collections.Counter()
        self._nodes: collections.Counter[int] = collections.Counter()
        self.given_up: dict[int, str] = {}

    def __len__(self) -> int:
        """How many shards wait."""
        return len(self._ready) + len(self._later)

    def take(self) -> Optional[int]:
        """Return the next shard, None if there is none now."""
        while self._later and self._later[0][0] <= self._now():
            self._ready.append(heapq.heappop(self._later)[1])
        return self._ready.popleft() if self._ready else None

    def put_off(self, number: int, seconds: float) -> None:
        """Let a shard wait for so long at least."""
        heapq.heappush(self._later, (self._now() + seconds, number))

    def retry(self, number: int, reason: str, *, node_is_lost: bool = False) -> bool:
        """Put a shard behind the others, unless it was tried too often; return whether it waits.

        Args:
            reason: why it is not done.
            node_is_lost: it is hardly the shard's fault.
        """
        tried, most = (self._nodes, LOST_NODES) if node_is_lost else (self._tries, TRIES)
        tried[number] += 1
        if tried[number] < most:
            self._ready.append(number)
            return True
        self.give_up(number, f'{reason}, {most} times')
        return False

    def give_up(self, number: int, reason: str) -> None:
        """Try a shard no more."""
        self.given_up[number] = reason
