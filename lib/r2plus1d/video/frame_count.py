"""Whether the packets of a video say how many frames it has, so that nothing need be decoded."""

from collections.abc import Sequence

from av.packet import Packet

# In these containers a packet is a whole picture of these codecs. Elsewhere a packet may be a
# field of one, or belong to a picture whose beginning is not there (a recorded transport stream).
CONTAINERS = frozenset(('mov,mp4,m4a,3gp,3g2,mj2', 'matroska,webm', 'avi', 'flv'))
CODECS = frozenset((
    'h264', 'hevc', 'av1', 'mpeg4', 'vp8', 'vp9', 'mjpeg', 'prores', 'dnxhd', 'ffv1', 'huffyuv',
    'ffvhuff', 'utvideo', 'png', 'dvvideo',
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
