"""What an actor takes of a node."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Needs:
    """Cores and GPUs of each actor."""

    cores: int = 1
    gpus: int = 0

    def __str__(self) -> str:
        cores = f'{self.cores} core{"s" * (self.cores > 1)}'
        return f'{cores} and {self.gpus} GPU{"s" * (self.gpus > 1)}' if self.gpus else cores

    def fitting(self, resources: Mapping[str, float]) -> int:
        """Return how many actors a node with these resources of Ray has place for."""
        of_cores = int(resources.get('CPU', 0)) // self.cores
        return min(of_cores, int(resources.get('GPU', 0)) // self.gpus) if self.gpus else of_cores
