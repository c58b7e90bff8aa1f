"""Databases of videos: an LMDB of records, written so that it is complete or not there."""

import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
import threading
import weakref

import lmdb

from r2plus1d.errors import InputError, RecordError
from r2plus1d.video.record import decode, encode, holds_path

DATA_FILE, LOCK_FILE = 'data.mdb', 'lock.mdb'
MAP_BYTES = 1 << 30  # address space, not disk; doubled when it is full
MAPPED_BYTES = 8 << 20  # read between two unmappings
BATCH_RECORDS, BATCH_BYTES = 1000, 32 << 20  # a transaction holds what it writes in memory


def check_kind(database, use_local_file):
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

    _open = weakref.WeakValueDictionary()  # LMDB lets a process open a file once: share it

    def __init__(self, path):
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
        with _read_errors(f'{data} cannot be read'):
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

    def __len__(self):
        return self._length

    def __iter__(self):
        return self.records()

    def records(self, start=0):
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
        with _read_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
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
        with _read_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            cursor = transaction.cursor()
            return cursor.set_range(key) and cursor.next()

    def _unmap(self):
        """Open the file again: pages that were read count as this process's memory until then."""
        with self._lock:
            self._environment = None
            self._environment = self._environment_of(self.path / DATA_FILE)
            self._got = 0

    def first(self):
        """Return the value of the first record."""
        with _read_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            cursor = transaction.cursor()
            cursor.first()
            return cursor.value()

    def keys(self):
        """Return every key (str) in the order of `records`; no value is read."""
        with _read_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
            return [os.fsdecode(key) for key in transaction.cursor().iternext(values=False)]

    def get(self, key):
        """Return the value of `key` (str); InputError if there is none."""
        with self._lock:
            with _read_errors(f'{self.path} is damaged'), self._environment.begin() as transaction:
                value = transaction.get(os.fsencode(key))
            self._got += len(value or b'')
        if value is None:
            raise InputError(f'{self.path} has no record {key}')
        if self._got > MAPPED_BYTES:
            self._unmap()
        return value

    def close(self):
        """Let go of the file; it is closed when nobody else reads it."""
        self._environment = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def check_output(path, overwrite=False):
    """Raise InputError unless a database may be written as the folder `path`."""
    path = pathlib.Path(path)
    if not path.exists():
        return
    if not path.is_dir() or os.path.ismount(path):
        raise InputError(f'{path} is a file or a mount point; name a folder that can be created')
    names = {entry.name for entry in path.iterdir()}
    if names and DATA_FILE not in names:
        raise InputError(f'{path} exists and is not a database; name a new folder')
    if names and not overwrite:
        raise InputError(f'{path} exists already; --overwrite=1 replaces it')


class DatabaseWriter:
    """Builds a database that appears under its name only when it is complete; a context manager.

    It is written as `PATH.partial-...` beside the target, which an exception removes. What a killed
    writer leaves there, the next one for the same target removes.
    """

    def __init__(
        self, path, total, *, overwrite=False, map_bytes=MAP_BYTES, batch_bytes=BATCH_BYTES
    ):
        """Prepare to write `total` records as the folder `path`.

        Args:
            overwrite: an existing database is replaced once the new one is complete.
            map_bytes: address space to begin with; it grows as needed.
            batch_bytes: a transaction is ended after so many bytes of records.

        Raises:
            InputError: `path` exists, and `overwrite` is not set or it is no database.
        """
        check_output(path, overwrite)
        self.path = pathlib.Path(path)
        self._target = self.path.resolve()
        self._partial = self._target.with_name(
            f'{self._partial_prefix()}{os.getpid()}-{secrets.token_hex(4)}'
        )
        self._total, self._overwrite = total, overwrite
        self._map_bytes, self._batch_bytes = map_bytes, batch_bytes
        self._count, self._pending, self._pending_bytes = 0, [], 0

    def _partial_prefix(self):
        return f'{self._target.name}.partial-'

    def __enter__(self):
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()
        self._partial.mkdir()
        self._alive = _lock(self._partial)
        with self._write_errors():
            self._environment = lmdb.open(
                str(self._partial), self._map_bytes, lock=False, sync=False
            )
        return self

    @contextlib.contextmanager
    def _write_errors(self):
        """LMDB calls a full disk an input/output error: say what is free."""
        try:
            yield
        except lmdb.Error as error:
            free = shutil.disk_usage(self._target.parent).free
            raise InputError(
                f'{self.path} cannot be written: {error} ({free / 1e6:.0f} MB are free there)'
            ) from None

    def _remove_abandoned(self):
        for entry in self._target.parent.iterdir():
            if entry.name.startswith(self._partial_prefix()):
                with contextlib.suppress(OSError):  # a live writer holds the lock
                    os.close(_lock(entry))
                    shutil.rmtree(entry)

    def add(self, record):
        """Append a Record; its key is its index, padded so that byte order is record order."""
        key = str(self._count).zfill(len(str(self._total - 1)))
        value = encode(record)
        self._pending.append((key.encode(), value))
        self._count += 1
        self._pending_bytes += len(value)
        if len(self._pending) >= BATCH_RECORDS or self._pending_bytes >= self._batch_bytes:
            self._commit()

    def _commit(self):
        with self._write_errors():
            while not self._put_pending():
                self._environment.set_mapsize(2 * self._environment.info()['map_size'])
        self._pending, self._pending_bytes = [], 0

    def _put_pending(self):
        try:
            with self._environment.begin(write=True) as transaction:
                for key, value in self._pending:
                    transaction.put(key, value, append=True)
        except lmdb.MapFullError:
            return False
        return True

    def __exit__(self, kind, error, traceback):
        try:
            if kind is None:
                self._finish()
        finally:
            self._environment.close()
            shutil.rmtree(self._partial, ignore_errors=True)
            os.close(self._alive)

    def _finish(self):
        assert self._count == self._total, (self._count, self._total)
        self._commit()
        with self._write_errors():
            self._environment.sync(True)
        self._environment.close()
        _sync_folder(self._partial)
        check_output(self._target, self._overwrite)
        if (self._target / DATA_FILE).exists():
            (self._partial / DATA_FILE).replace(self._target / DATA_FILE)
            (self._target / LOCK_FILE).unlink(missing_ok=True)  # of the database that was replaced
            _sync_folder(self._target)
        else:
            self._partial.rename(self._target)
        _sync_folder(self._target.parent)


def _lock(folder):
    """Return a descriptor of `folder` that is locked until it is closed or the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sync_folder(folder):
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _identity(file):
    """What tells a file from another under the same name."""
    status = file.stat()
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _read_errors(message):
    try:
        yield
    except lmdb.Error as error:
        raise InputError(f'{message}: {error}') from None
