"""Whether a video file has its end, as far as its container lets that be known."""

from collections.abc import Callable
from typing import NamedTuple, Optional

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from r2plus1d.errors import RecordError

# Matroska and FLV state a duration. A file whose streams all end more than this many seconds
# before it has been cut.
SLACK_SECONDS = 0.25
# AVI states a number of frames, which some programs get a little wrong.
AVI_SHARE, AVI_SLACK_FRAMES = 0.95, 2


class Ends:
    """Where the packets read so far end.

    Args:
        stream: the video stream.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._index = stream.index
        self.cut = False
        self.read_error: Optional[str] = None
        self.seconds, self.ticks = 0.0, 0

    def add(self, packet: Packet) -> None:
        """Take in a packet of any stream."""
        self.cut = packet.is_corrupt
        if packet.dts is None or not packet.time_base:
            return
        duration = packet.duration or 0
        # With B-frames and a variable frame rate the last picture is shown long after dts.
        shown = packet.dts if packet.pts is None else max(packet.dts, packet.pts)
        self.seconds = max(self.seconds, float((shown + duration) * packet.time_base))
        if packet.stream_index == self._index:
            self.ticks = packet.dts + duration


class Read(NamedTuple):
    """What was read of a file.

    Attributes:
        packets: of the video stream.
        ends: Ends of all packets.
        missing: bytes that the file says it has and has not; see missing_bytes.
    """

    packets: list[Packet]
    ends: Ends
    missing: int


def require_whole(container: InputContainer, stream: VideoStream, read: Read) -> None:
    """Raise RecordError for a file whose end is missing."""
    packets, ends = read.packets, read.ends
    if not packets:
        raise RecordError('no video data')
    complete = 0 < stream.frames <= len(packets)  # what is missing is sound
    if packets[-1].is_corrupt or (ends.cut or ends.read_error) and not complete:
        how = f' ({ends.read_error})' if ends.read_error else ''
        raise RecordError(f'truncated: the file ends after {len(packets)} frames{how}')
    name, stated = container.format.name, stream.frames
    if name == 'avi' and ends.ticks < AVI_SHARE * stated - AVI_SLACK_FRAMES:
        raise RecordError(f'truncated: {ends.ticks} of {stated} frames')
    _require_duration(container, stream, ends)
    if read.missing and not complete:
        raise RecordError(
            f'truncated: the file ends after {len(packets)} frames, '
            f'{read.missing} bytes before its end'
        )


def _require_duration(container, stream, ends):
    if not ('matroska' in container.format.name or container.format.name == 'flv'):
        return
    seconds = (container.duration or 0) / av.time_base
    last = 2 / (stream.average_rate or 1)  # how long the last frame is may not be stated
    if ends.seconds + last + SLACK_SECONDS < seconds:
        raise RecordError(f'truncated: its data ends at {ends.seconds:.2f} s of {seconds:.2f} s')


def missing_bytes(container: str, read_at: Callable[[int, int], bytes], size: int) -> int:
    """Bytes by which the outermost parts of a file reach beyond its end; 0 if that is not known.

    Args:
        container: FFmpeg's name of it. MP4, MOV and Matroska state the sizes of their parts.
        read_at: a function from (place, count) to bytes of the file, fewer at its end.
        size: bytes of the file.
    """
    if 'mp4' in container:
        return _beyond(_box_size, read_at, size)
    if 'matroska' in container:
        return _beyond(_element_size, read_at, size)
    return 0


def _beyond(size_of, read_at, size):
    place = 0
    while place < size:
        part = size_of(read_at(place, 16))
        if part is None:
            return 0
        place += part
    return place - size


def _box_size(head):
    """The size of a box of MP4, header included; None for one that reaches to the end."""
    if len(head) < 8 or not head[4:8].isalnum():
        return None
    size = int.from_bytes(head[:4], 'big')
    if size == 1 and len(head) == 16:
        size = int.from_bytes(head[8:], 'big')
    return size if size >= 8 else None


def _element_size(head):
    """The size of an element of Matroska, header included; None where it is not known."""
    if len(head) < 12 or not head[0]:
        return None
    id_bytes = 9 - head[0].bit_length()
    if not head[id_bytes]:
        return None
    size_bytes = 9 - head[id_bytes].bit_length()
    bits = 7 * size_bytes
    size = int.from_bytes(head[id_bytes : id_bytes + size_bytes], 'big') & (1 << bits) - 1
    unknown = size == (1 << bits) - 1
    return None if unknown else id_bytes + size_bytes + size
