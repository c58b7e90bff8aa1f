"""How far a run is: a bar on a terminal, sparse lines in a log, both on stderr."""

import logging
import sys
import time

from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress:
    """Use as a context manager.

    Args:
        total: number of steps.
        unit: what a step is, in the plural.
        every: steps between two lines of a log.
    """

    def __init__(self, total, *, unit, every):
        self._total, self._unit, self._every = total, unit, every
        self._done, self._began = 0, time.monotonic()
        on_terminal = sys.stderr.isatty()
        self._bar = tqdm(total=total, unit=f' {unit}', file=sys.stderr) if on_terminal else None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self._bar is not None:
            self._bar.close()

    def step(self, status):
        """Count one step; `status` is shown beside it."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(str(status), refresh=False)
            self._bar.update()
        elif self._done % self._every == 0 and self._done < self._total:
            log.info(
                '%d of %d %s, %s, %s left',
                self._done,
                self._total,
                self._unit,
                status,
                self._left(),
            )

    def _left(self):
        seconds = (time.monotonic() - self._began) / self._done * (self._total - self._done)
        return tqdm.format_interval(seconds)
