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
    is_told = False
    while True:
        found = read(path)
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
            found = read(path)  # another run may have made it meanwhile
            if found is None:
                found = make()
                with complete_path(path, private=True) as partial:
                    write(partial, found)
            return found
        finally:
            hold.release()
