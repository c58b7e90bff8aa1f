"""Reader and engine together: a stream of what the network says of each record."""

import collections
import contextlib
import dataclasses
from collections.abc import Generator, Iterable
from typing import Any, Optional

import numpy as np

from r2plus1d.inference.finite import failure_of
from r2plus1d.inference.streaming import run_each
from r2plus1d.sources.sample import Sample, SampleSource

Predicted = tuple[Sample, Optional[dict[str, np.ndarray]]]


def predict(
    reader: SampleSource, engine: Any, *, batch_size: int
) -> Generator[Predicted, None, None]:
    """Yield (Sample, {output: rows of the sample}) in the database's order; None for a failed one.

    Args:
        reader, engine, batch_size: as of `predict_batches`.
    """
    with contextlib.closing(predict_batches(reader, engine, batch_size=batch_size)) as batches:
        for batch in batches:
            yield from batch


def predict_batches(
    reader: Iterable[Sample], engine: Any, *, batch_size: int
) -> Generator[list[Predicted], None, None]:
    """Yield what `predict` does in lists: a batch of the engine, or one record that failed.

    A record of which the network gives NaN has failed, too, and stays in its batch.

    What follows a list does not depend on what came before it.

    The engine gets `batch_size` videos at a time, the last time what is left. While it works, the
    reader's threads decode the next ones, and an engine that works ahead gets them too.

    Args:
        reader: DatabaseSource, or another iterable of Samples, all with the same number of rows.
        engine: with `run(pixels)`, and perhaps `run_each`; see streaming.
        batch_size: videos, over all devices.
    """
    groups, samples = collections.deque[list[Sample]](), iter(reader)
    with contextlib.ExitStack() as ending:
        if isinstance(samples, Generator):  # or what it has begun goes on after an interruption
            ending.callback(samples.close)
        each = run_each(engine, _pixels(samples, batch_size, groups))
        for outputs in ending.enter_context(contextlib.closing(each)):
            yield _share(groups.popleft(), outputs)


def _pixels(samples, batch_size, groups):
    """Yield the clips of each batch, or None of a record that failed; append its samples."""
    for batch in _batches(samples, batch_size):
        groups.append(batch)
        if batch[0].failure is not None:
            yield None
        else:
            yield np.concatenate([sample.clips.pixels for sample in batch])


def _batches(samples, batch_size):
    """Yield lists of good samples, and each failed one alone."""
    held: list[Sample] = []
    for sample in samples:
        if sample.failure is not None:
            if held:
                yield held  # what came before it is known first
                held = []
            yield [sample]
            continue
        held.append(sample)
        if len(held) == batch_size:
            yield held
            held = []
    if held:
        yield held


def _share(samples, outputs):
    """Return each sample with its rows of the outputs."""
    if outputs is None:
        return [(samples[0], None)]
    rows = len(next(iter(outputs.values()))) // len(samples)
    parts = [slice(i * rows, (i + 1) * rows) for i in range(len(samples))]
    return [
        _judged(sample, {name: array[part] for name, array in outputs.items()})
        for sample, part in zip(samples, parts)
    ]


def _judged(sample, outputs):
    reason = failure_of(outputs)
    if reason is None:
        return sample, outputs
    return dataclasses.replace(sample, failure=reason), None
