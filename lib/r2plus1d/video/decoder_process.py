"""The processes that decode. One of them imports what is needed, and the others are its copies.

What a file does to a decoder ends with its process: a crash, too much memory, too much time.
"""

import contextlib
import importlib
import math
import os
import pathlib
import resource
import signal
import socket
import struct
import traceback
from typing import Any, NamedTuple, Optional

from r2plus1d.errors import InputError
from r2plus1d.video.budget import Budget, memory_errors_named
from r2plus1d.video.complaints import listen
from r2plus1d.video.messages import receive, send

REQUEST = struct.Struct('=q')  # START, or the process that has ended; the answer likewise
START = 0
READY = b'+'
GO_ON = b'.'
NOWHERE = '/proc'  # where no path that is not absolute leads to a video
FIRST_TO_GO = '500'  # of those that the system ends where memory runs out; 0 is usual, 1000 most
SECONDS_AFTER_BUDGET = 10  # in which decoding ends by itself with a better message


class Call(NamedTuple):
    """What a process is to do.

    Attributes:
        function: of a module.
        args, keywords: its arguments.
        budget: Budget that the process is held to.
        folder: from which paths that are not absolute count; '' if there is none.
        is_stream: it is a generator function, whose items are sent one by one.
    """

    function: Any
    args: tuple[Any, ...]
    keywords: dict[str, Any]
    budget: Budget
    folder: str
    is_stream: bool

    def begin(self) -> Any:
        """Call it; return the value, or an iterator of a stream's items."""
        return self.function(*self.args, **self.keywords)


class Outcome(NamedTuple):
    """What came of a call: a value, an error, or the end of a stream."""

    value: Any = None
    error: Optional[Exception] = None
    is_end: bool = False


def serve_copies(descriptor: int) -> None:
    """Make a process for each socket that comes, until the other end of `descriptor` closes.

    The processes are this one's children: it says how each has ended when it is asked.
    """
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, signal.SIG_IGN)  # the program ends these processes when it ends
    importlib.import_module('r2plus1d.video.read_clips')
    listen()
    control, children = socket.socket(fileno=descriptor), set()
    control.sendall(READY)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders write there as they crash
    while request := _request(control):
        number, channel = request
        if number == START:
            number = _copy(control, channel)
            children.add(number)
        else:
            children.discard(number)
            _, number = os.waitpid(number, 0)
        control.sendall(REQUEST.pack(number))
    for child in children:
        os.kill(child, signal.SIGKILL)


def _request(control):
    """(START or a process, descriptor of a socket or None); None if the program has gone."""
    with contextlib.suppress(OSError):
        text, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 1)
        if text:
            return (*REQUEST.unpack(text), *(descriptors or [None]))
    return None


def _copy(control, descriptor):
    """Fork a process that serves calls; return its number, or -errno."""
    try:
        child = os.fork()
    except OSError as error:
        child = -(error.errno or 1)
    if child:
        os.close(descriptor)
        return child
    try:
        control.close()
        with contextlib.suppress(OSError):
            pathlib.Path('/proc/self/oom_score_adj').write_text(FIRST_TO_GO)
        serve_calls(socket.socket(fileno=descriptor))
    finally:
        os._exit(0)


def serve_calls(channel: socket.socket) -> None:
    """Answer the Calls that come, one after another, until the program has gone."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            call = receive(channel)
            hold_to(call.budget)
            _go_to(call.folder)
            if call.is_stream:
                _answer_stream(channel, call)
            else:
                send(channel, _outcome(call.begin))


def _go_to(folder):
    """Enter a folder; one that is gone or closed to this user has no files, and nor has NOWHERE."""
    try:
        os.chdir(folder)
    except OSError:
        os.chdir(NOWHERE)


def hold_to(budget: Budget) -> None:
    """Let the system end this process above what one record may take from now on."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime + budget.seconds + SECONDS_AFTER_BUDGET
    _limit(resource.RLIMIT_CPU, math.ceil(seconds))
    _limit(resource.RLIMIT_AS, budget.memory)


def _limit(kind, most):
    _, hard = resource.getrlimit(kind)
    soft = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (soft, hard))


def _answer_stream(channel, call):
    """Send each item, and make one more while the program takes it."""
    items = call.begin()
    while True:
        outcome = _outcome(lambda: next(items))
        send(channel, outcome)
        if outcome.is_end or outcome.error or channel.recv(1) != GO_ON:
            return


def _outcome(function):
    try:
        with memory_errors_named():
            return Outcome(function())
    except StopIteration:
        return Outcome(is_end=True)
    except InputError as error:
        return Outcome(error=error)
    except Exception:
        return Outcome(error=RuntimeError(f'in a process that decodes:\n{traceback.format_exc()}'))
