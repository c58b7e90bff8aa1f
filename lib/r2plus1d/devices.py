"""Where the work is done: devices of this machine, and its part of what several machines do."""

import dataclasses

from r2plus1d.errors import InputError


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where a network runs: `cpu` or `gpu`, and the number of each device (or CPU replica)."""

    kind: str = 'cpu'
    ids: tuple = (0,)

    def __str__(self) -> str:
        if self.kind == 'cpu':
            return 'the CPU' if len(self.ids) == 1 else f'{len(self.ids)} replicas on the CPU'
        return f'GPU {", ".join(map(str, self.ids))}'


@dataclasses.dataclass(frozen=True)
class Shard:
    """This machine's part of the work: number `index` of `count` machines."""

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise InputError(
                f'shard_id is {self.index}; with {self.count} shards 0 to {self.count - 1}'
            )
