"""Reader and engine together: a stream of what the network says of each record."""

from collections.abc import Iterator
from typing import Any, Optional

import numpy as np

from r2plus1d.sources.sample import Sample, SampleSource


def predict(
    reader: SampleSource, engine: Any, *, batch_size: int
) -> Iterator[tuple[Sample, Optional[dict[str, np.ndarray]]]]:
    """Yield (Sample, {output: rows of the sample}) in the database's order; None for a failed one.

    The engine gets `batch_size` videos at a time, the last time what is left. While it works, the
    reader's threads decode the next ones.

    Args:
        reader: DatabaseSource, or another iterable of Samples with `settings` and `needs`.
        engine: with `run(pixels)`.
        batch_size: videos, over all devices.
    """
    held: list[Sample] = []
    for sample in reader:
        if sample.failure is not None:
            yield from _run(held, engine, reader)  # what came before it is known first
            held = []
            yield sample, None
            continue
        held.append(sample)
        if len(held) == batch_size:
            yield from _run(held, engine, reader)
            held = []
    yield from _run(held, engine, reader)


def _run(samples, engine, reader):
    """Run the engine on samples with clips and yield each with its rows of the outputs."""
    if not samples:
        return
    pixels = np.concatenate([sample.clips.pixels for sample in samples])
    rows = reader.settings.rows
    outputs = engine.run(pixels)
    for i, sample in enumerate(samples):
        part = slice(i * rows, (i + 1) * rows)
        yield sample, {name: array[part] for name, array in outputs.items()}
