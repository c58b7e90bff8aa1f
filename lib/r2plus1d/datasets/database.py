"""Reading a database of videos: an LMDB of records."""

import contextlib
import os
import pathlib
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Union

import lmdb

from r2plus1d.datasets.record import decode, holds_path
from r2plus1d.errors import InputError, RecordError

DATA_FILE = 'data.mdb'
MAPPED_BYTES = 8 << 20  # read between two unmappings


def check_kind(database: 'Database', use_local_file: bool) -> None:
    """Raise InputError if the first record holds a path and should hold a video, or the reverse."""
    try:
        paths = holds_path(decode(database.first()))
    except RecordError:
        return  # one bad record: whoever reads it counts and names it
    if paths and not use_local_file:
        raise InputError(
            f'{database.path} holds paths of videos, not videos: add --use_local_file=1'
        )
    if use_local_file and not paths:
        raise InputError(
            f'{database.path} holds videos, not paths of videos: leave out --use_local_file=1'
        )


class Database:
    """An LMDB of videos, read in the order of its keys.

    It needs no write permission and takes no lock; several may be open in a process, and threads
    may share one.
    """

    _open: 'weakref.WeakValueDictionary[tuple[int, int], Any]' = (
        weakref.WeakValueDictionary()
    )  # LMDB lets a process open a file once: share it

    def __init__(self, path: Union[str, pathlib.Path]) -> None:
        """Open the folder `path`.

        Raises:
            InputError: there is no LMDB, or it is damaged or empty.
        """
        self.path = pathlib.Path(path)
        self._lock, self._got = threading.Lock(), 0
        data = self.path / DATA_FILE
        if not data.is_file():
            wanted = f'the folder of an LMDB (the one with {DATA_FILE} in it)'
            state = 'is not' if self.path.exists() else 'does not exist; it should be'
            raise InputError(f'{self.path} {state} {wanted}')
        with lmdb_errors(f'{data} cannot be read'):
            self._file = _identity(data)
            self._environment = self._environment_of(data)
            self._length = self._environment.stat()['entries']
            self._check_size(data)
        if not self._length:
            raise InputError(f'{self.path} holds no records')

    def _environment_of(self, data):
        if _identity(data) != self._file:
            raise InputError(f'{self.path} was replaced while it was read; start again')
        environment = self._open.get(self._file)
        if environment is None:
            # Readahead: cold, in key order, 1000 MB/s with it and 55 MB/s without it were measured
            environment = self._open[self._file] = lmdb.open(
                str(self.path), readonly=True, create=False, lock=False, readahead=True
            )
        return environment

    def _check_size(self, data):
        """A page past the end of the file would end the process with SIGBUS."""
        pages = self._environment.info()['last_pgno'] + 1
        wanted, size = pages * self._environment.stat()['psize'], data.stat().st_size
        if size < wanted:
            raise InputError(f'{data} is cut short: {size} of {wanted} bytes; copy it again')

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[int, str, bytes]]:
        return self.records()

    def records(self, start: int = 0) -> Iterator[tuple[int, str, bytes]]:
        """Yield (index, key, value) from the record `start` on, in the byte order of the keys."""
        index, last = start, None
        while True:
            for key, value in self._stretch(last, skip=start if last is None else 0):
                yield index, os.fsdecode(key), value
                index, last = index + 1, key
            if last is None or not self._has_after(last):
                return
            self._unmap()

    def _stretch(self, last, skip):
        """Yield (key, value) after the key `last`, or from the first on, MAPPED_BYTES in all."""
        with lmdb_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            cursor = transaction.cursor()
            found = cursor.first() if last is None else cursor.set_range(last) and cursor.next()
            for _ in range(skip):
                found = found and cursor.next()
            read = 0
            while found and read < MAPPED_BYTES:
                key, value = cursor.item()
                yield key, value
                read += len(value)
                found = cursor.next()

    def _has_after(self, key):
        with lmdb_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            cursor = transaction.cursor()
            return cursor.set_range(key) and cursor.next()

    def _unmap(self):
        """Open the file again: pages that were read count as this process's memory until then."""
        with self._lock:
            self._environment = None
            self._environment = self._environment_of(self.path / DATA_FILE)
            self._got = 0

    def first(self) -> bytes:
        """Return the value of the first record."""
        with lmdb_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            cursor = transaction.cursor()
            cursor.first()
            return cursor.value()

    def keys(self) -> list[str]:
        """Return every key (str) in the order of `records`; no value is read."""
        with lmdb_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            return [os.fsdecode(key) for key in transaction.cursor().iternext(values=False)]

    def get(self, key: str) -> bytes:
        """Return the value of `key` (str); InputError if there is none."""
        with self._lock:
            value = self._value(key)
            self._got += len(value or b'')
        if value is None:
            raise InputError(f'{self.path} has no record {key}')
        if self._got > MAPPED_BYTES:
            self._unmap()
        return value

    def _value(self, key):
        with lmdb_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            return transaction.get(os.fsencode(key))

    def close(self) -> None:
        """Let go of the file; it is closed when nobody else reads it."""
        self._environment = None

    def __enter__(self) -> 'Database':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _identity(file):
    """What tells a file from another under the same name."""
    status = file.stat()
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def lmdb_errors(message: str) -> Iterator[None]:
    """Turn LMDB's errors into one line that begins with `message`."""
    try:
        yield
    except lmdb.Error as error:
        raise InputError(f'{message}: {error}') from None
