"""Batches of clips as chunks of a fixed size through several devices, and back to batches."""

import collections
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Optional

import numpy as np

Batch = Optional[np.ndarray]
Rows = dict[str, np.ndarray]


def run_batches(
    devices: Sequence[Any], batches: Iterable[Batch], *, size: int
) -> Iterator[Optional[Rows]]:
    """Yield for each batch its {output: rows}, and None for each None, in order.

    Chunks reach over the ends of batches, so that only the last one is not full. The devices have
    the next chunks while the rows of a batch are used. An error in `batches` is raised once the
    rows of all batches before it have been yielded.

    Args:
        devices: chunk k goes to device k modulo their number; each has at most `ahead` chunks
            under way, and one fewer while the next batch is waited for.
        batches: arrays of at least one clip, all of one shape; or None.
        size: clips of a chunk.
    """
    counts = collections.deque[Optional[int]]()
    held, done = collections.deque[Rows](), 0
    chunks = _run_chunks(devices, _chunks_of(_counted(batches, counts), size))
    for rows in chunks:
        if rows is not None:
            held.append(rows)
            done += _length(rows)
        while counts and (counts[0] or 0) <= done:
            count = counts.popleft()
            done -= count or 0
            yield None if count is None else _take(held, count)


def _counted(batches, counts):
    for batch in batches:
        counts.append(None if batch is None else len(batch))
        yield batch


def _chunks_of(batches: Iterable[Batch], size: int) -> Iterator[Optional[list[np.ndarray]]]:
    """Yield lists of arrays that have `size` rows together; None wherever a batch is None.

    A list is shorter at the end, before a None (nobody knows when the next batch comes), and
    before clips of another dtype.
    """
    parts, count, failure = list[np.ndarray](), 0, None
    iterator = iter(batches)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            break
        except Exception as error:
            failure = error
            break
        if parts and (batch is None or batch.dtype != parts[0].dtype):
            yield parts
            parts, count = [], 0
        if batch is None:
            yield None
            continue
        while len(batch):
            parts.append(batch[: size - count])
            count += len(parts[-1])
            batch = batch[len(parts[-1]) :]
            if count == size:
                yield parts
                parts, count = [], 0
    if parts:
        yield parts
    if failure is not None:
        raise failure


def _run_chunks(devices, chunks):
    """Yield each chunk's rows; None where a chunk is None, once what was before it is yielded."""
    under_way, submitted, failure = collections.deque[Any](), 0, None
    try:
        while True:
            try:
                chunk = next(chunks)
            except StopIteration:
                break
            except Exception as error:
                failure = error
                break
            if chunk is None:
                while under_way:
                    yield under_way.popleft().collect()
                yield None
                continue
            device = devices[submitted % len(devices)]
            device.submit(chunk)
            under_way.append(device)
            submitted += 1
            if len(under_way) == device.ahead * len(devices):
                yield under_way.popleft().collect()
        while under_way:
            yield under_way.popleft().collect()
    except GeneratorExit:  # nobody wants the rest; the devices go on with other batches
        while under_way:
            under_way.popleft().collect()
        raise
    if failure is not None:
        raise failure


def _length(rows):
    return len(next(iter(rows.values())))


def _take(held, count):
    """Remove `count` rows from the chunks that are held; return them together."""
    parts = []
    while count:
        rows = held.popleft()
        length = _length(rows)
        if length > count:
            held.appendleft({name: array[count:] for name, array in rows.items()})
            rows = {name: array[:count] for name, array in rows.items()}
        parts.append(rows)
        count -= min(length, count)
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
