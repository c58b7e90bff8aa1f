"""Batch after batch through an engine, which may work ahead."""

from collections.abc import Generator, Iterable
from typing import Any, Optional

import numpy as np


def run_each(
    engine: Any, batches: Iterable[Optional[np.ndarray]]
) -> Generator[Optional[dict[str, np.ndarray]], None, None]:
    """Yield the engine's {output: rows} of each batch, and None for each None, in order.

    An engine with a method `run_each` is given all batches at once: it may read the next ones
    before it yields the rows of one. Another one is run batch by batch, and nothing is read ahead.

    Args:
        engine: with `run(pixels)`, or None where all batches are None.
    """
    if hasattr(engine, 'run_each'):
        return engine.run_each(batches)
    return (None if pixels is None else engine.run(pixels) for pixels in batches)
