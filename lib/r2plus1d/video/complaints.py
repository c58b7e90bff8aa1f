"""What FFmpeg says of a video that it mends or passes over: errors that it logs and goes on from.

A part of a file that FFmpeg leaves out, because it makes no sense of it, costs frames. Often this
log is the only place where that is said.
"""

from typing import Optional

import av.logging

LONGEST = 200  # characters of a message; parts of it may come from the file


def listen() -> None:
    """Let FFmpeg's errors be counted in this process, which is to decode one video at a time."""
    av.logging.set_level(av.logging.PANIC)  # counted whatever the level is, and shown nowhere


class Complaints:
    """The errors that FFmpeg logs from now on, where this process listens."""

    def __init__(self) -> None:
        self._before = _count_and_last()[0]

    @property
    def summary(self) -> Optional[str]:
        """How many there are, and the last one; None if there are none."""
        count, last = _count_and_last()
        if count == self._before:
            return None
        said = f'{last[1]}: {last[2].strip()}'[:LONGEST]
        return f'FFmpeg logs {count - self._before} errors, the last is {said!r}'


def _count_and_last():
    """(errors so far, (level, name of what logs, text) of the last one)."""
    return av.logging.get_last_error()
