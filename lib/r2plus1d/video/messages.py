"""Objects from one process to another: pickled, and their arrays in memory that both can see."""

import contextlib
import errno
import mmap
import os
import pickle
import socket
import struct
import tempfile
from collections.abc import Sequence
from typing import IO, Any

_HEAD = struct.Struct('=QI')  # bytes of the pickle, number of buffers beside it
_ALIGNMENT = 64
# Memory that is mapped keeps a file open, and a thousand may be: only what is large is mapped.
_MAPPED_FROM = 4 << 20  # bytes


def send(channel: socket.socket, message: Any) -> None:
    """Send an object that the other process may have; arrays in it are written once.

    Raises:
        OSError: the other process has gone.
    """
    held: list[pickle.PickleBuffer] = []
    text = pickle.dumps(message, protocol=5, buffer_callback=held.append)
    buffers = [buffer.raw() for buffer in held]
    head = _HEAD.pack(len(text), len(buffers)) + _sizes(len(buffers)).pack(*map(len, buffers))
    with contextlib.ExitStack() as stack:
        try:
            memories = [stack.enter_context(_memory(buffers))] if any(map(len, buffers)) else []
        except OSError as error:
            if error.errno != errno.EFBIG:
                raise
            text, memories = (
                pickle.dumps(message, protocol=5),
                [],
            )  # `ulimit -f` holds for memory too
            head = _HEAD.pack(len(text), 0)
        if memories:
            socket.send_fds(channel, [head[:1]], memories)
            channel.sendall(head[1:] + text)
        else:
            channel.sendall(head + text)


def receive(channel: socket.socket) -> Any:
    """Return the next object that the other process sent.

    Raises:
        EOFError: it has gone.
        TimeoutError: nothing came within the time-out of `channel`.
    """
    try:
        first, memories, _, _ = socket.recv_fds(channel, 1, 1)
        num_bytes, num_buffers = _HEAD.unpack(first + _exactly(channel, _HEAD.size - len(first)))
        layout = _sizes(num_buffers)
        sizes = layout.unpack(_exactly(channel, layout.size))
        text = _exactly(channel, num_bytes)
    except socket.timeout:
        raise TimeoutError from None
    except OSError:
        raise EOFError from None
    try:
        return pickle.loads(text, buffers=_mapped(memories, sizes))
    finally:
        for memory in memories:
            os.close(memory)


def _sizes(count):
    return struct.Struct(f'={count}Q')


def _exactly(channel, count):
    got = bytearray(count)
    view = memoryview(got)
    while view:
        size = channel.recv_into(view)
        if not size:
            raise EOFError
        view = view[size:]
    return bytes(got) if count < mmap.PAGESIZE else got


def unnamed_file() -> IO[bytes]:
    """Return a file without a name; it needs no folder where the system has files in memory."""
    if hasattr(os, 'memfd_create'):
        return os.fdopen(os.memfd_create('r2plus1d'), 'w+b')
    return tempfile.TemporaryFile()


@contextlib.contextmanager
def _memory(buffers: Sequence[memoryview]):
    """Give the descriptor of a file without a name that holds `buffers`, each one aligned."""
    with unnamed_file() as file:
        for buffer in buffers:
            file.write(buffer)
            file.write(bytes(-len(buffer) % _ALIGNMENT))
        file.flush()
        yield file.fileno()


def _mapped(memories, sizes):
    """The buffers as this process sees them; the memory goes when no array needs it any more."""
    if not memories:
        return [bytearray() for _ in sizes]
    view = _contents(memories[0])
    buffers, place = [], 0
    for size in sizes:
        buffers.append(view[place : place + size])
        place += size + -size % _ALIGNMENT
    return buffers


def _contents(memory):
    num_bytes = os.fstat(memory).st_size
    if num_bytes >= _MAPPED_FROM:
        return memoryview(mmap.mmap(memory, 0, access=mmap.ACCESS_COPY))
    contents = mmap.mmap(-1, num_bytes)  # of no file, and aligned
    with open(memory, 'rb', closefd=False) as file:
        file.seek(0)
        file.readinto(contents)
    return memoryview(contents)
