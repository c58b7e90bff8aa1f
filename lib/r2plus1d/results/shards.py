"""The shards of a run, in files: where each one is, which are done, and what they have in common.

Beside OUTPUT, while its shards are being made and until they are merged:

    OUTPUT.shards/3_of_40/            what shard 3/40 has made so far
    OUTPUT.shards/3_of_40.done.json   which records it has, of what run; it is written last
    OUTPUT.shards/seen.*              what the first shard saw of all records or files
    OUTPUT.shards/merge.lock          says which process merges
    OUTPUT.shards.removed/            what a removal that was interrupted left
"""

import contextlib
import json
import logging
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.results.arguments import Arguments, require_same
from r2plus1d.results.complete import complete_file
from r2plus1d.results.hold import HeldError, Hold

log = logging.getLogger(__name__)

NAME = re.compile(r'([0-9]+)_of_([0-9]+)(\.done\.json)?')
SHOWN = 5  # shards that a message names
ENGINE_ARGUMENTS = ('engine', 'gpus')  # of a shard; whoever merges needs neither


def engine_arguments(arguments: Arguments) -> dict[str, Any]:
    """Return those of a shard's arguments that whoever merges need not know."""
    return {name: arguments[name] for name in ENGINE_ARGUMENTS if name in arguments}


class DoneShard(NamedTuple):
    """What a finished shard says of itself.

    Attributes:
        shard: Shard.
        begin, end: its places in the order of the records.
        arguments: of its run.
        counts: plain data, such as how many records failed.
    """

    shard: Shard
    begin: int
    end: int
    arguments: Arguments
    counts: Mapping[str, Any]


class ShardFolder:
    """The folder OUTPUT.shards.

    Args:
        output: the file or folder that is made of all shards.
    """

    def __init__(self, output: pathlib.Path) -> None:
        self.output = output
        self.path = output.with_name(f'{output.name}.shards')

    def folder(self, shard: Shard) -> pathlib.Path:
        """Where a shard puts what it makes."""
        return self.path / f'{shard.index}_of_{shard.count}'

    def _note(self, shard: Shard) -> pathlib.Path:
        return self.path / f'{shard.index}_of_{shard.count}.done.json'

    def _names(self) -> Iterator[tuple[Shard, bool]]:
        """Yield (Shard, whether it is done) of what is there; no file is read."""
        with contextlib.suppress(FileNotFoundError):
            for path in self.path.iterdir():
                found = NAME.fullmatch(path.name)
                if found and int(found[1]) < int(found[2]):
                    yield Shard(int(found[1]), int(found[2])), found[3] is not None

    def require_count(self, count: int) -> None:
        """Raise InputError if there are shards of another count."""
        others = sorted({shard.count for shard, _ in self._names()} - {count})
        if others:
            raise InputError(
                f'{self.path} has shards of {others[0]}, and this is one of {count}: give the same '
                'count, or another output, or remove that folder'
            )

    @contextlib.contextmanager
    def holding(self, shard: Shard) -> Iterator[pathlib.Path]:
        """Give the folder of a shard, which is this run's within the block.

        Raises:
            InputError: there are shards of another count.
            HeldError: another run is at work on this shard.
        """
        self.require_count(shard.count)
        folder = self.folder(shard)
        hold = Hold(folder, folder / 'lock')
        try:
            yield folder
        finally:
            hold.release()

    def count(self) -> int:
        """Return how many shards the run is cut into.

        Raises:
            InputError: there is no shard, or there are some of several counts.
        """
        counts = sorted({shard.count for shard, _ in self._names()})
        if not counts:
            raise InputError(f'{self.path} has no shards to merge; --shard=0/N makes the first')
        if len(counts) > 1:
            shown = ' and of '.join(map(str, counts))
            raise InputError(f'{self.path} has shards of {shown}: remove those of one')
        return counts[0]

    def is_empty(self) -> bool:
        """Whether no shard was begun, or all of them are merged."""
        return next(self._names(), None) is None

    def are_done(self, count: int) -> bool:
        """Whether all shards of a count are done."""
        return sum(is_done and shard.count == count for shard, is_done in self._names()) == count

    def is_done(self, shard: Shard) -> bool:
        return self._note(shard).exists()

    def finish(
        self, shard: Shard, begin: int, end: int, arguments: Arguments, **counts: Any
    ) -> None:
        """Say that a shard is done: the places `begin` to `end` of a run of `arguments`."""
        note = {'begin': begin, 'end': end, 'arguments': arguments, 'counts': counts}
        with complete_file(self._note(shard), 'w', private=True) as file:
            file.write(json.dumps(note, indent=1) + '\n')

    def forget(self, shard: Shard) -> None:
        """A shard is begun again: it is not done."""
        self._note(shard).unlink(missing_ok=True)

    def read(self, shard: Shard) -> DoneShard:
        """Return what a finished shard says; InputError if its note is damaged."""
        path = self._note(shard)
        try:
            note = json.loads(path.read_text())
            begin, end = int(note['begin']), int(note['end'])
            return DoneShard(shard, begin, end, dict(note['arguments']), dict(note['counts']))
        except (OSError, ValueError, TypeError, KeyError):
            raise InputError(f'{path} is damaged; remove it, and run shard {shard} again') from None

    def all(self, arguments: Arguments, records: int, *, free: Sequence[str]) -> list[DoneShard]:
        """Return every shard in order, once they are known to have each record once.

        Args:
            arguments: of the run that merges.
            records: how many there are.
            free: arguments of the shards that the run that merges cannot know; they have to be the
                same in all shards.

        Raises:
            InputError: shards are missing, were made with other arguments, or do not fit together.
        """
        count = self.count()
        there = {shard.index for shard, is_done in self._names() if is_done}
        missing = [index for index in range(count) if index not in there]
        if missing:
            more = f' and {len(missing) - SHOWN} more' if len(missing) > SHOWN else ''
            shown = ', '.join(f'{index}/{count}' for index in missing[:SHOWN])
            raise InputError(
                f'{self.path}: {len(missing)} of {count} shards are not done: {shown}{more}'
            )
        done = [self.read(Shard(index, count)) for index in range(count)]
        first = done[0].arguments
        wanted = {**arguments, **{name: first[name] for name in free if name in first}}
        for each in done:
            require_same(self.folder(each.shard), each.arguments, wanted)
        self._require_each_once(done, records)
        return done

    def _require_each_once(self, done, records):
        place = 0
        for each in done:
            if each.begin != place or each.end < place:
                raise InputError(
                    f'{self.folder(each.shard)} has the records from {each.begin} to {each.end}, '
                    f'and those before it end at {place}: run shard {each.shard} again'
                )
            place = each.end
        if place != records:
            raise InputError(f'{self.path} has {place} records, and there are {records}')

    @contextlib.contextmanager
    def merging(self, after: Optional[Shard] = None) -> Iterator[bool]:
        """Keep other runs from merging within the block; give whether this run is to merge.

        Args:
            after: the shard that has just ended: its run merges if all others are done, and no
                other run merges them. None: this run merges in any case.

        Raises:
            HeldError: another run merges, and `after` is None.
        """
        if after is not None and not self.are_done(after.count):
            yield False
            return
        try:
            hold = Hold(self.output, self.path / 'merge.lock')
        except HeldError as error:
            if after is None:
                raise
            log.info('%s', error)
            yield False
            return
        try:
            yield after is None or self.are_done(after.count)  # another run may have merged them
        finally:
            hold.release()

    def remove(self) -> None:
        """Remove the shards: what they made is in the output.

        They go in one step, so that after an interruption none of them seems to be missing.
        """
        gone = self.path.with_name(f'{self.path.name}.removed')
        shutil.rmtree(gone, ignore_errors=True)  # which an interruption left
        with contextlib.suppress(OSError):  # there are none
            self.path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
