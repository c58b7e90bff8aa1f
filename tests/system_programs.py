"""What the tests must leave as they are: the programs of the machine that they run on."""

import os
import pathlib
import sys


def folders():
    """The folders of the PATH, without those of the environment that runs the tests."""
    inside = pathlib.Path(sys.prefix).resolve()
    found = {pathlib.Path(name).resolve() for name in os.get_exec_path() if name}
    return sorted(path for path in found if path.is_dir() and inside not in (path, *path.parents))


def states(paths):
    """Return {path: (size, time of the last change of its content)} of the files in folders."""
    found = {}
    for folder in paths:
        for entry in os.scandir(folder):
            if entry.is_file():
                status = entry.stat()
                found[entry.path] = status.st_size, status.st_mtime_ns
    return found


def changed(before, after):
    """Return the paths, in order, that were there before and are gone or different."""
    return sorted(path for path, state in before.items() if after.get(path) != state)
