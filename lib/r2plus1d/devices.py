"""Where the work is done: devices of this machine, and its part of what several machines do."""

import dataclasses

from r2plus1d.errors import InputError, require_one_of


@dataclasses.dataclass(frozen=True)
class Devices:
    """Where a network runs.

    Attributes:
        kind: `cpu` or `gpu`.
        ids: the number of each device (or CPU replica).
        names: the UUID of each GPU or part of one, as in CUDA_VISIBLE_DEVICES (`GPU-...`,
            `MIG-...`), where GPUs are named so; `ids` then only counts them.
    """

    kind: str = 'cpu'
    ids: tuple[int, ...] = (0,)
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_one_of('kind of devices', self.kind, ('cpu', 'gpu'))
        ids = self.ids if isinstance(self.ids, tuple) else ()
        is_right = all(isinstance(number, int) and number >= 0 for number in ids)
        if not ids or not is_right or len(set(ids)) < len(ids):
            raise InputError(
                f'ids of devices are {self.ids!r}; a tuple of different numbers from 0, such as '
                '(0, 1), is right'
            )

    def __str__(self) -> str:
        if self.kind == 'cpu':
            return 'the CPU' if len(self.ids) == 1 else f'{len(self.ids)} replicas on the CPU'
        return f'GPU {", ".join(self.names or map(str, self.ids))}'


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

    def __str__(self) -> str:
        return f'{self.index}/{self.count}'

    def part(self, length: int) -> 'tuple[int, int]':
        """(begin, end) of this shard's part of `length` things in order."""
        return length * self.index // self.count, length * (self.index + 1) // self.count
