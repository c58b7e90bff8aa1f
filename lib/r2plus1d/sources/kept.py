"""What was seen of all records or files, kept for the other shards of the same run."""

import hashlib
import json
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Callable, Optional

import numpy as np

from r2plus1d.results.made_once import made_once
from r2plus1d.sources.file_state import FileState
from r2plus1d.sources.grouped import Scan

# Of each file: what was seen of it, and the (first frame, failure) of each of its records.
Seen = tuple[Optional[FileState], Sequence[tuple[Optional[int], Optional[str]]]]

# A damaged archive may also seem to be encrypted, or compressed in an unknown way.
OF_NO_SCAN = (
    OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, RuntimeError, zlib.error,
)  # fmt: skip


def kept_scan(path: pathlib.Path, of: str, make: Callable[[], Scan]) -> Scan:
    """Return the Scan in the file at `path`; make it if there is none of the same records.

    Args:
        of: text that says which records were read.
    """

    def read(place: pathlib.Path) -> Optional[Scan]:
        try:
            with np.load(place, allow_pickle=False) as arrays:
                if str(arrays['of']) != of:
                    return None
                identity = str(arrays['identity'])
                return Scan(arrays['groups'], arrays['starts'], identity, arrays['states'])
        except OF_NO_SCAN:
            return None

    def write(place: pathlib.Path, scan: Scan) -> None:
        with place.open('wb') as file:
            np.savez(file, of=np.array(of), **scan._asdict())

    return made_once(path, read, make, write)


def kept_listing(path: pathlib.Path, of: str, make: Callable[[], Sequence[Seen]]) -> Sequence[Seen]:
    """Return what was seen of video files, from the file at `path`; make it if it is of others.

    Args:
        of: text that says which files were listed, and how.
    """

    def read(place: pathlib.Path) -> Optional[Sequence[Seen]]:
        try:
            with place.open(encoding='utf-8', errors='surrogateescape') as file:
                found, digest = json.loads(file.readline())
                lines = file.readlines()
                if found != of or digest != _digest_of(lines):
                    return None
                return [_seen(json.loads(line)) for line in lines]
        except (OSError, ValueError, TypeError):
            return None

    def write(place: pathlib.Path, listing: Sequence[Seen]) -> None:
        with place.open('w', encoding='utf-8', errors='surrogateescape') as file:
            lines = [json.dumps(seen) + '\n' for seen in listing]
            file.write(json.dumps([of, _digest_of(lines)]) + '\n')
            file.writelines(lines)

    return made_once(path, read, make, write)


def _digest_of(lines):
    text = ''.join(lines).encode('utf-8', 'surrogateescape')
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _seen(content: Any) -> Seen:
    state, records = content
    found = [(start, failure) for start, failure in records]
    return (None if state is None else FileState(*state)), found
