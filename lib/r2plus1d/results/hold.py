"""One run at a time for each output: the second one is told who has it.

While a run holds an output, a lock file beside it is locked and says who holds it. The system lifts
the lock when the process ends, however it ends, so what a killed run leaves is in nobody's way.
"""

import contextlib
import datetime
import errno
import fcntl
import json
import logging
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import IO, Optional

from r2plus1d.errors import InputError
from r2plus1d.results.complete import AnyPath, require_folder_of

log = logging.getLogger(__name__)

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)  # of a file system
ATTEMPTS = 100  # to open a lock file whose folders other runs remove
NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class HeldError(InputError):
    """Another run holds the output."""


class Hold:
    """An output that belongs to this run until `release`.

    Folders that are missing are made; `release` removes those that are still empty.

    Args:
        output: the file or folder that is written, for the message.
        lock: the lock file; OUTPUT.lock if left out.

    Raises:
        HeldError: another run holds the output; says its process, machine and beginning.
    """

    def __init__(self, output: AnyPath, lock: Optional[AnyPath] = None) -> None:
        output = pathlib.Path(output)
        self._lock = pathlib.Path(lock or output.with_name(f'{output.name}.lock'))
        self._made: list[pathlib.Path] = []
        try:
            self._file = self._locked(output)
            self._write_owner()
        except BaseException:
            self._remove_folders()
            raise

    def release(self) -> None:
        """Remove the lock file and the empty folders that were made for it."""
        if not self._file.closed:
            if _is_at(self._file, self._lock):  # its folder may have been moved or replaced
                self._lock.unlink()
            self._file.close()
            self._remove_folders()

    def _locked(self, output) -> IO[bytes]:
        """Return the open lock file, which is locked until it is closed."""
        while True:
            file = self._open()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in NO_LOCKS:
                    log.warning(
                        '%s: no locks here; a second run into it would go unnoticed', output
                    )
                    return file
                owner = _owner(file)
                file.close()
                if not isinstance(error, BlockingIOError):
                    raise
                raise HeldError(
                    f'{output} is being written by {owner}; wait for it, or name another place'
                ) from None
            if _is_at(file, self._lock):
                return file
            file.close()  # the one that held it has removed it since it was opened

    def _open(self) -> IO[bytes]:
        """Open the lock file in its folders, which another run's `release` may remove meanwhile."""
        for _ in range(ATTEMPTS):
            try:
                # A later attempt finds fewer missing if some of this run's folders stayed.
                self._made = max(self._made, _make_folders(self._lock), key=len)
                return self._lock.open('a+b', buffering=0)
            except (FileNotFoundError, FileExistsError) as error:
                last = error
        raise last

    def _write_owner(self):
        now = datetime.datetime.now().astimezone().isoformat(' ', 'seconds')
        owner = {'process': os.getpid(), 'machine': platform.node(), 'since': now}
        with contextlib.suppress(OSError):  # on a full disk the lock holds without a name
            self._file.truncate(0)
            os.write(self._file.fileno(), json.dumps(owner).encode())

    def _remove_folders(self):
        for folder in self._made:
            with contextlib.suppress(OSError):  # it has something in it
                folder.rmdir()


@contextlib.contextmanager
def holding(*outputs: Optional[AnyPath]) -> Iterator[None]:
    """Hold outputs within the block; None is no output.

    Raises:
        InputError: as Hold.
    """
    with contextlib.ExitStack() as stack:
        for output in outputs:
            if output is not None:
                stack.callback(Hold(output).release)
        yield


@contextlib.contextmanager
def holding_failures(output: Optional[AnyPath]) -> Iterator[None]:
    """Hold a list of failures, which is perhaps never made: where none can be, none is held.

    Raises:
        InputError: as Hold; names the flag, since nobody may have named the list.
    """
    if output is None:
        yield
        return
    try:
        hold = Hold(output)
    except HeldError as error:
        raise HeldError(f'{error}: --failures=PATH') from None
    except OSError as error:
        if error.errno not in NOT_WRITABLE:
            raise
        yield
        return
    with contextlib.ExitStack() as stack:
        stack.callback(hold.release)
        yield


def _make_folders(path):
    """Make the folders above `path`; return those that were missing, the innermost first."""
    require_folder_of(path)
    missing = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    return missing


def _owner(file):
    """Who holds the lock, in words."""
    try:
        file.seek(0)
        owner = json.loads(file.read())
        return f'process {owner["process"]} on {owner["machine"]} since {owner["since"]}'
    except (OSError, ValueError, TypeError, KeyError):
        return 'another process'


def _is_at(file, path):
    """Whether an open file is the one that `path` leads to."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
