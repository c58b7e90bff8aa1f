"""The gradients of a batch: its parts one after the other, or shared by the threads of a CPU."""

import contextlib
from typing import Any, NamedTuple, Optional

import numpy as np
import torch

from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.pytorch.clock import Clock
from r2plus1d.backends.pytorch.ranks import Ranks
from r2plus1d.backends.pytorch.together import Together
from r2plus1d.backends.pytorch.training_module import DROPOUT_RATIO, TrainingModule
from r2plus1d.errors import InputError


class Part(NamedTuple):
    """What TrainingModule takes of a part of a batch."""

    data: torch.Tensor
    label: torch.Tensor
    masks: list[torch.Tensor]
    keeps_statistics: bool


class Gradients:
    """Computes the gradients of a module's parameters.

    Args:
        module: TrainingModule on its device.
        settings: the TrainerSettings; each replica's clips are computed in so many `parts`.
        replicas: how many have their own share of a batch.
        ranks: the other processes, if there are some.
        threads: those of a CPU that compute parts together, or None: one part after the other.
        clock: gets the marks `forward` and `backward`.
    """

    def __init__(
        self,
        module: TrainingModule,
        settings: TrainerSettings,
        *,
        replicas: int,
        ranks: Optional[Ranks],
        threads: Optional[Together],
        clock: Clock,
    ) -> None:
        self._module, self._settings, self._replicas = module, settings, replicas
        self._ranks, self._threads, self._clock = ranks, threads, clock
        self._device = next(iter(module.trained.values())).device
        self._called: Any = ranks.wrap(module) if ranks else module
        if settings.compiles:
            self._called = torch.compile(self._called)  # type: ignore[attr-defined] # of PyTorch 2

    def add(
        self, data: np.ndarray, label: np.ndarray, iteration: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the gradients of a batch to those of the parameters.

        Args:
            data, label: as of base.Trainer.step.
            iteration: it decides about dropout.

        Returns:
            (mean loss, number of clips that are right).

        Raises:
            InputError: a batch that cannot be divided into the parts.
            BackendError: another process has ended.
        """
        parts = self._settings.parts
        count = self._replicas * parts
        if len(data) % count:
            raise InputError(f'a batch of {len(data)} clips is not divided by {count} parts')
        pieces = list(zip(np.split(data, count), np.split(label, count)))

        def part(number):  # made when it is its turn: a GPU need not hold all of them
            return self._part(*pieces[number], iteration, number)

        numbers = range(count)
        if self._threads is None:
            figures = [self._add_part(part(n), count, is_last=n == numbers[-1]) for n in numbers]
        else:
            # Of a replica, one part after the other goes into the running statistics.
            most = self._threads.most_batches
            figures = [
                self._add_together([part(n) for n in numbers[first::parts][:most]], count)
                for number in range(parts)
                for first in range(number, count, parts * most)
            ]
        losses, rights = zip(*figures)
        return sum(losses) / count, sum(rights)

    def _part(self, clips, label, iteration, number):
        dtype = np.float32 if self._module.network.multi_label else np.int64
        return Part(
            torch.from_numpy(np.ascontiguousarray(clips, np.float32)).to(self._device),
            torch.from_numpy(np.asarray(label).astype(dtype)).to(self._device),
            self._masks(len(clips), iteration, number),
            keeps_statistics=number < self._settings.parts,
        )

    def _add_part(self, part, count, *, is_last):
        """Add the gradients of a part, one of `count`; returns (loss, number of right clips)."""
        waits = self._ranks is not None and not is_last
        with self._called.no_sync() if waits else contextlib.nullcontext():
            loss, logits = self._called(*part)
            self._clock.mark('forward')
            with self._ranks.speaking() if self._ranks else contextlib.nullcontext():
                (loss / count).backward()
            self._clock.mark('backward')
        return loss.detach(), self._rights(logits, part.label)

    def _add_together(self, given, count):
        """Add those of several parts, by all threads; returns their sums."""
        shares = self._threads.shares(len(given[0].label), len(given))
        parameters = list(self._module.trained.values())

        def work(share):
            part, place = given[share.batch], share.place
            loss, logits = self._module(
                part.data[place], part.label[place], [mask[place] for mask in part.masks],
                part.keeps_statistics, share if share.meeting.count > 1 else None,
            )  # fmt: skip
            if share is shares[0]:
                self._clock.mark('forward')
            gradients = torch.autograd.grad(loss * (share.weight / count), parameters)
            right = self._rights(logits, part.label[place])
            return gradients, (loss.detach() * share.weight, right)

        gradients, figures = zip(*self._threads.run(work, shares))
        for parameter, *own in zip(parameters, *gradients):
            whole = sum(own[1:], own[0])
            parameter.grad = whole if parameter.grad is None else parameter.grad.add_(whole)
        self._clock.mark('backward')
        losses, rights = zip(*figures)
        return sum(losses), sum(rights)

    def _rights(self, logits, label):
        if self._module.network.multi_label:
            return torch.zeros((), device=self._device)
        return (logits.detach().argmax(1) == label).sum()

    def _masks(self, clips, iteration, part):
        """What each dropout keeps: it follows from the seed, the iteration and the place."""
        masks = []
        for number, shape in enumerate(self._module.mask_shapes(clips)):
            place = (iteration, self._settings.shard.index, part, number)
            seeds = np.random.SeedSequence([self._settings.seed, *place]).generate_state(2)
            generator = torch.Generator(self._device)
            generator.manual_seed(int(seeds[0]) << 31 | int(seeds[1]) >> 1)
            draws = torch.rand(shape, generator=generator, device=self._device)
            masks.append(draws >= DROPOUT_RATIO)
        return masks
