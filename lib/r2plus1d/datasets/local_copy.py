"""A database copied to this machine's own disk, once for all processes that read it here."""

import hashlib
import logging
import os
import pathlib
import shutil
import tempfile
from typing import Optional

from r2plus1d.datasets.checksums import CHECKSUM_FILE, checksum_of, read_checksums
from r2plus1d.datasets.database import DATA_FILE, Database
from r2plus1d.errors import InputError
from r2plus1d.results.complete import sync
from r2plus1d.results.made_once import made_once

log = logging.getLogger(__name__)

FILES = (DATA_FILE, CHECKSUM_FILE)
SPARE_BYTES = 1 << 30  # left free on the disk


def local_copy(path: pathlib.Path, folder: Optional[pathlib.Path] = None) -> pathlib.Path:
    """Return a copy of the database `path` in `folder`; make it if it is not there.

    The first of several processes makes it, and the others wait for it. It appears when it is
    complete: of the same size, and each record as the checksums beside the database say, if there
    are any. It stays for the next run on this machine; nothing removes it but its owner.

    Args:
        path: of the LMDB.
        folder: the system's folder for temporary files (TMPDIR) if left out.

    Raises:
        InputError: there is no LMDB, not enough space, or the copy differs.
    """
    data = path / DATA_FILE
    if not data.is_file():
        raise InputError(f'{path} is not the folder of an LMDB (the one with {DATA_FILE} in it)')
    state = data.stat()
    text = f'{path.resolve()} {state.st_size} {state.st_mtime_ns}'
    name = hashlib.blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=8).hexdigest()
    folder = folder or pathlib.Path(tempfile.gettempdir())
    copy = folder / f'r2plus1d_{os.getuid()}_{name}_lmdb'

    def read(place: pathlib.Path) -> Optional[pathlib.Path]:
        return place if _is_complete(place, state) else None

    def make() -> pathlib.Path:
        _require_space(copy, state.st_size)
        log.info('%s is copied to %s', path, copy)
        return copy

    return made_once(copy, read, make, lambda place, _: _copy(path, place, copy))


def _is_complete(place, state):
    """Whether a copy is there; only a complete one has this name."""
    try:
        there = (place / DATA_FILE).stat()
    except OSError:
        return False
    return (there.st_size, there.st_mtime_ns) == (state.st_size, state.st_mtime_ns)


def _require_space(copy, size):
    copy.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(copy.parent).free
    if free < size + SPARE_BYTES:
        raise InputError(
            f'{copy.parent} has {free / 1e9:.1f} GB free, and a copy of the database takes '
            f'{size / 1e9:.1f} GB and {SPARE_BYTES / 1e9:.1f} GB to spare: set TMPDIR to a larger '
            'disk, or leave out copy_database'
        )


def _copy(path, place, copy):
    """Copy a database into the folder `place`, and compare every record."""
    for left in (copy, *copy.parent.glob(f'.{copy.name}.*.partial')):  # of another, or killed
        shutil.rmtree(left, ignore_errors=True)
    place.mkdir(mode=0o700)
    try:
        for name in FILES:
            if (path / name).exists():
                shutil.copy2(path / name, place / name)
                sync(place / name)
        if (place / DATA_FILE).stat().st_size != (path / DATA_FILE).stat().st_size:
            raise InputError(f'{path} changed while it was copied; start again')
        _require_same_records(path, place)
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise


def _require_same_records(path, place):
    """Compare each record of a copy with the checksums, where the original agrees with them."""
    checksums = read_checksums(place)
    if checksums is None:
        return
    with Database(place) as copy, Database(path) as original:
        for index, key, value in copy.records():
            damaged = checksum_of(os.fsencode(key), value) != checksums[index]
            if damaged and original.get(key) != value:
                raise InputError(f'{place}: record {key} differs from that of {path}; start again')
