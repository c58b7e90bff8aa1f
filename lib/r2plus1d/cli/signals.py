"""How a program ends when it is told to: by Ctrl-C, by `kill`, or by a terminal that closes.

Only the standard library is imported here: this has to run before anything else is there.
"""

import contextlib
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Optional

FIRST_STATUS = 128  # of a program that a signal ended; the signal's number is added
WORDS: dict[int, str] = {
    signal.SIGINT: 'interrupted',
    signal.SIGTERM: 'ended by SIGTERM',
    signal.SIGHUP: 'ended by SIGHUP',
}
# `timeout` sends a signal twice: to its child, and to the group that the child is in.
SECONDS_OF_ONE_SIGNAL = 0.1


class Told:
    """What this process was told.

    Attributes:
        number: of the first signal, or None.
    """

    def __init__(self) -> None:
        self.number: Optional[int] = None

    @property
    def words(self) -> str:
        """What happened, for a message."""
        return WORDS.get(self.number or signal.SIGINT, '')

    @property
    def status(self) -> int:
        """The exit status of a program that was told to end."""
        return FIRST_STATUS + (self.number or signal.SIGINT)

    def handle(self, number: int, frame: object) -> None:
        """Raise KeyboardInterrupt at the first signal; what follows it ends undisturbed."""
        if self.number is None:
            self.number = number
            raise KeyboardInterrupt


def end_at_once() -> None:
    """From now on a signal ends this process with one line: it has nothing to lose yet.

    A process of `multiprocessing`, which imports the program too, ends without a word.
    """
    processes = sys.modules.get('multiprocessing')
    if processes and processes.current_process().name != 'MainProcess':
        return

    def handle(number: int, frame: object) -> None:
        _end(number, WORDS[number])

    _set_handlers(handle)


@contextlib.contextmanager
def raised() -> Iterator[Told]:
    """Within the block the first signal raises KeyboardInterrupt, and a second one ends all.

    The second one is obeyed by a thread of its own, as the first may wait for what never returns.
    Signals that were ignored before, as by nohup, stay ignored. Outside the main thread nothing is
    changed.
    """
    told = Told()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = _set_handlers(told.handle)
    ours, theirs = os.pipe()
    os.set_blocking(theirs, False)
    wakeup = signal.set_wakeup_fd(theirs, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(ours,), name='signals', daemon=True).start()
    try:
        yield told
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(theirs)  # ends the thread


def _set_handlers(handle):
    """Handle each signal that is not ignored; return {signal: what handled it before}."""
    found = {number: signal.getsignal(number) for number in WORDS}
    before = {n: was for n, was in found.items() if was not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, handle)
    return before


def _before_fork():
    """Keep signals back until the process that is made handles its own."""
    _forking.mask = signal.pthread_sigmask(signal.SIG_BLOCK, WORDS)


def _after_fork():
    signal.pthread_sigmask(signal.SIG_SETMASK, _forking.mask)


def _after_fork_in_child():
    """Let a signal end a process that was forked here, and not be told to its parent."""
    if any(getattr(signal.getsignal(n), '__module__', None) == __name__ for n in WORDS):
        signal.set_wakeup_fd(-1)
        _set_handlers(signal.SIG_DFL)
    _after_fork()


_forking = threading.local()
os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)


def _watch(pipe):
    """End the process at a signal that does not come with the first one."""
    first = None
    while numbers := os.read(pipe, 64):
        for number in filter(WORDS.__contains__, numbers):
            now = time.monotonic()
            first = now if first is None else first
            if now - first > SECONDS_OF_ONE_SIGNAL:
                _end(number, f'{WORDS[number]} again, and ended at once')
    os.close(pipe)


def _end(number, words):
    with contextlib.suppress(OSError):
        os.write(2, f'{pathlib.Path(sys.argv[0]).name}: {words}\n'.encode())
    if 'multiprocessing' in sys.modules:
        for child in sys.modules['multiprocessing'].active_children():
            child.kill()
    os._exit(FIRST_STATUS + number)
