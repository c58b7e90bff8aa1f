"""Decoding in processes of its own, so that no file can end or stop the program.

A process that crashes, is killed or takes more than its Budget is the failure of the record that
it had; the next record gets another process.
"""

import atexit
import contextlib
import json
import os
import pathlib
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Collection, Generator, Iterator
from typing import Any, Callable, Optional, TypeVar

from r2plus1d.errors import BackendError, RecordError
from r2plus1d.video.budget import Budget
from r2plus1d.video.decoder_process import GO_ON, READY, REQUEST, START, Call, Outcome
from r2plus1d.video.messages import receive, send, unnamed_file

T = TypeVar('T')

# The clock runs while other processes have the processor, and while a disk is slow.
CLOCK_SECONDS = 4  # for each second of a budget
# Python searches the current folder first for what -c imports, and a json.py there would run.
PROGRAM = (
    'import sys; sys.path = [p for p in sys.path if p]; '
    'import json; sys.path[:] = json.loads(sys.argv[1]); '
    'from r2plus1d.video.decoder_process import serve_copies; serve_copies(int(sys.argv[2]))'
)
KILLED = {
    signal.SIGKILL: 'the process that decoded it was killed (SIGKILL); memory may have run out',
    signal.SIGXCPU: 'over budget: decoding took more than {seconds:g} seconds and did not end',
}


def _current_folder():
    try:
        return str(pathlib.Path.cwd())
    except FileNotFoundError:  # it was removed; other paths are still good
        return ''


class Decoders:
    """Processes that decode, as many as there are calls at the same time. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Process] = []
        # By the thread whose call it is; a thread's number may be the next thread's too.
        self._busy: dict[threading.Thread, _Process] = {}
        self._ending: set[threading.Thread] = set()
        self._source: Optional[_Source] = None

    def prepare(self) -> None:
        """Begin to start the first process, which takes a moment, and do not wait for it."""
        with self._lock:
            self._prepare()

    def _prepare(self):
        if self._source is None or not self._source.is_usable:
            self._idle, self._source = [], _Source()
            atexit.register(self._source.close)
        return self._source

    def call(self, budget: Budget, function: Callable[..., T], *args: Any, **keywords: Any) -> T:
        """Return function(*args, **keywords), computed in another process.

        Args:
            budget: Budget that it is held to.
            function: of a module.

        Raises:
            RecordError: the process crashed, was killed, or took more than its budget; or what
                the function raises.
        """
        with self._borrowed(budget) as process:
            process.send(Call(function, args, keywords, budget, _current_folder(), False))
            outcome = process.receive()
        if outcome.error:
            raise outcome.error
        return outcome.value

    def stream(
        self, budget: Budget, function: Callable[..., Iterator[T]], *args: Any
    ) -> Generator[T, None, None]:
        """Yield what the generator function(*args) yields in another process; see `call`."""
        with self._borrowed(budget) as process:
            process.send(Call(function, args, {}, budget, _current_folder(), True))
            while not (outcome := process.receive()).error and not outcome.is_end:
                process.go_on()
                yield outcome.value
        if outcome.error:
            raise outcome.error

    @contextlib.contextmanager
    def ending_calls(self, threads: Collection[threading.Thread]) -> Iterator[None]:
        """Meanwhile end the calls that these threads make, with a RecordError."""
        with self._lock:
            self._ending.update(threads)
            for process in filter(None, map(self._busy.get, threads)):
                process.kill()
        try:
            yield
        finally:
            with self._lock:
                self._ending.difference_update(threads)

    @contextlib.contextmanager
    def _borrowed(self, budget):
        """Give a process that is idle, and have it back unless it is lost."""
        process = self._idle_process()
        process.hold_to(budget)
        thread = threading.current_thread()
        try:
            with self._lock:
                self._busy[thread] = process
                if thread in self._ending:
                    raise _Lost('nobody waits for it')
            yield process
        except BaseException as error:
            self._give_up(thread, process, error)
            raise
        with self._lock:
            del self._busy[thread]
            self._idle.append(process)

    def _give_up(self, thread, process, error):
        with self._lock:
            self._busy.pop(thread, None)  # Ctrl-C may come before it is there
        if not isinstance(error, _Lost):
            process.end()
        else:
            raise RecordError(process.end(error.reason)) from None

    def _idle_process(self):
        with self._lock:
            source = self._prepare()
            while self._idle:
                process = self._idle.pop()
                if process.is_alive():
                    return process
                process.end()
            try:
                return source.process()
            except BackendError:
                if not source.is_ready:  # nor would another one be
                    raise
            return self._prepare().process()


class _Lost(Exception):
    """A process does not answer: it has gone, or for the `reason` that it takes too long."""

    def __init__(self, reason: Optional[str] = None) -> None:
        super().__init__(reason)
        self.reason = reason


class _Source:
    """The process whose copies decode."""

    def __init__(self) -> None:
        self._owner, self._lock = os.getpid(), threading.Lock()
        self.is_ready, self._is_lost = False, False
        self._control, other = socket.socketpair()
        self._complaints = unnamed_file()  # closed with this object
        with other:
            command = [sys.executable, '-c', PROGRAM, json.dumps(sys.path), str(other.fileno())]
            self._program = subprocess.Popen(
                command, pass_fds=[other.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=self._complaints,
                cwd=_current_folder() or '/',
                start_new_session=True,  # a terminal's Ctrl-C is for the program alone
                env={**os.environ, 'OPENBLAS_NUM_THREADS': '1', 'OMP_NUM_THREADS': '1'},
            )  # fmt: skip

    @property
    def is_usable(self) -> bool:
        """Whether it answers: not once it has gone, nor in a fork of the program."""
        if self._owner != os.getpid() or self._is_lost:
            return False
        return self._program.poll() is None

    def process(self) -> '_Process':
        """Return a new process."""
        ours, other = socket.socketpair()
        with other:
            number = self._ask(START, [other.fileno()])
        if number < 0:
            raise BackendError(f'no process to decode in: {os.strerror(-number)}')
        return _Process(self, number, ours)

    def ending_of(self, number: int) -> Optional[int]:
        """How one of the processes has ended, or is about to; None if nobody knows."""
        try:
            return self._ask(number, [])
        except BackendError:
            return None

    def _ask(self, number: int, descriptors: list[int]) -> int:
        with self._lock:
            try:
                if not self.is_ready:
                    self.is_ready = self._control.recv(1) == READY
                socket.send_fds(self._control, [REQUEST.pack(number)], descriptors)
                return REQUEST.unpack(self._control.recv(REQUEST.size))[0]
            except (OSError, struct.error):
                self._is_lost = True
                raise BackendError(f'no process to decode in: {self._complaint()}') from None
            except BaseException:  # Ctrl-C: the answer may still come, and be taken for the next
                self._is_lost = True
                self._hang_up()
                raise

    def _complaint(self) -> str:
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors='replace').split('\n')
        return next((line for line in reversed(lines) if line.strip()), 'it has ended')

    def close(self) -> None:
        """End all of its processes, and it with them."""
        if self._owner == os.getpid():
            self._hang_up()
            self._program.wait()

    def _hang_up(self):
        """Let it see the end, also where a fork of the program has the channel too."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_RDWR)
        self._control.close()


class _Process:
    """One process that decodes, and the channel to it."""

    def __init__(self, source: _Source, number: int, channel: socket.socket) -> None:
        self._source, self._number, self._channel = source, number, channel

    def is_alive(self) -> bool:
        """Whether it still waits: nothing, not even the end of the channel, is to be read."""
        waiting = select.poll()  # select takes no numbers above 1023
        waiting.register(self._channel, select.POLLIN)
        return not waiting.poll(0)

    def hold_to(self, budget: Budget) -> None:
        self._budget = budget
        self._channel.settimeout(CLOCK_SECONDS * max(1, budget.seconds))

    def send(self, call: Call) -> None:
        with contextlib.suppress(OSError):  # receive says that it has gone
            send(self._channel, call)

    def go_on(self) -> None:
        with contextlib.suppress(OSError):
            self._channel.send(GO_ON)

    def receive(self) -> Outcome:
        try:
            return receive(self._channel)
        except EOFError:
            raise _Lost from None
        except TimeoutError:
            seconds = CLOCK_SECONDS * max(1, self._budget.seconds)
            raise _Lost(f'over budget: no frame within {seconds:g} seconds') from None

    def kill(self) -> None:
        """End it at once; to be followed by `end` where it is used."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._number, signal.SIGKILL)

    def end(self, reason: Optional[str] = None) -> str:
        """End it, and return the reason: why it ended by itself, if none is given."""
        if reason or self.is_alive():
            self.kill()
        self._channel.close()
        return reason or self._ending(self._source.ending_of(self._number))

    def _ending(self, status):
        if status is None:
            return 'the process that decoded it has gone'
        if not os.WIFSIGNALED(status):
            return f'the process that decoded it ended with status {os.WEXITSTATUS(status)}'
        number = signal.Signals(os.WTERMSIG(status))
        text = KILLED.get(number, f'the decoder crashed ({number.name})')
        return text.format(seconds=self._budget.seconds)


DECODERS = Decoders()
