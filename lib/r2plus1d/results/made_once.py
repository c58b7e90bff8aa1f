"""A file that the first of several runs makes, and that the others wait for and read."""

import logging
import pathlib
import time
from typing import Callable, Optional, TypeVar

from r2plus1d.results.complete import complete_path
from r2plus1d.results.hold import HeldError, Hold

log = logging.getLogger(__name__)

Content = TypeVar('Content')
SECONDS_BETWEEN_LOOKS = 0.5


def made_once(
    path: pathlib.Path,
    read: Callable[[pathlib.Path], Optional[Content]],
    make: Callable[[], Content],
    write: Callable[[pathlib.Path, Content], None],
) -> Content:
    """Return what the file at `path` holds; make it if it is not there.

    While another run makes it, this one waits. If that one dies, this one makes it.

    Args:
        read: returns the content, or None if the file is missing or not what is needed.
        make: returns the content.
        write: writes it to the path given.
    """

    def make_file() -> Content:
        content = make()
        with complete_path(path, private=True) as partial:
            write(partial, content)
        return content

    return read_or_make(path, lambda: read(path), make_file)


def read_or_make(
    path: pathlib.Path, read: Callable[[], Optional[Content]], make: Callable[[], Content]
) -> Content:
    """Return what `read` does; where that is None, what `make` does, which makes the file `path`.

    One run at a time is in `make`. The others wait, and read what it has made.
    """
    is_told = False
    while True:
        found = read()
        if found is not None:
            return found
        try:
            hold = Hold(path)
        except HeldError as error:
            if not is_told:
                log.info('%s; this run waits for it', str(error).partition(';')[0])
            is_told = True
            time.sleep(SECONDS_BETWEEN_LOOKS)
            continue
        try:
            found = read()  # another run may have made it meanwhile
            return make() if found is None else found
        finally:
            hold.release()


def unless_seen(
    path: pathlib.Path, read: Callable[[pathlib.Path], Optional[Content]]
) -> Callable[[], Optional[Content]]:
    """Give a function that reads `path`, but no file again for which `read` has returned None.

    A large file that is of no use is then read once, however long its replacement takes.
    """
    seen = set()

    def read_new() -> Optional[Content]:
        try:
            state = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        of = (state.st_ino, state.st_size, state.st_mtime_ns)
        found = None if of in seen else read(path)
        if found is None:
            seen.add(of)
        return found

    return read_new
