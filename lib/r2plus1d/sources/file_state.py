"""Whether a file is still the one that was listed, as far as its size and time tell."""

import datetime
import hashlib
import os
import pathlib
from collections.abc import Iterable
from typing import NamedTuple, Optional, Union

from r2plus1d.errors import RecordError

LATEST = 2**63 - 1  # ns after 1970, which is in 2262; file systems go further

AnyPath = Union[bytes, str, 'os.PathLike[str]']


class FileState(NamedTuple):
    """What is seen of a file without reading it.

    Attributes:
        size: bytes.
        time: of the last change, in nanoseconds.
    """

    size: int
    time: int

    def __str__(self) -> str:
        when = datetime.datetime.fromtimestamp(self.time / 1e9).isoformat(' ', 'milliseconds')
        return f'{self.size} bytes of {when}'


def look_at(path: Optional[AnyPath]) -> Optional[FileState]:
    """Return the FileState of the file at `path`, None if there is none."""
    try:
        status = None if path is None else pathlib.Path(os.fsdecode(path)).stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        status = None
    return status and FileState(status.st_size, min(status.st_mtime_ns, LATEST))


def describe_state(path: Optional[AnyPath], state: Optional[FileState]) -> str:
    """Text that differs if the path or what is in the file does."""
    return f'{path!r} is not there' if state is None else f'{path!r} {state.size} {state.time}'


def states_of(paths: Iterable[AnyPath]) -> str:
    """A digest that differs if one of the paths or what is in its file does."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        text = describe_state(os.fsdecode(path), look_at(path)) + '\n'
        digest.update(text.encode('utf-8', 'surrogateescape'))
    return digest.hexdigest()


def require_unchanged(path: AnyPath, before: Optional[FileState]) -> None:
    """Raise RecordError if the file is no longer as it was `before`."""
    now = look_at(path)
    if now != before:
        was, is_now = before or 'missing', now or 'missing'
        raise RecordError(f'changed since it was listed: it was {was}, and is {is_now}')
