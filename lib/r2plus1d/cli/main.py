"""How every tool starts and ends: logs on stderr, one line for a user's mistake, an exit status."""

import argparse
import errno
import logging
import pathlib
import sys

from r2plus1d.errors import BackendError, InputError

FAILED = 1
BAD_USAGE = 2
TOO_MANY_FAILURES = 3
INTERRUPTED = 130


def run(main):
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
    """Takes flags by their whole names only and reports a wrong one in one line."""

    def __init__(self, description):
        formatter = argparse.ArgumentDefaultsHelpFormatter
        super().__init__(description=description, allow_abbrev=False, formatter_class=formatter)

    def error(self, message):
        self.exit(BAD_USAGE, f'{self.prog}: {message} (--help lists the flags)\n')
