"""What a container's header states of the whole file: how large it is, and how long."""

import math
import re
import struct
from typing import NamedTuple

from r2plus1d.video import parts
from r2plus1d.video.parts import ReadAt

# These parts hold frames. Where another one reaches beyond the end it is an index that was cut, or
# what somebody appended and is no part at all.
BOXES = (b'ftyp', b'styp', b'moov', b'moof', b'sidx', b'mdat')
OUTERMOST = {
    'matroska,webm': parts.element_size, 'avi': parts.riff_size, 'asf': parts.asf_size,
}  # fmt: skip
ELEMENTS = (parts.SEGMENT, parts.CLUSTER, b'\xa3', b'\xa0')  # and single blocks, and groups of them
LARGEST_RECTANGLE = 17  # bytes, of the picture's size in an SWF
LARGEST_PART = 2**20  # that is read: a segment index, or the metadata of an FLV
# Bytes of a packet of MPEG-TS, and where in it the byte is with which FFmpeg finds it
TS_PACKETS = {188: 0, 192: 4, 204: 0}
# How streams of pictures alone begin, most of them with zeros and a one. FFmpeg finds them in other
# files too: in an AVI or an MP4 whose header is damaged.
START_CODE = rb'\0*\x01'
BARE = {
    **dict.fromkeys(('h264', 'hevc', 'm4v', 'mpegvideo', 'vvc', 'cavsvideo'), START_CODE),
    'h263': rb'\0\0[\x80-\x83]',
    'mjpeg': rb'\xff\xd8',
}
NUT_INDEX = b'NX\xdd\x67\x2f\x23\xe6\x4e'
TS_SYNC, TS_TRIED = b'G', 8
FILE_SIZE = b'\x00\x08filesize\x00'  # in AMF0: the length of the name, the name, "a number"


class Stated(NamedTuple):
    """What the header of a file states. Whatever it leaves out is 0.

    Attributes:
        missing: bytes that the file should have beyond its end.
        is_fragmented: the number of frames that an MP4 states is of its first fragment only.
        seconds: duration of all fragments of an MP4.
        odd_bytes: after the last whole packet of an MPEG-TS.
        begins_oddly: it is read as a stream without a container, and does not begin as one.
        frames: that an SWF shows.
        has_index: a NUT ends with one.
    """

    missing: int = 0
    is_fragmented: bool = False
    seconds: float = 0.0
    odd_bytes: int = 0
    begins_oddly: bool = False
    frames: int = 0
    has_index: bool = False


def read_stated(container: str, read_at: ReadAt, size: int) -> Stated:
    """Return what a file states of itself.

    Args:
        container: FFmpeg's name of it; MP4, MOV, Matroska, AVI, FLV, ASF, MPEG-TS and SWF state
            something.
        read_at: a function from (place, count) to bytes of the file, fewer at its end.
        size: bytes of the file.
    """
    if 'mp4' in container:
        return _stated_by_boxes(read_at, size)
    if container == 'flv':
        return Stated(max(0, _flv_size(read_at) - size))
    if container in BARE:
        return Stated(begins_oddly=not re.match(BARE[container], read_at(0, 4)))
    if container == 'mpegts':
        return Stated(odd_bytes=_odd_bytes(read_at, size))
    if container == 'swf':
        return _stated_by_swf(read_at, size)
    if container == 'nut':
        return Stated(has_index=_ends_with_index(read_at, size))
    size_of = OUTERMOST.get(container)
    if size_of is None:
        return Stated()
    needed = ELEMENTS if size_of is parts.element_size else ()
    walk = parts.walk(size_of, read_at, 0, size)
    ends = (end for _, head, end in walk if end <= size or _begins_as(head, needed))
    return Stated(max(0, max(ends, default=0) - size))


def _begins_as(head, kinds):
    """Whether a part is of one of `kinds`, as far as its head is there; none named is any."""
    return not kinds or any(kind.startswith(head[: len(kind)]) for kind in kinds)


def _stated_by_boxes(read_at, size):
    end, is_fragmented, seconds = 0, False, 0.0
    for place, head, box_end in parts.walk(parts.box_size, read_at, 0, size):
        kind = head[4:8]
        if box_end <= size or kind in BOXES:
            end = max(end, box_end)
        is_fragmented = is_fragmented or kind in (b'moof', b'sidx')
        if kind == b'sidx':
            end = max(end, box_end + _indexed_bytes(read_at(place, LARGEST_PART)))
        if kind == b'moov':
            seconds = _fragments_seconds(read_at, place + _box_head(head), box_end)
    return Stated(max(0, end - size), is_fragmented, seconds if is_fragmented else 0.0)


def _box_head(head):
    return 16 if head[:4] == b'\0\0\0\1' else 8


def _indexed_bytes(box):
    """Bytes after a segment index (sidx) that it points to (ISO 14496-12, 8.16.3)."""
    wide = box[8:9] == b'\1'
    begin = 40 if wide else 32
    if len(box) < begin:
        return 0
    offset = int.from_bytes(box[28:36] if wide else box[24:28], 'big')
    count = int.from_bytes(box[begin - 2 : begin], 'big')
    sizes = [box[begin + 12 * i : begin + 12 * i + 4] for i in range(count)]
    return offset + sum(int.from_bytes(size, 'big') & 0x7FFFFFFF for size in sizes)


def _fragments_seconds(read_at, place, end):
    """The duration in mvex/mehd of a moov box whose content begins at `place`; 0 if none."""
    scale = ticks = 0
    for at, head, box_end in parts.walk(parts.box_size, read_at, place, end):
        if head[4:8] == b'mvhd':
            scale = _number(read_at, at, after=(8, 16))
        if head[4:8] == b'mvex':
            inner = parts.walk(parts.box_size, read_at, at + 8, box_end)
            places = [inner_at for inner_at, inner_head, _ in inner if inner_head[4:8] == b'mehd']
            ticks = sum(_number(read_at, at, after=(0, 0), wide=8) for at in places)
    return ticks / scale if scale else 0.0


def _number(read_at, place, *, after, wide=4):
    """A number of a full box: so many bytes after its flags, by version; version 1 may be wide."""
    version = int(read_at(place + 8, 1) == b'\1')
    return int.from_bytes(read_at(place + 12 + after[version], wide if version else 4), 'big')


def _stated_by_swf(read_at, size):
    """By the header: its length, unless the file is compressed, and how many frames are shown."""
    head = read_at(0, 8 + LARGEST_RECTANGLE + 4)
    if head[:3] != b'FWS' or len(head) < 9:
        return Stated()
    rectangle = (5 + 4 * (head[8] >> 3) + 7) // 8  # bytes
    frames = int.from_bytes(head[10 + rectangle : 12 + rectangle], 'little')
    return Stated(max(0, int.from_bytes(head[4:8], 'little') - size), frames=frames)


def _flv_size(read_at):
    """The size of the file in its metadata, the script that is the first tag of an FLV."""
    tag = int.from_bytes(read_at(5, 4), 'big') + 4
    if read_at(tag, 1) != b'\x12':
        return 0
    length = min(int.from_bytes(read_at(tag + 1, 3), 'big'), LARGEST_PART)
    _, _, after = read_at(tag + 11, length).partition(FILE_SIZE)
    stated = struct.unpack('>d', after[:8])[0] if len(after) >= 8 else 0.0
    return int(stated) if math.isfinite(stated) else 0


def _ends_with_index(read_at, size):
    """Whether the last part of a NUT, whose size is before its checksum, is an index."""
    index = int.from_bytes(read_at(size - 12, 8), 'big') if size > 12 else 0
    return 0 < index <= size and read_at(size - index, 8) == NUT_INDEX


def _odd_bytes(read_at, size):
    """Bytes after the last whole packet of an MPEG-TS that begins with a whole one."""
    for packet, sync in TS_PACKETS.items():
        places = range(sync, min(size, TS_TRIED * packet), packet)
        if places and all(read_at(place, 1) == TS_SYNC for place in places):
            return size % packet
    return 0
