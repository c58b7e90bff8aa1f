"""The parts that a container consists of: where each one ends, by its own header."""

import collections
import io
import os
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, Optional

ReadAt = Callable[[int, int], bytes]  # (place, count) to bytes of the file, fewer at its end
SizeOf = Callable[[bytes], Optional[int]]  # from the first HEAD_BYTES of a part; None: not known

HEAD_BYTES = 24  # enough for the kind and the size of a part in each of these containers
MAX_PARTS = 10**6  # more are not looked at
REST = 2**63  # the size of a part that does not say where it ends
UNKNOWN_RIFF_SIZES = (0, 2**31 - 1, 2**32 - 1)
RIFF_HEAD = 12  # bytes: RIFF or LIST, the size, and what it is a list of
AVI_LISTS = (b'AVIX', b'movi', b'rec ')  # that are looked into
FOUR_LETTERS = re.compile(rb'[ -~]{4}')
SEGMENT, CLUSTER = b'\x18\x53\x80\x67', b'\x1f\x43\xb6\x75'  # of Matroska
ASF_GUID_END = b'\xa6\xd9\x00\xaa\x00\x62\xce\x6c'  # of the header and of the data
START_CODE = b'\0\0\1'
PACK, PS_END = 0xBA, 0xB9  # kinds of parts of an MPEG-PS; those above have a length
RM_PACKET_HEAD = 12  # bytes
NUT_PART = re.compile(rb'N[KMSIX]', re.DOTALL)  # anything but frames, whose headers have no mark
NUT_BEGIN = b'nut/multimedia container\0'


def reader_of(file: BinaryIO) -> ReadAt:
    """Return a function that reads from a file, whose own place stays where it is."""
    if isinstance(file, io.BytesIO):
        return lambda place, count: bytes(file.getbuffer()[place : place + count])
    descriptor = file.fileno()
    return lambda place, count: os.pread(descriptor, count, place)


def walk(
    size_of: SizeOf, read_at: ReadAt, place: int, end: int
) -> Iterator[tuple[int, bytes, int]]:
    """Yield (place, head, end) of parts that follow each other, up to one of unknown size."""
    for _ in range(MAX_PARTS):
        if place >= end:
            return
        head = read_at(place, HEAD_BYTES)
        part = size_of(head)
        if part is None:
            return
        yield place, head, place + part
        place += part


def last(size_of: SizeOf, read_at: ReadAt, place: int, end: int) -> tuple[int, bytes, int]:
    """Return the last part of `walk`; where there is none, `place` twice and no head."""
    kept = collections.deque(walk(size_of, read_at, place, end), maxlen=1)
    return kept[0] if kept else (place, b'', place)


def box_size(head: bytes) -> Optional[int]:
    """The size of a box of MP4, header included; None for one that reaches to the end."""
    if len(head) < 8 or not head[4:8].isalnum():
        return None
    size = int.from_bytes(head[:4], 'big')
    if size == 1 and len(head) >= 16:
        size = int.from_bytes(head[8:16], 'big')
    return size if size >= 8 else None


def element_size(head: bytes) -> Optional[int]:
    """The size of an element of Matroska, header included; None where it is not known.

    Of a segment or a cluster without a known size it is that of its header: what follows is
    its content.
    """
    if not head or head[0] < 0x10:
        return None
    id_bytes = 9 - head[0].bit_length()
    if len(head) <= id_bytes:
        return id_bytes + 1  # the file ends within
    if not head[id_bytes]:
        return None
    size_bytes = 9 - head[id_bytes].bit_length()
    bits, content = 7 * size_bytes, head[id_bytes : id_bytes + size_bytes]
    if len(content) < size_bytes:
        return id_bytes + size_bytes
    size = int.from_bytes(content, 'big') & (1 << bits) - 1
    if size == (1 << bits) - 1:
        return id_bytes + size_bytes if head[:4] in (SEGMENT, CLUSTER) else None
    return id_bytes + size_bytes + size


def riff_size(head: bytes) -> Optional[int]:
    """Return the size of an outermost chunk of AVI, header included; None if it is not known."""
    size = int.from_bytes(head[4:8], 'little')
    return None if head[:4] != b'RIFF' or size in UNKNOWN_RIFF_SIZES else 8 + size


def asf_size(head: bytes) -> Optional[int]:
    """The size of an outermost object of ASF, header included."""
    size = int.from_bytes(head[16:24], 'little')
    return size if head[8:16] == ASF_GUID_END and size >= HEAD_BYTES else None


def avi_chunk_size(head: bytes) -> Optional[int]:
    """The size of a chunk inside an AVI; of a list that is looked into, that of its header."""
    kind, size = head[:4], int.from_bytes(head[4:8], 'little')
    if kind == b'RIFF' or kind == b'LIST' and head[8:12] in AVI_LISTS:
        return RIFF_HEAD if head[8:12] in AVI_LISTS else None  # None: another file follows
    if len(head) < 8:
        return REST
    return 8 + size + size % 2 if FOUR_LETTERS.fullmatch(kind) else None


def pack_size(head: bytes) -> Optional[int]:
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


def rm_chunk_size(head: bytes) -> Optional[int]:
    """The size of an outermost chunk of RealMedia, header included."""
    size = int.from_bytes(head[4:8], 'big')
    return size if FOUR_LETTERS.fullmatch(head[:4]) and size else None


def rm_packet_size(head: bytes) -> Optional[int]:
    """The size of a packet of RealMedia, header included."""
    size = int.from_bytes(head[2:4], 'big')
    return size if head[:2] in (b'\0\0', b'\0\1') and size >= RM_PACKET_HEAD else None


def nut_part_size(head: bytes) -> Optional[int]:
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
