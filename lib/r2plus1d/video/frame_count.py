"""Whether the packets of a video say how many frames it has, so that nothing need be decoded."""

from collections.abc import Callable, Iterable, Sequence
from typing import Optional

from av import VideoFrame
from av.packet import Packet

# In these containers a packet is a whole picture of these codecs. Elsewhere a packet may be a
# field of one, or belong to a picture whose beginning is not there (a recorded transport stream).
CONTAINERS = frozenset(('mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm', 'avi', 'flv'))
CODECS = frozenset((
    'h264', 'hevc', 'av1', 'mpeg4', 'vp8', 'vp9', 'mjpeg', 'prores', 'dnxhd', 'ffv1', 'huffyuv',
    'ffvhuff', 'utvideo', 'png', 'dvvideo',
))  # fmt: skip
# Here they are as well, but a damaged one may give no frame: all are decoded to count them.
OTHERS = frozenset((
    ('rm', 'rv10'), ('rm', 'rv20'), ('rm', 'rv30'), ('rm', 'rv40'), ('h264', 'h264'),
    ('mpeg', 'mpeg1video'),
))  # fmt: skip
# A smaller packet may say only that the picture before it is shown again.
SMALLEST_PICTURE_BYTES = {'mpeg4': 20, 'h264': 12, 'hevc': 12}
# So many packets at the beginning are decoded to see that each gives a frame.
TRIED_PACKETS = 16


def packets_may_decide(container: str, codec: str, packets: Sequence[Packet]) -> bool:
    """Whether each packet that is not discarded should give one frame.

    Args:
        container, codec: FFmpeg's names of them.
        packets: of the video stream, all of them.
    """
    smallest = SMALLEST_PICTURE_BYTES.get(codec, 1)
    return (
        container in CONTAINERS
        and codec in CODECS
        and bool(packets)
        and packets[0].is_keyframe
        and all(p.size >= smallest and not p.is_corrupt and _is_shown(codec, p) for p in packets)
    )


def stamps_of_packets(
    container: str,
    codec: str,
    packets: Sequence[Packet],
    decode: Callable[[Sequence[Packet]], Iterable[VideoFrame]],
) -> Optional[list[tuple[Optional[int], Optional[int]]]]:
    """Return (pts, dts) of each frame by the packets alone; None if all have to be decoded.

    Where the first pictures are interlaced, a later packet may be one field of two.

    Args:
        container, codec, packets: as in packets_may_decide.
        decode: gives the frames of packets.
    """
    if not packets_may_decide(container, codec, packets):
        return None
    shown = [packet for packet in packets if not packet.is_discard]
    tried = packets[:TRIED_PACKETS]
    frames = list(decode(tried))
    promised = sum(1 for packet in tried if not packet.is_discard)
    if len(frames) != promised or any(frame.interlaced_frame for frame in frames):
        return None
    return [(packet.pts, packet.dts) for packet in shown]


def count_lost(container: str, codec: str, packets: Sequence[Packet], num_frames: int) -> int:
    """How many packets gave no frame where each should have given one; 0 if that is not known.

    Args:
        container, codec, packets: as in packets_may_decide.
        num_frames: that all packets gave, none of them interlaced.
    """
    if (container, codec) in OTHERS or packets_may_decide(container, codec, packets):
        return max(0, sum(1 for packet in packets if not packet.is_discard) - num_frames)
    return 0


def _is_shown(codec, packet):
    """VP8 and VP9 have frames that are only referred to."""
    if codec == 'vp8':
        return bool(memoryview(packet)[0] & 0x10)
    return codec != 'vp9' or _is_vp9_shown(memoryview(packet))


def _is_vp9_shown(data):
    """Read show_existing_frame and show_frame of the uncompressed header (VP9 bitstream, 6.2)."""
    if data[-1] & 0xE0 == 0xC0:
        return True  # a superframe: frames that are not shown, and one that is
    bits = f'{int.from_bytes(data[:2], "big"):016b}'
    profile = int(bits[3] + bits[2], 2)
    after = 5 if profile == 3 else 4
    shows_existing, shows = bits[after] == '1', bits[after + 2] == '1'
    return shows_existing or shows
