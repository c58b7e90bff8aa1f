"""How far a run is: a bar on a terminal, sparse lines in a log, both on stderr."""

import contextlib
import logging
import shutil
import sys
import time
from typing import Optional

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

log = logging.getLogger(__name__)

BAR = '{desc}{n_fmt}/{total_fmt} {unit} |{bar}| {remaining}{postfix}'
SHORTEST_BAR = 10
LONGEST_TIME = '1:23:45'


class Progress:
    """Use as a context manager.

    Args:
        total: number of steps.
        unit: what a step is, in the plural.
        every: steps between two lines of a log.
        title: what is under way, shown first.
        done: steps that an earlier run has done.
    """

    def __init__(
        self, total: int, *, unit: str, every: int, title: Optional[str] = None, done: int = 0
    ) -> None:
        self._total, self._unit, self._every = total, unit, every
        self._title = f'{title}: ' if title else ''
        self._done, self._began, self._found = done, time.monotonic(), done
        on_terminal = sys.stderr.isatty()
        self._bar = (
            tqdm(
                total=total,
                initial=done,
                desc=title,
                unit=unit,
                file=sys.stderr,
                bar_format=BAR,
                dynamic_ncols=True,
            )
            if on_terminal
            else None
        )

    def __enter__(self) -> 'Progress':
        self._ending = contextlib.ExitStack()
        if self._bar is not None:
            self._ending.enter_context(self._bar)
            self._ending.enter_context(logging_redirect_tqdm())  # logs go above the bar
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ending.close()

    def step(self, status: object, count: int = 1) -> None:
        """Count `count` steps; `status` is shown beside them."""
        before = self._done // self._every
        self._done += count
        if self._bar is not None:
            self._bar.set_postfix_str(self._fitted(str(status)), refresh=False)
            self._bar.update(count)
        elif self._done // self._every > before and self._done < self._total:
            done = f'{self._title}{self._done} of {self._total} {self._unit}'
            log.info('%s, %s, %s left', done, status, self._left())

    def _fitted(self, status):
        """As much of a status as leaves room for a bar."""
        numbers = f'{self._total}/{self._total} {self._unit} || {LONGEST_TIME}, '
        taken = len(self._title) + len(numbers) + SHORTEST_BAR
        return status[: max(0, shutil.get_terminal_size().columns - 1 - taken)]

    def _left(self):
        a_step = (time.monotonic() - self._began) / (self._done - self._found)
        seconds = a_step * (self._total - self._done)
        return tqdm.format_interval(seconds)
