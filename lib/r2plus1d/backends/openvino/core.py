"""The one Core of OpenVINO in a process.

The CPU's part of a Core gives the thread that loads it another stack for signals, and puts back the
one that it found when the Core goes. Of two that go in the order in which they came, the second one
puts back memory that the first has freed; the next Ctrl-C then crashes Python 3.10 and later.
"""

import functools
import threading

import openvino

_LOCK = threading.Lock()


def core() -> openvino.Core:
    """Return the Core, which stays for as long as the process."""
    with _LOCK:
        return _core()


@functools.cache
def _core():
    return openvino.Core()
