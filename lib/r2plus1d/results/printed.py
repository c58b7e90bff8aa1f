"""What a program prints of each of many things, in shards, each with a journal of its own.

A line of the journal is what one thing gave: the lines that are printed, and why it failed.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Callable

from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.results.arguments import Arguments, require_same
from r2plus1d.results.journal import Journal
from r2plus1d.results.shards import ShardFolder

PRINTED = 'printed.jsonl'

# The lines of one thing, and each of its failures: (path, reason).
Printed = tuple[Sequence[str], Sequence[Sequence[str]]]


def run_shard(
    shards: ShardFolder,
    shard: Shard,
    count: int,
    arguments: Arguments,
    make: Callable[[int, int], Iterator[Printed]],
    *,
    state: Callable[[int, int], str],
    overwrite: bool = False,
) -> tuple[int, int]:
    """Make what is printed of the things of one shard; go on where an earlier run of it ended.

    Args:
        count: how many things there are in all.
        arguments: plain data, all that decides what is printed.
        make: is given the numbers of the first thing and of the first after the last one.
        state: of the same; text that differs if one of these things changed.
        overwrite: begin this shard again.

    Returns:
        (things of the shard, their failures).

    Raises:
        InputError: the folder of the shards has some of another count, of other arguments or of
            things that changed, or another process is at work on this shard.
    """
    begin, end = shard.part(count)
    now = state(begin, end)
    with shards.holding(shard) as folder:
        journal = Journal(folder / PRINTED)
        try:
            if overwrite:
                journal.cut(0)
            done = _begin(journal, arguments, now)
            shards.forget(shard)  # not before: a run that is refused leaves what is done
            if begin + done < end:
                for lines, failures in make(begin + done, end):
                    journal.add([[list(lines), list(failures)]])
            failed = sum(len(failures) for _, failures in _printed(journal))
            journal.sync()
        finally:
            journal.close()
        shards.finish(shard, begin, end, arguments, failed=failed, state=now)
    return end - begin, failed


def _begin(journal, arguments, now):
    """Return how many things are done; cut off what is not whole."""
    before, end = next(journal.lines(), (None, 0))
    if before is None:
        journal.cut(0)
        journal.add([{**arguments, 'state': now}])
        return 0
    of_state = before.pop('state', None)
    require_same(journal.path, before, arguments, flag='output')
    _require_unchanged(journal.path, of_state, now)
    ends = [end, *(after for _, after in journal.lines(end))]
    journal.cut(ends[-1])
    return len(ends) - 1


def _require_unchanged(place, before, now):
    if before != now:
        raise InputError(
            f'{place}: a video of this shard changed since; --overwrite=1 begins the shard again'
        )


def _printed(journal) -> Iterator[Printed]:
    for (lines, failures), _ in itertools.islice(journal.lines(), 1, None):
        yield lines, failures


def printed(
    shards: ShardFolder,
    count: int,
    arguments: Arguments,
    *,
    state: Callable[[int, int], str],
    free: Sequence[str] = (),
) -> Iterator[Printed]:
    """Yield what all shards have made, in order.

    Args:
        state: as in run_shard.
        free: arguments that whoever puts the shards together does not know.

    Raises:
        InputError: shards are missing, contradict each other or are of things that changed; names
            them.
    """
    for each in shards.all(arguments, count, free=free):
        now = state(each.begin, each.end)
        _require_unchanged(shards.folder(each.shard), each.counts.get('state'), now)
        path = shards.folder(each.shard) / PRINTED
        if not path.is_file():
            raise InputError(f'{path} is not there; run shard {each.shard} again')
        journal, done = Journal(path), 0
        try:
            for found in _printed(journal):
                yield found
                done += 1
        finally:
            journal.close()
        if done != each.end - each.begin:
            raise InputError(
                f'{path} has {done} of {each.end - each.begin}; run shard {each.shard} again'
            )
