"""Writing a database of videos, so that it is complete or not there."""

import contextlib
import fcntl
import filecmp
import os
import pathlib
import secrets
import shutil
from array import array
from typing import Optional, Union

import lmdb

from r2plus1d.datasets.checksums import (
    CHECKSUM_FILE,
    UNSIGNED,
    checksum_of,
    write_checksums,
)
from r2plus1d.datasets.database import DATA_FILE
from r2plus1d.datasets.record import Record, encode
from r2plus1d.errors import InputError
from r2plus1d.results.complete import sync
from r2plus1d.results.hold import Hold

LOCK_FILE = 'lock.mdb'
MAP_BYTES = 1 << 30  # address space, not disk; doubled when it is full
BATCH_RECORDS, BATCH_BYTES = 1000, 32 << 20  # a transaction holds what it writes in memory


def check_output(path: Union[str, pathlib.Path], overwrite: bool = False) -> None:
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

    Beside data.mdb stands the file of datasets.checksums. The same records give the same bytes.

    It is written as `PATH.partial-...` beside the target, which an exception removes. What a killed
    writer leaves there, the next one for the same target removes. A second writer for the same
    target is refused as long as the first one is at work.

    Attributes:
        unchanged: whether it ended with nothing to replace: the database that was there has the
            same bytes, and was left alone, so that whoever reads it can go on.
    """

    def __init__(
        self,
        path: Union[str, pathlib.Path],
        total: int,
        *,
        overwrite: bool = False,
        map_bytes: int = MAP_BYTES,
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        """Prepare to write `total` records as the folder `path`.

        Args:
            overwrite: an existing database is replaced once the new one is complete, if the two
                differ.
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
        self._count, self._pending_bytes = 0, 0
        self._pending: list[tuple[bytes, bytes]] = []
        self._checksums = array(UNSIGNED)
        self.unchanged = False

    def _partial_prefix(self):
        return f'{self._target.name}.partial-'

    def __enter__(self) -> 'DatabaseWriter':
        with contextlib.ExitStack() as stack:
            stack.callback(Hold(self._target).release)
            self._remove_abandoned()
            self._partial.mkdir()
            stack.callback(shutil.rmtree, self._partial, ignore_errors=True)
            stack.callback(os.close, _lock(self._partial))
            with self._write_errors():
                self._environment = lmdb.open(
                    os.fsencode(self._partial), self._map_bytes, lock=False, sync=False
                )
            stack.callback(self._environment.close)
            self._open = stack.pop_all()
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

    def add(self, record: Record) -> None:
        """Append a Record; its key is its index, padded so that byte order is record order."""
        key = str(self._count).zfill(len(str(self._total - 1))).encode()
        value = encode(record)
        self._pending.append((key, value))
        self._checksums.append(checksum_of(key, value))
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

    def __exit__(
        self, kind: Optional[type[BaseException]], error: object, traceback: object
    ) -> None:
        with self._open:
            if kind is None:
                self._finish()

    def _finish(self):
        assert self._count == self._total, (self._count, self._total)
        self._commit()
        with self._write_errors():
            self._environment.sync(True)
        self._environment.close()
        write_checksums(self._partial, self._checksums)
        sync(self._partial)
        check_output(self._target, self._overwrite)
        self.unchanged = _same_bytes(self._partial / DATA_FILE, self._target / DATA_FILE)
        if not (self._target / DATA_FILE).exists():
            self._partial.rename(self._target)
        elif not self.unchanged:
            self._replace_database()
        elif not _same_bytes(self._partial / CHECKSUM_FILE, self._target / CHECKSUM_FILE):
            self._replace(CHECKSUM_FILE)  # of a database from before there were checksums
        sync(self._target.parent)

    def _replace_database(self):
        """Put the new files in place, never the checksums of one database beside another."""
        (self._target / CHECKSUM_FILE).unlink(missing_ok=True)
        sync(self._target)
        self._replace(DATA_FILE)
        (self._target / LOCK_FILE).unlink(missing_ok=True)  # of the database that was replaced
        self._replace(CHECKSUM_FILE)

    def _replace(self, name):
        (self._partial / name).replace(self._target / name)
        sync(self._target)


def _same_bytes(new, old):
    """Whether the file `old` is there and has the bytes of `new`.

    LMDB clears its pages, so the same records in the same transactions give the same bytes.
    """
    try:
        return filecmp.cmp(new, old, shallow=False)
    except OSError:
        return False  # what is not there, or cannot be read, is replaced


def _lock(folder):
    """Return a descriptor of `folder` that is locked until it is closed or the process ends."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
