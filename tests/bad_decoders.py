"""What decoders do in the worst case; test_decoders.py calls these in processes of their own."""

import ctypes
import os
import time

import numpy as np


def add(a, b=1):
    return a + b


def arrays(*shapes):
    return [np.arange(np.prod(shape), dtype=np.float32).reshape(shape) for shape in shapes]


def echo(value):
    return value


def crash(*_):
    ctypes.string_at(0)


def kill(number):
    os.kill(os.getpid(), number)


def leave(status):
    os._exit(status)


def spin():
    while True:
        pass


def sleep(seconds):
    time.sleep(seconds)


def take(num_bytes):
    return len(bytearray(num_bytes))


def raises(error):
    raise error


def process(_=None):
    return os.getpid()


def count(last, then=None):
    yield from range(last)
    if then:
        then()


def note(path, count):
    """Yield numbers, and write each one down before."""
    for number in range(count):
        with path.open('a') as file:
            file.write(f'{number}\n')
        yield number
