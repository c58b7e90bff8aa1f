"""Features on disk: arrays that are filled in any order and survive an interruption at any moment.

While it is being filled, a store is the folder OUTPUT.partial:

    arguments.json   what it was begun with
    NAME.npy         the rows of a blob, at the places of their records
    journal.jsonl    one line for each record that is done, in the order of processing
    lock             says which process is at work
    complete/        what is finished, ready to be moved to OUTPUT

OUTPUT.partial.removed is what a removal that was interrupted left.

A line of the journal is written after the rows that it stands for, so what it says is so.
"""

import contextlib
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Union

import numpy as np

from r2plus1d.features.entry import Entry
from r2plus1d.features.npy_rows import Column, NpyFile
from r2plus1d.results.arguments import (
    Arguments,
    read_arguments,
    require_same,
    write_arguments,
)
from r2plus1d.results.hold import Hold
from r2plus1d.results.journal import Journal

SECONDS_BETWEEN_SYNCS = 2.0
BLOCK_BYTES = 4 << 20
JOURNAL, LOCK = 'journal.jsonl', 'lock'


class Store:
    """Use as a context manager.

    Args:
        folder: OUTPUT.partial; one that is there is continued, if nothing of it is missing.
        columns: {name: npy_file.Column}.
        num_records, rows: how many records there are, and rows that each one has.
        batch: records whose numbers depend on each other; a run goes on from a multiple of it.
        arguments: plain data, all that decides what the arrays become.

    Attributes:
        done: records that are done.

    Raises:
        InputError: the folder was begun with other arguments, or another process is at work.

    A folder in which no record is done is removed at the end, if it was made here.
    """

    def __init__(
        self,
        folder: Union[str, pathlib.Path],
        columns: Mapping[str, Column],
        *,
        num_records: int,
        rows: int,
        arguments: Arguments,
        batch: int = 1,
    ) -> None:
        self.folder, self.columns = pathlib.Path(folder), columns
        self.num_records, self.rows = num_records, rows
        self._is_new = not self.folder.exists()
        self._hold = hold(self.folder)
        self._journal = Journal(self.folder / JOURNAL)
        self._arrays: dict[str, NpyFile] = {}
        self._pending: list[Entry] = []
        self._last_sync = time.monotonic()
        try:
            self._open(arguments, batch)
        except BaseException:
            self._close()
            raise

    def _open(self, arguments, batch):
        self._check(arguments)
        self.done = self._read_journal(batch)
        self._arrays = {
            name: NpyFile(self._path(name), c, self.num_records * self.rows)
            for name, c in self.columns.items()
            if not self.complete(name).exists()
        }

    def __enter__(self) -> 'Store':
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.sync()
        finally:
            self._close()

    def _close(self):
        for array in self._arrays.values():
            array.close()
        self._journal.close()
        if self._is_new and (self.folder / JOURNAL).exists() and not is_begun(self.folder):
            remove_held(self.folder)
        self._hold.release()

    def _check(self, arguments):
        """Refuse other arguments. A journal without its arguments or its arrays says nothing."""
        path = self.folder / 'arguments.json'
        before = read_arguments(path)
        if before is not None and is_begun(self.folder):
            require_same(self.folder, before, arguments)
        places = [(self._path(name), self.complete(name)) for name in self.columns]
        has_all = all(path.exists() or done.exists() for path, done in places)
        if before is None or not is_begun(self.folder) or not has_all:
            self._journal.cut(0)
            shutil.rmtree(self.complete('').parent, ignore_errors=True)
            write_arguments(path, arguments)

    def _read_journal(self, batch):
        """Return how many records are done; anything after them is cut off."""
        ends = [0]
        for _, end in self._lines():
            ends.append(end)
        done = len(ends) - 1
        if done < self.num_records:
            done -= done % batch
        self._journal.cut(ends[done])
        return done

    def _lines(self):
        """Yield (Entry, where its line ends) up to the first line that is not whole."""
        for content, end in self._journal.lines():
            try:
                yield Entry(*content), end
            except TypeError:
                return

    def _path(self, name):
        return self.folder / f'{name}.npy'

    def complete(self, name: str) -> pathlib.Path:
        """Where the finished array of a blob goes, beside whatever else is finished."""
        return self.folder / 'complete' / f'{name}.npy'

    def add(self, entries: Sequence[Entry], arrays: Mapping[str, np.ndarray]) -> None:
        """Add records.

        Args:
            entries: Entry of each one.
            arrays: {name: array} of the rows of those that did not fail, one after another.
        """
        good = [entry for entry in entries if entry.failure is None]
        for name, array in self._arrays.items():
            assert not good or len(arrays[name]) == len(good) * self.rows, name
            for i, entry in enumerate(good):
                array.write(
                    arrays[name][i * self.rows : (i + 1) * self.rows], entry.index * self.rows
                )
        self._pending += entries
        self.done += len(entries)
        if time.monotonic() - self._last_sync > SECONDS_BETWEEN_SYNCS:
            self.sync()

    def sync(self) -> None:
        """Bring everything to the disk, the rows before the lines that say so."""
        if self._pending:
            for array in self._arrays.values():
                array.sync()
            # First: an interruption from here on must not write them twice.
            entries, self._pending = self._pending, []
            self._journal.add(entries)
            self._journal.sync()
        self._last_sync = time.monotonic()

    def entries(self) -> Iterator[Entry]:
        """Yield the Entry of each record that is done, in the order of the records' indices."""
        self.sync()
        places = np.full(self.num_records, -1, np.int64)
        begin = 0
        for entry, end in self._lines():
            places[entry.index], begin = begin, end
        for place in places[places >= 0]:
            yield Entry(*self._journal.read(place))

    def failed(self) -> np.ndarray:
        """Which records have no rows, bool (num_records,)."""
        self.sync()
        failed = np.ones(self.num_records, bool)
        for entry, _ in self._lines():
            failed[entry.index] = entry.failure is not None
        return failed

    def blocks(self, name: str, failed: np.ndarray) -> Iterator[np.ndarray]:
        """Yield a blob's rows in the order of the records, without those that `failed`."""
        if name not in self._arrays:  # an earlier run has put it where `complete` says
            count = int((~failed).sum()) * self.rows
            with contextlib.closing(
                NpyFile(self.complete(name), self.columns[name], count)
            ) as file:
                step = max(1, BLOCK_BYTES // max(1, self.columns[name].row_bytes))
                for begin in range(0, count, step):
                    yield file.read(begin, min(begin + step, count))
            return
        step = max(1, BLOCK_BYTES // max(1, self.rows * self.columns[name].row_bytes))
        for begin in range(0, self.num_records, step):
            end = min(begin + step, self.num_records)
            block = self._arrays[name].read(begin * self.rows, end * self.rows)
            yield block[~np.repeat(failed[begin:end], self.rows)]

    def rows_of(self, name: str, entries: Sequence[Entry]) -> np.ndarray:
        """The rows of a blob of records, one after another, without those of failed ones."""
        array, rows = self._arrays[name], self.rows
        parts = [
            array.read(entry.index * rows, (entry.index + 1) * rows)
            for entry in entries
            if entry.failure is None
        ]
        return np.concatenate([array.read(0, 0), *parts])

    def complete_arrays(self, failed: np.ndarray) -> None:
        """Put every array where `complete` says: as it is, or without the rows that `failed`."""
        self.complete('').parent.mkdir(exist_ok=True)
        for name, array in self._arrays.items():
            if failed.any():
                count = int((~failed).sum()) * self.rows
                compact = self.folder / f'{name}.npy.compact'
                with contextlib.closing(NpyFile(compact, self.columns[name], count)) as target:
                    place = 0
                    for block in self.blocks(name, failed):
                        target.write(block, place)
                        place += len(block)
                    target.sync()
                compact.replace(self.complete(name))
            else:
                array.sync()
                self._path(name).replace(self.complete(name))


def is_begun(folder: pathlib.Path) -> bool:
    """Whether the store in `folder` has a record; with none it can become another run's."""
    journal = folder / JOURNAL
    return journal.exists() and journal.stat().st_size > 0


def discard(folder: pathlib.Path) -> None:
    """Remove the store in `folder`, if there is one; InputError if a process is at work on it."""
    if folder.exists():
        owner = hold(folder)
        remove_held(folder)
        owner.release()
    else:
        _remove_left(folder)


def remove_held(folder: pathlib.Path) -> None:
    """Remove a store that this process holds.

    It goes in one step: the next run makes a folder of its own, and loses nothing that is in it.
    """
    _remove_left(folder)
    folder.rename(_removed(folder))
    _remove_left(folder)


def _remove_left(folder):
    """Remove what is left of a removal, which an interruption or another process may have cut."""
    shutil.rmtree(_removed(folder), ignore_errors=True)


def _removed(folder):
    return folder.with_name(f'{folder.name}.removed')


def hold(folder: pathlib.Path) -> Hold:
    """Take the store in `folder` for this process alone; InputError if another one has it."""
    return Hold(folder, folder / LOCK)
