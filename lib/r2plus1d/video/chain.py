"""Whether the parts of a file follow each other from its beginning to its end.

Where a part makes no sense FFmpeg goes on at the next one that it knows, and says nothing of what
it passed over. Frames may be lost then, or those of another file may follow.
"""

import collections
import re
from collections.abc import Callable
from typing import Optional

from r2plus1d.video.stated import HEAD_BYTES, ReadAt, read_riff_size, walk_parts
from r2plus1d.video.whole import LARGEST_FRAME_HEAD, Ends

REST = 2**63  # the size of a part that does not say where it ends
RIFF_HEAD = 12  # bytes: RIFF or LIST, the size, and what it is a list of
AVI_LISTS = (b'AVIX', b'movi', b'rec ')  # that are looked into
AVI_MAY_BE_CUT = (b'idx1', b'JUNK')
AVI_KIND = re.compile(rb'[ -~]{4}')
START_CODE = b'\0\0\1'
PACK, PS_END = 0xBA, 0xB9  # kinds of parts of an MPEG-PS; those above have a length
RM_DATA_HEAD, RM_PACKET_HEAD = 18, 12  # bytes
NUT_PART = re.compile(rb'N[KMSIX]', re.DOTALL)  # anything but frames, whose headers have no mark
NUT_BEGIN = b'nut/multimedia container\0'
NUT_LEFT_OUT = 4  # bytes at the beginning of a frame that FFmpeg adds to it, at most


def find_break(container: str, read_at: ReadAt, size: int, ends: Ends) -> Optional[str]:
    """Say where the parts of a file do not follow each other; None if they do.

    Args:
        container: FFmpeg's name of it; AVI, MPEG-PS, RealMedia and NUT are looked at.
        read_at, size: as in read_stated.
        ends: where FFmpeg found packets.
    """
    if container == 'avi':
        riffs = [end for _, _, end in walk_parts(read_riff_size, read_at, 0, size)]
        end = min([size, *riffs[-1:]])
        return _find_odd_part(_chunk_size, read_at, RIFF_HEAD, end) or _find_more(end, ends)
    if container == 'mpeg' and read_at(0, 4) != b'RIFF':  # the sectors of a Video CD
        return _find_odd_part(_pack_size, read_at, 0, size)
    if container == 'rm':
        return _find_odd_data(read_at, size, ends)
    if container == 'nut':
        return _find_lost_bytes(read_at, ends.gaps)
    return None


def _find_odd_part(
    size_of: Callable[[bytes], Optional[int]], read_at: ReadAt, place: int, end: int
) -> Optional[str]:
    begin, head, place = _last_part(size_of, read_at, place, end)
    if place < end and size_of(read_at(place, HEAD_BYTES)) is None:
        return f'no part of such a file begins at byte {place}, where one should'
    if end + 1 < place < REST and head[:4] not in AVI_MAY_BE_CUT:  # a byte that fills up may lack
        return f'the part at byte {begin} is longer than what is left of the file'
    return None


def _last_part(size_of, read_at, place, end):
    """(place, head, end) of the last of the parts, or (place, no head, place) if there is none."""
    last = collections.deque(walk_parts(size_of, read_at, place, end), maxlen=1)
    return last[0] if last else (place, b'', place)


def _find_more(end, ends):
    if ends.last_begin >= end:
        return f'its data ends at byte {end}, and more frames follow'
    return None


def _chunk_size(head):
    """The size of a chunk inside an AVI; of a list that is looked into, that of its header."""
    kind, size = head[:4], int.from_bytes(head[4:8], 'little')
    if kind == b'RIFF' or kind == b'LIST' and head[8:12] in AVI_LISTS:
        return RIFF_HEAD if head[8:12] in AVI_LISTS else None  # None: another file follows
    if len(head) < 8:
        return REST
    return 8 + size + size % 2 if AVI_KIND.fullmatch(kind) else None


def _pack_size(head):
    """The size of a pack header or a packet of MPEG-PS, or of zeros before one."""
    zeros = len(head) - len(head.lstrip(b'\0'))
    if zeros > 2 or zeros == len(head):
        return max(1, zeros - 2)
    if len(head) < 6:
        return REST
    if head[:3] != START_CODE or head[3] < PS_END:
        return None
    if head[3] == PS_END:
        return 4
    if head[3] == PACK:
        return 14 + (head[13] & 7) if len(head) > 13 and head[4] >> 6 == 1 else 12
    return 6 + int.from_bytes(head[4:6], 'big') if any(head[4:6]) else REST


def _find_odd_data(read_at, size, ends):
    """Compare the packets in the first DATA chunk of a RealMedia with how many there should be."""
    chunks = [(at, head) for at, head, _ in walk_parts(_rm_chunk_size, read_at, 0, size)]
    streams = {head[10:12] for _, head in chunks if head[:4] == b'MDPR'}
    data = next(((at, head) for at, head in chunks if head[:4] == b'DATA'), None)
    if data is None:
        return None
    end, stated, found = data[0] + RM_DATA_HEAD, int.from_bytes(data[1][10:14], 'big'), 0
    for _, packet, packet_end in walk_parts(_rm_packet_size, read_at, end, size):
        if packet_end <= size:
            found, end = found + (packet[4:6] in streams), packet_end
    if stated and found != stated:  # a live recording leaves it 0
        return f'its data has {found} packets where its header states {stated}'
    return None if read_at(end, 4) == b'DATA' else _find_more(end, ends)


def _rm_chunk_size(head):
    size = int.from_bytes(head[4:8], 'big')
    return size if AVI_KIND.fullmatch(head[:4]) and size else None


def _rm_packet_size(head):
    size = int.from_bytes(head[2:4], 'big')
    return size if head[:2] in (b'\0\0', b'\0\1') and size >= RM_PACKET_HEAD else None


def _find_lost_bytes(read_at, gaps):
    """Look between the frames of a NUT for what is neither a header of theirs nor another part."""
    for begin, end in gaps:
        tried = range(begin, max(0, begin - NUT_LEFT_OUT) - 1, -1)
        place = next((at for at in tried if _nut_part_size(read_at(at, HEAD_BYTES))), begin)
        *_, place = _last_part(_nut_part_size, read_at, place, end)
        if end - place > LARGEST_FRAME_HEAD:
            return f'{end - place} bytes from byte {place} on are no part of such a file'
    return None


def _nut_part_size(head):
    """The size of a part that states it after its start code of eight bytes."""
    if head == NUT_BEGIN[:HEAD_BYTES]:
        return len(NUT_BEGIN)
    if not NUT_PART.match(head):
        return None
    size = 0
    for count, byte in enumerate(head[8:], 9):
        size = size << 7 | byte & 0x7F
        if byte < 0x80:
            return count + size + (4 if size > 4096 else 0)  # a checksum of the size
    return None
