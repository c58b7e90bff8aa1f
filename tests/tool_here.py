"""A tool as a program, in the process of the tests."""

import contextlib
import io
import logging
import runpy
import sys
from typing import NamedTuple

from conftest import ROOT


class Result(NamedTuple):
    """What a tool left, as subprocess.CompletedProcess has it."""

    returncode: int
    stdout: str
    stderr: str


def run_here(tool, *arguments):
    """Run a tool as `python tool` does, but in this process: what it imports is there already."""
    path = ROOT / tool
    status, out, err = None, io.StringIO(), io.StringIO()
    with (
        _own_process_state([str(path), *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            runpy.run_path(str(path), run_name='__main__')
        except SystemExit as end:
            status = end.code
    return Result(status or 0, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _own_process_state(argv):
    """What a process starts with: its arguments, and no handlers of logs."""
    root, before = logging.getLogger(), sys.argv
    handlers, level = root.handlers[:], root.level
    root.handlers, sys.argv = [], argv
    try:
        yield
    finally:
        root.handlers, sys.argv = handlers, before
        root.setLevel(level)
