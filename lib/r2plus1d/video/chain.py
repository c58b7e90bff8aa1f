"""Whether the parts of a file follow each other from its beginning to its end.

Where a part makes no sense FFmpeg goes on at the next one that it knows, and says nothing of what
it passed over. Frames may be lost then, or those of another file may follow.
"""

from typing import Optional

from r2plus1d.video import parts
from r2plus1d.video.parts import HEAD_BYTES, ReadAt, SizeOf
from r2plus1d.video.whole import LARGEST_FRAME_HEAD, Ends

AVI_MAY_BE_CUT = (b'idx1', b'JUNK')
RM_DATA_HEAD = 18  # bytes
NUT_LEFT_OUT = 4  # bytes at the beginning of a frame that FFmpeg adds to it, at most


def find_break(container: str, read_at: ReadAt, size: int, ends: Ends) -> Optional[str]:
    """Say where the parts of a file do not follow each other; None if they do.

    Args:
        container: FFmpeg's name of it; AVI, MPEG-PS, RealMedia and NUT are looked at.
        read_at, size: as in read_stated.
        ends: where FFmpeg found packets.
    """
    if container == 'avi':
        riffs = [end for _, _, end in parts.walk(parts.riff_size, read_at, 0, size)]
        end = min([size, *riffs[-1:]])
        odd = _find_odd_part(parts.avi_chunk_size, read_at, parts.RIFF_HEAD, end)
        return odd or _find_more(end, ends)
    if container == 'mpeg' and read_at(0, 4) != b'RIFF':  # the sectors of a Video CD
        return _find_odd_part(parts.pack_size, read_at, 0, size)
    if container == 'rm':
        return _find_odd_data(read_at, size, ends)
    if container == 'nut':
        return _find_lost_bytes(read_at, ends.gaps)
    return None


def _find_odd_part(size_of: SizeOf, read_at: ReadAt, place: int, end: int) -> Optional[str]:
    begin, head, place = parts.last(size_of, read_at, place, end)
    if place < end and size_of(read_at(place, HEAD_BYTES)) is None:
        return f'no part of such a file begins at byte {place}, where one should'
    is_longer = end + 1 < place < parts.REST  # a byte that fills up may lack
    if is_longer and head[:4] not in AVI_MAY_BE_CUT:
        return f'the part at byte {begin} is longer than what is left of the file'
    return None


def _find_more(end, ends):
    if ends.last_begin >= end:
        return f'its data ends at byte {end}, and more frames follow'
    return None


def _find_odd_data(read_at, size, ends):
    """Compare the packets in the first DATA chunk of a RealMedia with how many there should be."""
    chunks = [(at, head) for at, head, _ in parts.walk(parts.rm_chunk_size, read_at, 0, size)]
    streams = {head[10:12] for _, head in chunks if head[:4] == b'MDPR'}
    data = next(((at, head) for at, head in chunks if head[:4] == b'DATA'), None)
    if data is None:
        return None
    end, stated, found = data[0] + RM_DATA_HEAD, int.from_bytes(data[1][10:14], 'big'), 0
    for _, packet, packet_end in parts.walk(parts.rm_packet_size, read_at, end, size):
        if packet_end <= size:
            found, end = found + (packet[4:6] in streams), packet_end
    if stated and found != stated:  # a live recording leaves it 0
        return f'its data has {found} packets where its header states {stated}'
    return None if read_at(end, 4) == b'DATA' else _find_more(end, ends)


def _find_lost_bytes(read_at, gaps):
    """Look between the frames of a NUT for what is neither a header of theirs nor another part."""
    for begin, end in gaps:
        tried = range(begin, max(0, begin - NUT_LEFT_OUT) - 1, -1)
        place = next((at for at in tried if parts.nut_part_size(read_at(at, HEAD_BYTES))), begin)
        *_, place = parts.last(parts.nut_part_size, read_at, place, end)
        if end - place > LARGEST_FRAME_HEAD:
            return f'{end - place} bytes from byte {place} on are no part of such a file'
    return None
