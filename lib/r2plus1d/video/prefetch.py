"""Work done ahead of where it is needed, in threads, in order and in bounded memory."""

import collections
import concurrent.futures


def prefetch(function, items, *, threads, ahead):
    """Yield function(*item) of each item, in order.

    Args:
        items: iterable of tuples of arguments, taken only as they are needed.
        threads: calls under way at the same time.
        ahead: results kept ready besides.
    """
    pool = concurrent.futures.ThreadPoolExecutor(threads, thread_name_prefix='decode')
    pending = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(function, *item))
            if len(pending) > threads + ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
