"""Whether a video file has its end, as far as its container lets that be known."""

from typing import NamedTuple, Optional

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from r2plus1d.errors import RecordError
from r2plus1d.video.stated import Stated

# Matroska, FLV and MP4 in fragments state a duration. A file whose streams all end more than this
# many seconds before it has been cut.
SLACK_SECONDS = 0.25
# AVI states a number of frames, which some programs get a little wrong.
AVI_SHARE, AVI_SLACK_FRAMES = 0.95, 2
LARGEST_FRAME_HEAD = 64  # bytes, before a frame; more than any of NUT has
NUT_SLACK_SECONDS = 1e-5  # FFmpeg rounds what the index states
AVI_UNKNOWN_FRAMES = 2**30  # FFmpeg writes it where it cannot go back to the header


class Ends:
    """Where the packets read so far end.

    Args:
        stream: the video stream.

    Attributes:
        gaps: (begin, end) of the bytes between two packets where they are more than a header.
        place: in the file, of the end of the last packet.
        last_begin: in the file, of the last video packet; 0 if that is not known.
        last_shown: seconds, of the packet of any stream that is shown last.
    """

    def __init__(self, stream: VideoStream) -> None:
        self._index = stream.index
        self._ticks: dict[int, float] = {}
        self.cut = False
        self.read_error: Optional[str] = None
        self.seconds, self.last_shown, self.ticks = 0.0, 0.0, 0
        self.gaps: list[tuple[int, int]] = []
        self.place = self.last_begin = 0

    def add(self, packet: Packet) -> None:
        """Take in a packet of any stream, with or without content."""
        stream, pts, dts, size = packet.stream_index, packet.pts, packet.dts, packet.size
        tick = self._tick_of(packet)
        if pts is not None and pts * tick > self.last_shown:
            self.last_shown = pts * tick
        if not size:
            return
        self.cut = packet.is_corrupt
        self._add_place(packet.pos, size, stream)
        if dts is None or not tick:
            return
        duration = packet.duration or 0
        # With B-frames and a variable frame rate the last picture is shown long after dts.
        shown = dts if pts is None else max(dts, pts)
        self.seconds = max(self.seconds, (shown + duration) * tick)
        if stream == self._index:
            self.ticks = dts + duration

    def _tick_of(self, packet):
        """Seconds, 0 if not known; a fraction would take longer than all the rest."""
        tick = self._ticks.get(packet.stream_index)
        if tick is None:
            tick = self._ticks[packet.stream_index] = float(packet.time_base or 0)
        return tick

    def _add_place(self, begin, size, stream):
        if begin is None:
            return
        if begin - self.place > LARGEST_FRAME_HEAD:
            self.gaps.append((self.place, begin))
        self.place = begin + size
        if stream == self._index:
            self.last_begin = begin


class Read(NamedTuple):
    """What was read of a file.

    Attributes:
        packets: of the video stream.
        ends: Ends of all packets.
        stated: Stated by the file's header.
        size: bytes of the file.
    """

    packets: list[Packet]
    ends: Ends
    stated: Stated
    size: int


def find_cut(container: InputContainer, stream: VideoStream, read: Read) -> Optional[str]:
    """Say how a file whose end is missing was cut; None for one that has its end.

    Raises:
        RecordError: there is no video in it.
    """
    packets, ends = read.packets, read.ends
    if not packets:
        raise RecordError('no video data')
    name = container.format.name
    complete = _has_every_frame(name, stream.frames, read)
    if packets[-1].is_corrupt or (ends.cut or ends.read_error) and not complete:
        how = f' ({ends.read_error})' if ends.read_error else ''
        return f'truncated: the file ends after {len(packets)} frames{how}'
    if name == 'avi' and ends.ticks < AVI_SHARE * _avi_frames(stream.frames) - AVI_SLACK_FRAMES:
        return f'truncated: {ends.ticks} of {stream.frames} frames'
    if name == 'yuv4mpegpipe' and ends.place < read.size:
        rest = read.size - ends.place
        return f'truncated: the file ends after {len(packets)} frames, {rest} bytes into another'
    early = _find_early_end(container, stream, read)
    if early is None and read.stated.missing and not complete:
        return (
            f'truncated: the file ends after {len(packets)} frames, '
            f'{read.stated.missing} bytes before its end'
        )
    return early


def find_odd(container: InputContainer, stream: VideoStream, read: Read) -> Optional[str]:
    """Say what does not fit in a file that has its end, as far as is known; None if all fits."""
    packets, stated = read.packets, read.stated
    if stated.odd_bytes:
        return f'its last {stated.odd_bytes} bytes are no whole packet'
    if stated.begins_oddly:
        return f'it is read as bare {container.format.name}, and does not begin as such'
    if len(packets) < stated.frames:
        return f'it has {len(packets)} of {stated.frames} frames'
    if container.format.name == 'nut':
        return _find_odd_index(container, read)
    # MXF has a constant rate and states how long the video is.
    if container.format.name == 'mxf' and stream.duration and stream.time_base:
        frames = round(stream.duration * stream.time_base * (stream.average_rate or 0))
        if frames > len(packets):
            return f'it has {len(packets)} of {frames} frames'
    return None


def _find_odd_index(container, read):
    """The index at the end of a NUT states when the last frame of any stream is shown."""
    if not read.stated.has_index:
        return 'it has no index at its end, so some of it may be missing'
    seconds, last = (container.duration or 0) / av.time_base, read.ends.last_shown
    if abs(last - seconds) > NUT_SLACK_SECONDS:
        return f'its last frame is shown at {last:.2f} s, and at {seconds:.2f} s by its index'
    return None


def _has_every_frame(name, num_frames, read):
    """Whether what may be missing is no frame, but sound or an index."""
    if name == 'avi':
        return 0 < _avi_frames(num_frames) <= read.ends.ticks
    return not read.stated.is_fragmented and 0 < num_frames <= len(read.packets)


def _avi_frames(stated):
    return 0 if stated == AVI_UNKNOWN_FRAMES else stated


def _find_early_end(container, stream, read):
    seconds = read.stated.seconds
    if 'matroska' in container.format.name or container.format.name == 'flv':
        seconds = (container.duration or 0) / av.time_base
    last = 2 / (stream.average_rate or 1)  # how long the last frame is may not be stated
    end = read.ends.seconds
    if end + last + SLACK_SECONDS < seconds:
        return f'truncated: its data ends at {end:.2f} s of {seconds:.2f} s'
    return None
