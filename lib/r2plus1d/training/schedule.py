"""How long and how fast: pure functions of the settings and the iteration."""

import dataclasses
import math
import sys

from r2plus1d.errors import InputError


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long training takes, and how fast it learns at each iteration.

    Attributes:
        batch_size: clips of one iteration, over all devices and machines.
        epoch_size: clips of an epoch; what does not fill a batch is left out, as in the original.
        num_epochs: epochs in all.
        base_learning_rate: of one device; it is multiplied by the number of devices.
        num_devices: over all machines.
        step_epoch, gamma: every `step_epoch` epochs the rate is multiplied by `gamma`.

    Raises:
        InputError: an epoch without a whole batch.
    """

    batch_size: int
    epoch_size: int
    num_epochs: int
    base_learning_rate: float
    num_devices: int = 1
    step_epoch: int = 10
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if self.epoch_size < self.batch_size:
            raise InputError(
                f'epoch_size is {self.epoch_size}, less than one batch of {self.batch_size} clips '
                f'over {self.num_devices} devices'
            )

    @property
    def iterations(self) -> int:
        """Iterations of an epoch."""
        return self.epoch_size // self.batch_size

    def learning_rate(self, iteration: int) -> float:
        """The rate at an iteration, counted from 0 over all epochs.

        Caffe2's operator Iter counts before LearningRate reads it, so its first iteration is 1, and
        the rate falls in the last iteration of a step.
        """
        step = int(min(self.step_epoch * self.epoch_size / self.batch_size, sys.maxsize))
        rate = self.base_learning_rate * self.num_devices
        try:
            return rate * self.gamma ** ((iteration + 1) // max(1, step))
        except OverflowError:
            return math.inf
