"""A file that a user names: a regular one, opened without waiting; the lines of its text."""

import contextlib
import io
import os
import pathlib
import stat
from collections.abc import Iterator
from typing import BinaryIO, Optional, TextIO, Union

from r2plus1d.errors import InputError

AnyPath = Union[str, 'os.PathLike[str]']

KINDS = (
    (stat.S_ISDIR, 'a folder'),
    (stat.S_ISFIFO, 'a FIFO'),
    (stat.S_ISSOCK, 'a socket'),
    (stat.S_ISCHR, 'a device'),
    (stat.S_ISBLK, 'a device'),
)
NUL_IN_NAME = 'has a NUL in its name'  # each Python says it in other words
LOOKED_AT = 512  # bytes at the beginning of a text


def kind_of(mode: int) -> Optional[str]:
    """Return what a file of `mode` (st_mode) is, such as `a FIFO`; None for a regular one."""
    if stat.S_ISREG(mode):
        return None
    return next((kind for test, kind in KINDS if test(mode)), 'no file')


def problem_with(path: AnyPath) -> Optional[str]:
    """Return why there is no regular file at `path`, or None; nothing is opened.

    Raises:
        OSError: the place cannot be looked at, or nothing is there.
    """
    try:
        kind = kind_of(pathlib.Path(path).stat().st_mode)
    except FileNotFoundError:
        target = missing_target(path)
        if target is None:
            raise
        return f'is a link to a missing file, {target}'
    except ValueError:
        return NUL_IN_NAME
    return kind and f'is not a regular file but {kind}'


def missing_target(path: AnyPath) -> Optional[pathlib.Path]:
    """Return where the link at `path` leads if nothing is there; None if `path` is no such link."""
    path = pathlib.Path(path)
    try:
        return path.readlink() if path.is_symlink() and not path.exists() else None
    except (OSError, ValueError):
        return None


def require_given(path: AnyPath) -> None:
    """Raise InputError unless there is a regular file, or a link to one, at `path`.

    Raises:
        OSError: nothing is there.
    """
    problem = problem_with(path)
    if problem:
        raise InputError(f'{path} {problem}')


def open_given(path: AnyPath) -> io.BufferedReader:
    """Open the regular file at `path` to read its bytes; nothing else is waited for.

    Raises:
        InputError: a folder, FIFO, socket or device, or a link to a missing file.
        OSError: nothing is there, or it may not be read.
    """
    require_given(path)  # opening some devices does something
    file = open(path, 'rb', opener=open_at_once)  # noqa: PTH123, SIM115 - Path has no opener
    kind = kind_of(os.fstat(file.fileno()).st_mode)
    if kind:  # it has taken the place of the file that was looked at
        file.close()
        raise InputError(f'{path} is not a regular file but {kind}')
    return file


@contextlib.contextmanager
def reading(path: AnyPath) -> Iterator[BinaryIO]:
    """Give what open_given returns, and close it; see naming_file."""
    with open_given(path) as file, naming_file(path):
        yield file


@contextlib.contextmanager
def naming_file(path: AnyPath) -> Iterator[None]:
    """Let a MemoryError within name the file, which is not at fault."""
    try:
        yield
    except MemoryError:
        raise MemoryError(f'{path}: memory ran out while it was read') from None


def open_at_once(path: str, flags: int) -> int:
    """The `opener` of open() that does not wait for the other end of a FIFO."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def open_text(path: AnyPath, *, errors: str = 'strict', newline: Optional[str] = None) -> TextIO:
    """Open a text in UTF-8 as `open_given` does; a byte order mark at its beginning is left out.

    Args:
        errors, newline: of open().

    Raises:
        InputError: as open_given, or the text is UTF-16 or UTF-32.
    """
    file = open_given(path)
    beginning = file.read(LOOKED_AT)
    has_mark = beginning.startswith((b'\xff\xfe', b'\xfe\xff'))
    if has_mark or b'\0' in beginning:
        file.close()
        kind = 'is UTF-16 or UTF-32' if has_mark else 'is not text in UTF-8: UTF-16, or no text'
        raise InputError(f'{path} {kind}; save it as UTF-8')
    file.seek(0)
    return io.TextIOWrapper(file, encoding='utf-8-sig', errors=errors, newline=newline)


def read_lines(path: AnyPath, *, errors: str = 'strict') -> list[str]:
    r"""Return the lines of a text in UTF-8, without their ends.

    Only \n, \r\n and \r end a line. (str.splitlines also splits at a form feed, U+2028 and others,
    which a name may hold.)

    Args:
        errors: `strict`, or `surrogateescape` for texts that hold paths.

    Raises:
        InputError: as open_text, or bytes that are no UTF-8.
    """
    with open_text(path, errors=errors) as file:
        lines: list[str] = []
        try:
            lines.extend(file)
        except UnicodeDecodeError:
            raise InputError(f'{path}: line {_bad_line(path)} is not text in UTF-8') from None
    return [line.removesuffix('\n') for line in lines]


def _bad_line(path):
    with open_text(path, errors='surrogateescape') as file:
        for number, line in enumerate(file, 1):
            if any('\ud800' <= character < '\ue000' for character in line):
                return number
    return 1  # the file has changed meanwhile
