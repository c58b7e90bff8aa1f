"""Work done ahead of where it is needed, in threads, in order and in bounded memory."""

import collections
import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Callable, TypeVar

from r2plus1d.video.decoders import DECODERS

T = TypeVar('T')

_END = object()
_SECONDS_BETWEEN_LOOKS = 0.1  # of a thread that waits for room, at whether it should stop


def prefetch(
    function: Callable[..., T], items: Iterable[tuple[Any, ...]], *, threads: int, ahead: int
) -> Iterator[T]:
    """Yield function(*item) of each item, in order.

    Args:
        items: iterable of tuples of arguments, taken only as they are needed.
        threads: calls under way at the same time.
        ahead: results kept ready besides.
    """
    pending: collections.deque[concurrent.futures.Future[T]] = collections.deque()
    with _pool(threads) as pool:
        for item in items:
            pending.append(pool.submit(function, *item))
            if len(pending) > threads + ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def prefetch_streams(
    function: Callable[..., Generator[T, None, None]],
    items: Iterable[tuple[Any, ...]],
    *,
    threads: int,
    streams: int,
    ahead: int,
) -> Iterator[T]:
    """Yield all that the generator function(*item) yields, item by item, in order.

    Args:
        items: iterable of tuples of arguments, taken only as they are needed.
        threads: generators that run at the same time.
        streams: generators that have begun, or ended, before all they gave is taken.
        ahead: results of each that are kept ready.
    """
    pending: collections.deque[tuple[queue.Queue, concurrent.futures.Future]] = collections.deque()
    stop = threading.Event()
    with _pool(threads) as pool, contextlib.ExitStack() as at_end:
        at_end.callback(stop.set)
        for item in items:
            results: queue.Queue = queue.Queue(ahead)
            pending.append((results, pool.submit(_run, function, item, results, stop)))
            if len(pending) >= streams:
                yield from _results(*pending.popleft())
        while pending:
            yield from _results(*pending.popleft())


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[concurrent.futures.Executor]:
    """Give threads; at the end nothing that they began goes on."""
    used: set[threading.Thread] = set()
    pool = concurrent.futures.ThreadPoolExecutor(
        threads, 'decode', initializer=lambda: used.add(threading.current_thread())
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        with DECODERS.ending_calls(used):  # nobody waits for what they decode
            pool.shutdown(wait=True)


def _run(function, item, results, stop):
    with contextlib.closing(function(*item)) as stream:
        try:
            for result in stream:
                _put(results, result, stop)
        finally:
            _put(results, _END, stop)


def _put(results, result, stop):
    while not stop.is_set():
        with contextlib.suppress(queue.Full):
            return results.put(result, timeout=_SECONDS_BETWEEN_LOOKS)
    raise concurrent.futures.CancelledError


def _results(results, future):
    while (result := results.get()) is not _END:
        yield result
    future.result()  # raises what the generator raised
