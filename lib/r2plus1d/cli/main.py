"""How every tool starts and ends: logs on stderr, one line for a user's mistake, an exit status."""

import argparse
import difflib
import errno
import logging
import pathlib
import sys
from collections.abc import Sequence
from typing import Any, Callable, NoReturn, Optional

from r2plus1d.cli import help
from r2plus1d.errors import BackendError, InputError

FAILED = 1
BAD_USAGE = 2
TOO_MANY_FAILURES = 3
INTERRUPTED = 130


def run(main: Callable[[], Optional[int]]) -> NoReturn:
    """Run a tool's `main() -> exit status or None` and leave the process with its status."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format='%(message)s')
    tool = pathlib.Path(sys.argv[0]).name
    try:
        status = main()
        sys.stdout.flush()
    except (InputError, BackendError) as error:
        status = _complain(tool, error)
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] != 'caffe2':
            raise
        status = _complain(
            tool, 'this needs Caffe2, which is not installed here (scripts/setup.sh)'
        )
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output has gone; nobody is left to tell
        status = FAILED
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EIO):
            raise  # not about a file the user named
        status = _complain(tool, f'{error.filename or "output"}: {error.strerror}')
    except KeyboardInterrupt:
        _complain(tool, 'interrupted')
        status = INTERRUPTED
    sys.exit(status)


def _complain(tool, message):
    print(f'{tool}: {message}', file=sys.stderr)
    return FAILED


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
        for word in words:
            name = word.partition('=')[0]
            if name.startswith('--') and name not in self._option_string_actions:
                self.error(f'unrecognized arguments: {word}{self._nearest(name)}')
        return super().parse_args(words, namespace)

    def _nearest(self, name):
        known = [row.name for row in self.rows]
        words = difflib.get_close_matches(name.strip('-').replace('-', '_'), known, n=1)
        return f'; the nearest flag is --{words[0]}' if words else ''

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_USAGE, f'{self.prog}: {message} (--help lists the flags)\n')
