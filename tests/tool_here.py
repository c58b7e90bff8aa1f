"""A tool as a program, in the process of the tests."""

import contextlib
import io
import logging
import os
import pathlib
import runpy
import signal
import sys
from typing import NamedTuple

from r2plus1d.cli import signals

ROOT = pathlib.Path(__file__).resolve().parents[1]


class Result(NamedTuple):
    """What a tool left, as subprocess.CompletedProcess has it."""

    returncode: int
    stdout: str
    stderr: str


def run_here(tool, *arguments, cwd='.'):
    """Run a tool as `python tool` does, but in this process: what it imports is there already."""
    path = ROOT / tool
    status, out, err = None, io.StringIO(), io.StringIO()
    with (
        _own_process_state([str(path), *map(str, arguments)]),
        _in_folder(cwd),
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
    """What a process starts with: arguments, its folder, and no handlers of logs or signals."""
    root, before, hook = logging.getLogger(), (sys.argv, sys.path), sys.excepthook
    torch = sys.modules.get('torch')
    threads = torch and torch.get_num_threads()  # which --engine_threads sets
    handlers, level = root.handlers[:], root.level
    of_signals = {number: signal.getsignal(number) for number in signals.WORDS}
    root.handlers, sys.argv, sys.path = [], argv, [str(pathlib.Path(argv[0]).parent), *sys.path]
    try:
        yield
    finally:
        root.handlers, (sys.argv, sys.path), sys.excepthook = handlers, before, hook
        root.setLevel(level)
        if torch:
            torch.set_num_threads(threads)
        for number, handler in of_signals.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _in_folder(folder):
    before = pathlib.Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
