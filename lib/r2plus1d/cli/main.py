"""How every tool starts and ends: logs on stderr, one line for a user's mistake, an exit status."""

import argparse
import contextlib
import difflib
import io
import itertools
import logging
import os
import pathlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Callable, NoReturn, Optional

from r2plus1d.cli import help, python, signals
from r2plus1d.errors import HANGING, BackendError, InputError, printable, printable_list
from r2plus1d.results.complete import FULL

FAILED = 1
BAD_USAGE = 2
TOO_MANY_FAILURES = 3
INTERRUPTED = 130
NO_CAFFE2 = 'this needs Caffe2, which is not installed here (sh scripts/setup.sh caffe2)'


def run(main: Callable[[], Optional[int]]) -> NoReturn:
    """Run a tool's `main() -> exit status or None` and leave the process with its status.

    Where a signal ended it, the status is 128 and the signal's number.
    """
    _show_plain_text()
    tool = pathlib.Path(sys.argv[0]).name
    with signals.raised() as told:
        try:
            if sys.stdout is None:
                _complain(tool, 'stdout is closed: the results are not printed')
            status = main()
            if sys.stdout is not None:
                sys.stdout.flush()
        except KeyboardInterrupt:
            _complain(tool, told.words)
            status = INTERRUPTED
        except Exception as error:
            if told.number is None:
                line = _explain(error)
                status = FAILED
            else:  # what was under way failed because of it
                line = told.words
                status = INTERRUPTED
            if line is None:
                raise
            _complain(tool, line)
        if status == INTERRUPTED:
            status = told.status
    _require_flushed()
    if HANGING:
        os._exit(status or 0)
    sys.exit(status)


def _show_plain_text():
    """Log to stderr, and let a path of any bytes be printed as these bytes."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine('%(message)s'))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='surrogateescape')


class _OneLine(logging.Formatter):
    """Messages hold names from files and servers: what would control a terminal is written out."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return printable_list(super().formatMessage(record))


def _explain(error):
    """One line about an error that a user can do something about; None for a mistake of ours."""
    if isinstance(error, (InputError, BackendError)):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        is_ours = (error.name or '').partition('.')[0] != 'caffe2'
        return None if is_ours else NO_CAFFE2
    if isinstance(error, UnicodeEncodeError) and error.encoding != 'utf-8':  # of a class name
        lacking, encoding = printable(error.object[error.start : error.end]), error.encoding
        return f'{encoding}, the encoding of stdout, has no {lacking}: set PYTHONIOENCODING=utf-8'
    if isinstance(error, BrokenPipeError):
        return ''  # the reader of our output has gone; nobody is left to tell
    if isinstance(error, OSError) and (error.filename is not None or error.errno in FULL):
        return f'{error.filename or "output"}: {error.strerror}'
    return python.lack_of_memory(error)


def _complain(tool, message):
    if message:
        with contextlib.suppress(OSError):
            print(printable_list(f'{tool}: {message}'), file=sys.stderr)


def _require_flushed():
    """Let go of output that cannot be written: Python would try, and complain, at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def before_the_rest(words: Sequence[str]) -> Iterator[str]:
    """Yield the words up to `--`, after which every word is what it is, with dashes or without."""
    return itertools.takewhile(lambda word: word != '--', words)


class Parser(argparse.ArgumentParser):
    """Takes flags by their whole names only and reports a wrong one in one line.

    Args:
        description: a tool's docstring; its `Example:` is shown by --help.
    """

    def __init__(self, description: str) -> None:
        super().__init__(description=description, allow_abbrev=False, add_help=False)
        self.rows: list[help.Row] = []
        self.add_argument('-h', '--help', nargs='?', action=help.Help)

    def add_flag(self, row: 'help.Row', **how: Any) -> None:
        """Add a flag that --help shows as `row`; `how` is for argparse's add_argument."""
        self.rows.append(row)
        self.add_argument(f'--{row.name}', metavar=row.metavar, required=row.is_required, **how)

    def help_text(self, *, is_full: bool) -> str:
        return help.render(self.prog, self.description or '', self.rows, is_full=is_full)

    def parse_args(self, args: Optional[Sequence[str]] = None, namespace: Any = None) -> Any:
        """As argparse's; an unknown flag is reported before one that is missing."""
        words = sys.argv[1:] if args is None else list(args)
        for word in before_the_rest(words):
            name = word.partition('=')[0]
            if name.startswith('--') and name not in self._option_string_actions:
                self.error(f'unrecognized arguments: {word}{self._nearest(name)}')
        return super().parse_args(words, namespace)

    def _nearest(self, name):
        known = [row.name for row in self.rows]
        words = difflib.get_close_matches(name.strip('-').replace('-', '_'), known, n=1)
        return f'; the nearest flag is --{words[0]}' if words else ''

    def error(self, message: str) -> NoReturn:
        message = printable(f'{self.prog}: {message} (--help lists the flags)')
        self.exit(BAD_USAGE, f'{message}\n')
