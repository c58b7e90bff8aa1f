"""The packets of one video: read once, in the file's order, and kept for the next pass."""

import itertools
from collections.abc import Iterator
from typing import Optional

import av.error
from av.packet import Packet
from av.video.stream import VideoStream

from r2plus1d.errors import RecordError
from r2plus1d.video.budget import Spending, memory_errors_named
from r2plus1d.video.byte_stream import find_never
from r2plus1d.video.chain import find_break
from r2plus1d.video.container import Opened
from r2plus1d.video.parts import reader_of
from r2plus1d.video.stated import read_stated
from r2plus1d.video.whole import Ends, Read, find_cut, find_odd


class PacketReader:
    """Reads the packets of a video stream.

    Args:
        opened: the container.
        stream: the video stream.
        spending: what they are counted in.
        use_truncated: use a file that was cut short as far as it goes.

    Attributes:
        complaint: what else is wrong with the packets so far; None where nothing is seen.
        truncated: how the file was cut, None for one that is whole or not yet read to its end.
    """

    def __init__(
        self, opened: Opened, stream: VideoStream, spending: Spending, *, use_truncated: bool
    ) -> None:
        self.truncated: Optional[str] = None
        self.complaint: Optional[str] = None
        self._num_damaged = self._num_bytes = 0
        self._opened, self._stream, self._spending = opened, stream, spending
        self._use_truncated, self._is_checked = use_truncated, False
        self._read: list[Packet] = []  # the packets so far; self._unread gives the others
        self._unread, self._ends = self._demux(), Ends(stream)
        self._never = find_never(opened.container.format.name, stream.codec_context.name)

    def read_all(self) -> list[Packet]:
        """Return all packets.

        Raises:
            RecordError: there are none, or the file was cut short.
        """
        packets = list(self.from_first())
        if not self._is_checked:
            with self._spending.timed():
                self._check(packets)
            self._is_checked = True
        return packets

    def _check(self, packets):
        container, size = self._opened.container, self._opened.size
        name, read_at = container.format.name, reader_of(self._opened.file)
        read = Read(packets, self._ends, read_stated(name, read_at, size), size)
        self.truncated = find_cut(container, self._stream, read)
        if self.truncated and not self._use_truncated:
            raise RecordError(self.truncated)
        self.complaint = (
            self.complaint
            or find_odd(container, self._stream, read)
            or find_break(name, read_at, size, self._ends)
        )

    def from_first(self) -> Iterator[Packet]:
        """Yield the packets. They are kept for the next pass, as far as the budget goes."""
        for number in itertools.count():
            if number == len(self._read):
                with memory_errors_named(), self._spending.timed():
                    packet = next(self._unread, None)
                if packet is None:
                    return
                self._num_bytes += packet.size
                if self._num_bytes > self._spending.packet_bytes:
                    raise self._spending.too_many_packets()
                self._read.append(packet)
                if packet.is_corrupt or self._never and self._never.search(packet):
                    self._num_damaged += 1
                    self.complaint = f'{self._num_damaged} packets are damaged'
            yield self._read[number]

    def _demux(self):
        """Yield the video packets in the file's order.

        As VideoInput, stop at a packet that cannot be read and use what came before it.
        """
        try:
            for packet in self._opened.container.demux():
                self._ends.add(packet)
                if packet.size and packet.stream_index == self._stream.index:
                    yield packet
        except MemoryError:
            raise
        except (av.error.FFmpegError, OSError) as error:
            self._ends.read_error = error.strerror
