"""Where the time of a step goes. On a GPU it is measured there, without waiting for it."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import torch


class Clock:
    """Adds up the time between marks.

    Args:
        device: torch.device that computes.

    Attributes:
        seconds: {mark: seconds from the mark before it, in all steps so far}.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == 'cuda'
        self.seconds: dict[str, float] = {}
        self._marks: list[tuple[str, Any]] = []

    @contextlib.contextmanager
    def step(self) -> Iterator[None]:
        """Begin a step; at its end the device has to be done with it."""
        self._marks = [('', self._now())]
        yield
        for (_, before), (name, now) in zip(self._marks, self._marks[1:]):
            taken = before.elapsed_time(now) / 1000 if self._on_gpu else now - before
            self.seconds[name] = self.seconds.get(name, 0.0) + taken

    def mark(self, name: str) -> None:
        """End the part `name` of the step."""
        self._marks.append((name, self._now()))

    def _now(self) -> Any:
        if not self._on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
