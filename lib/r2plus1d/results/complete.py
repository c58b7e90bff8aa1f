"""How a file appears: under its name only when it is complete and on the disk.

    with complete_file('out/x.pkl') as file:
        pickle.dump(content, file)

The content goes to PATH.partial, which takes the name PATH at the end. Missing folders are made.
"""

import contextlib
import csv
import errno
import os
import pathlib
import stat
from collections.abc import Iterator, Sequence
from typing import IO, Any, Callable, Optional, Union

from r2plus1d.errors import InputError

AnyPath = Union[str, pathlib.Path]

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # what writing can end with

CSV_FILE: dict[str, Any] = {
    'newline': '',
    'encoding': 'utf-8',
    'errors': 'surrogateescape',
}  # any path is written


@contextlib.contextmanager
def complete_path(
    path: AnyPath, *, keep: bool = False, private: bool = False
) -> Iterator[pathlib.Path]:
    """Give the path to write under; it takes the name `path` when the block ends well.

    Args:
        keep: leave what was written under PATH.partial if the block does not end well.
        private: write under a name of this process alone, .NAME.PID.partial, where several
            processes may make the same file.

    Raises:
        InputError: a file is in the place of one of the folders.
    """
    path = pathlib.Path(path)
    partial = path.with_name(
        f'.{path.name}.{os.getpid()}.partial' if private else f'{path.name}.partial'
    )
    make_folder_of(path)
    try:
        with full_disk_named(path):
            yield partial
            put_in_place(partial, path)
    except BaseException:
        if not keep:
            partial.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def complete_file(
    path: AnyPath, mode: str = 'wb', *, keep: bool = False, private: bool = False, **options: Any
) -> Iterator[IO[Any]]:
    """Give a file to write, which appears as `path` when the block ends well; see complete_path.

    Args:
        mode, options: of open().
    """
    with (
        complete_path(path, keep=keep, private=private) as partial,
        partial.open(mode, **options) as file,
    ):
        yield file


@contextlib.contextmanager
def complete_csv(
    path: Optional[AnyPath], header: Sequence[str]
) -> Iterator[Callable[[Sequence[Any]], Any]]:
    """Give a function that writes a row to the CSV at `path`, or to nothing if `path` is None.

    PATH.partial stays, with the rows so far, when the block does not end well; without any row
    there is none.
    """
    if path is None:
        yield lambda row: None
        return
    with contextlib.ExitStack() as stack:
        writers: list[Any] = []

        def write(row: Sequence[Any]) -> None:
            if not writers:  # nothing is there before there is something to write
                file = stack.enter_context(complete_file(path, 'w', keep=True, **CSV_FILE))
                writers.append(csv.writer(file))
                writers[0].writerow(header)
            with full_disk_named(path):
                writers[0].writerow(row)

        yield write
        if not writers:
            with complete_file(path, 'w', **CSV_FILE) as file:
                csv.writer(file).writerow(header)


@contextlib.contextmanager
def full_disk_named(path: AnyPath) -> Iterator[None]:
    """Give an error of writing within, which knows no file, the name of the file `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno in FULL:
            error.filename = str(path)
        raise


def put_in_place(partial: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    """Give the complete file `partial` its name `path`, once its content is on the disk.

    Raises:
        InputError: a device or a pipe is at `path`, such as /dev/null, which root may replace.
    """
    sync(partial)
    _require_no_device(path)
    return partial.replace(path)


def require_place(path: Optional[AnyPath]) -> None:
    """Raise InputError if no file can be made at `path`; None is no file, which is well."""
    if path is not None:
        if pathlib.Path(path).is_dir():
            raise InputError(f'{path} is a folder; name a file')
        _require_no_device(pathlib.Path(path))
        require_writable(path)


def _require_no_device(path: pathlib.Path) -> None:
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f'{path} is no regular file; name another file')


def require_new(path: AnyPath, overwrite: bool) -> None:
    """Raise InputError if something is at `path` and is not to be replaced."""
    if pathlib.Path(path).exists() and not overwrite:
        raise InputError(f'{path} is there already; --overwrite=1 replaces it')


def require_writable(path: AnyPath) -> None:
    """Raise InputError if nothing can be made at `path`, before a run of hours ends with that."""
    folder = require_folder_of(path)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f'{path} cannot be written: {folder} is read-only for this user')


def require_folder_of(path: AnyPath) -> pathlib.Path:
    """Return the innermost folder above `path` that is there.

    Raises:
        InputError: a file is in the place of one of the folders above `path`.
    """
    path = pathlib.Path(path)
    for parent in path.parents:
        try:
            mode = parent.stat().st_mode  # asked once: another run may make or remove it meanwhile
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not stat.S_ISDIR(mode):
            raise InputError(f'{parent} is a file, and no folder for {path.name}')
        return parent
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def make_folder_of(path: AnyPath) -> None:
    """Make the folders above `path` that are missing; see require_folder_of."""
    require_folder_of(path)
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)


def sync(path: AnyPath) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
