"""Reading a database of videos: an LMDB of records."""

import contextlib
import os
import pathlib
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Union

import lmdb

from r2plus1d.datasets.checksums import CHECKSUM_FILE, checksum_of, read_checksums
from r2plus1d.datasets.meta_pages import require_newest
from r2plus1d.datasets.record import DamagedRecord, decode, holds_path
from r2plus1d.datasets.tree import require_sound_tree
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

    Where the folder has checksums (datasets.checksums), every value is compared with its own. One
    that differs is a DamagedRecord, which `decode` refuses, so that it costs one record.
    """

    _open: 'weakref.WeakValueDictionary[tuple[int, int], Any]' = (
        weakref.WeakValueDictionary()
    )  # LMDB lets a process open a file once: share it

    def __init__(self, path: Union[str, pathlib.Path]) -> None:
        """Open the folder `path`.

        Raises:
            InputError: there is no LMDB, or it is damaged or empty, or it has not as many records
                as the file of checksums beside it.
        """
        self.path = pathlib.Path(path)
        self._lock, self._got = threading.Lock(), 0
        data = self.path / DATA_FILE
        if not data.is_file():
            wanted = f'the folder of an LMDB (the one with {DATA_FILE} in it)'
            state = 'is not' if self.path.exists() else 'does not exist; it should be'
            raise InputError(f'{self.path} {state} {wanted}')
        with lmdb_errors(f'{data} cannot be read'):
            self._descriptor = os.open(data, os.O_RDONLY)
            weakref.finalize(self, os.close, self._descriptor)
            self._file = _identity(os.fstat(self._descriptor))
            require_newest(data)
            self._environment = self._environment_of(data)
            self._length = self._environment.stat()['entries']
            pages = self._environment.info()['last_pgno'] + 1
            self._bytes = pages * self._environment.stat()['psize']
        self._require_uncut('is cut short')
        require_sound_tree(data)
        if not self._length:
            raise InputError(f'{self.path} holds no records')
        self._checksums = self._checksums_of(data)

    def _environment_of(self, data):
        self._require_same(data)
        environment = self._open.get(self._file)
        if environment is None:
            # Readahead: cold, in key order, 1000 MB/s with it and 55 MB/s without it were measured
            environment = self._open[self._file] = lmdb.open(
                os.fsencode(self.path), readonly=True, create=False, lock=False, readahead=True
            )
        return environment

    def _require_uncut(self, what='was cut short while it was read'):
        """A page past the end of the file would end the process with SIGBUS."""
        size = os.fstat(self._descriptor).st_size
        if size < self._bytes:
            data = self.path / DATA_FILE
            raise InputError(f'{data} {what}: {size} of {self._bytes} bytes; copy it again')

    def _checksums_of(self, data):
        checksums = read_checksums(self.path)
        self._require_same(data)
        if checksums is not None and len(checksums) != self._length:
            raise InputError(
                f'{data} holds {self._length} records, and {CHECKSUM_FILE} beside it has '
                f'{len(checksums)}: one of them is damaged or of another database; copy both '
                f'again, or remove {CHECKSUM_FILE}'
            )
        return checksums

    def _require_same(self, data):
        if _identity(data.stat()) != self._file:
            raise InputError(f'{self.path} was replaced while it was read; start again')

    def _checked(self, index, key, value):
        """`value`, as a DamagedRecord if it has another checksum than record `index` should."""
        if self._checksums is None:
            return value
        is_known = 0 <= index < self._length
        if is_known and checksum_of(key, value) == self._checksums[index]:
            return value
        return DamagedRecord(value)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[int, str, bytes]]:
        return self.records()

    def records(self, start: int = 0) -> Iterator[tuple[int, str, bytes]]:
        """Yield (index, key, value) from the record `start` on, in the byte order of the keys.

        Raises:
            InputError: the database is damaged, was cut short or replaced, or has another number
                of records than it says.
        """
        index, last = start, None
        while True:
            for key, value in self._stretch(last, skip=start if last is None else 0):
                yield index, os.fsdecode(key), self._checked(index, key, value)
                index, last = index + 1, key
            if last is None or index > self._length or not self._has_after(last):
                break
            self._unmap()
        if start <= self._length:
            self._require_count(index)

    def _require_count(self, count):
        if count != self._length:
            raise InputError(
                f'{self.path} is damaged: it says that it holds {self._length} records, and '
                f'{count} are found'
            )

    def _stretch(self, last, skip):
        """Yield (key, value) after the key `last`, or from the first on, MAPPED_BYTES in all."""
        with self._transaction() as transaction:
            cursor = transaction.cursor()
            found = cursor.first() if last is None else cursor.set_range(last) and cursor.next()
            for _ in range(skip):
                self._require_uncut()
                found = found and cursor.next()
            read = 0
            while found and read < MAPPED_BYTES:
                self._require_uncut()
                key, value = cursor.item()
                yield key, value
                read += len(value)
                self._require_uncut()
                found = cursor.next()

    @contextlib.contextmanager
    def _transaction(self):
        """Give a transaction."""
        self._require_uncut()
        with lmdb_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            yield transaction

    def _has_after(self, key):
        with self._transaction() as transaction:
            cursor = transaction.cursor()
            return cursor.set_range(key) and cursor.next()

    def _unmap(self):
        """Open the file again: pages that were read count as this process's memory until then."""
        data = self.path / DATA_FILE
        with self._lock:
            self._require_same(data)  # or there would be none for the others that read
            self._environment = None
            self._environment = self._environment_of(data)
            self._got = 0

    def first(self) -> bytes:
        """Return the value of the first record."""
        with self._transaction() as transaction:
            cursor = transaction.cursor()
            cursor.first()
            key, value = cursor.item()
        return self._checked(0, key, value)

    def keys(self) -> list[str]:
        """Return every key (str) in the order of `records`; no value is read.

        Raises:
            InputError: as `records`.
        """
        found = []
        with self._transaction() as transaction:
            for key in transaction.cursor().iternext(values=False):
                self._require_uncut()
                found.append(os.fsdecode(key))
        self._require_count(len(found))
        return found

    def get(self, key: str) -> bytes:
        """Return the value of `key` (str).

        Raises:
            InputError: there is none, or as `records`.
        """
        with self._lock:
            value = self._value(key)
            self._got += len(value or b'')
        if value is None:
            raise InputError(f'{self.path} has no record {key}')
        if self._got > MAPPED_BYTES:
            self._unmap()
        # Checksums are of databases that are written here, in which a key is the record's number.
        index = int(key) if self._checksums is not None and key.isdecimal() else -1
        return self._checked(index, os.fsencode(key), value)

    def _value(self, key):
        with self._transaction() as transaction:
            return transaction.get(os.fsencode(key))

    def close(self) -> None:
        """Let go of the file; it is closed when nobody else reads it."""
        self._environment = None

    def __enter__(self) -> 'Database':
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _identity(status):
    """What tells a file from another under the same name."""
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def lmdb_errors(message: str) -> Iterator[None]:
    """Turn LMDB's errors into one line that begins with `message`."""
    try:
        yield
    except lmdb.Error as error:
        raise InputError(f'{message}: {error}') from None
