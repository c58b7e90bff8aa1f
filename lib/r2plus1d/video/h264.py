"""What packets of H.264 say of their pictures, read from their headers without decoding.

Only the layout of MP4 and Matroska is read (units with their length before them), and only plain
streams: one sequence parameter set of the Main or High profile, whole frames, picture order
counts of type 0. ValueError says what is not plain; it stands for "do not rely on this".
Clauses are those of ITU-T H.264.
"""

from typing import NamedTuple

MAIN, HIGH = 77, 100
SLICE, IDR_SLICE, EXTRA, SEQUENCE_SET, PICTURE_SET, DELIMITER, FILLER = 1, 5, 6, 7, 8, 9, 12
HEADER_BYTES = 16  # more than a slice header takes up to its picture order count


class Parameters(NamedTuple):
    """What is needed to read slice headers.

    Attributes:
        length_bytes: of the length before each unit.
        frame_num_bits, count_bits: of a slice header's frame_num and pic_order_cnt_lsb.
        sets: the parameter sets, as stored.
    """

    length_bytes: int
    frame_num_bits: int
    count_bits: int
    sets: tuple


class CodedPicture(NamedTuple):
    """The picture that a packet holds.

    Attributes:
        is_reference: other pictures may refer to it (nal_ref_idc is not 0).
        is_idr: no picture refers to one before it; numbers and counts begin anew.
        number: frame_num, which grows by 1 after each reference picture.
        count: the low bits of its place in the order of presentation.
    """

    is_reference: bool
    is_idr: bool
    number: int
    count: int


class _Bits:
    """Reads a unit bit by bit, without the bytes that only keep it from looking like another."""

    def __init__(self, unit):
        plain = bytes(unit).replace(b'\0\0\3', b'\0\0')
        self._bits = f'{int.from_bytes(plain, "big"):0{8 * len(plain)}b}'
        self._place = 0

    def number(self, count):
        begin, self._place = self._place, self._place + count
        if self._place > len(self._bits):
            raise ValueError('a header that ends too early')
        return int(self._bits[begin : self._place], 2)

    def exp_golomb(self):
        """ue(v), clause 9.1."""
        zeros = self._bits.index('1', self._place) - self._place
        self._place += zeros
        return self.number(zeros + 1) - 1


def parameters(extradata):
    """The Parameters in a stream's AVCDecoderConfigurationRecord, ISO/IEC 14496-15."""
    if not extradata or extradata[0] != 1:
        raise ValueError('units without their lengths')
    sets, place = [], 5
    for mask in (0x1F, 0xFF):  # sequence parameter sets, then picture parameter sets
        number, place = extradata[place] & mask, place + 1
        for _ in range(number):
            size = int.from_bytes(extradata[place : place + 2], 'big')
            sets.append(extradata[place + 2 : place + 2 + size])
            place += 2 + size
    sequences = [unit for unit in sets if unit and unit[0] & 0x1F == SEQUENCE_SET]
    if len(sequences) != 1:
        raise ValueError(f'{len(sequences)} sequence parameter sets')
    frame_num_bits, count_bits = _sequence(sequences[0])
    return Parameters((extradata[4] & 3) + 1, frame_num_bits, count_bits, tuple(sets))


def _sequence(unit):
    """(frame_num_bits, count_bits) of a sequence parameter set, clause 7.3.2.1.1."""
    bits = _Bits(unit[1:])
    profile = bits.number(8)
    bits.number(16)  # constraints, level
    bits.exp_golomb()  # its id
    if profile == HIGH:
        usual = bits.exp_golomb() == 1, bits.exp_golomb() == 0, bits.exp_golomb() == 0
        if not all(usual) or bits.number(2):
            raise ValueError('not 4:2:0 of 8 bits, or with scaling lists')
    elif profile != MAIN:
        raise ValueError(f'profile {profile}')
    frame_num_bits = bits.exp_golomb() + 4
    if bits.exp_golomb():
        raise ValueError('picture order counts that are not stored')
    count_bits = bits.exp_golomb() + 4
    bits.exp_golomb()  # reference frames
    if bits.number(1):
        raise ValueError('gaps among the frame numbers')
    for _ in ('width', 'height'):
        bits.exp_golomb()
    if not bits.number(1):
        raise ValueError('fields')
    return frame_num_bits, count_bits


def picture(packet, known):
    """The CodedPicture of a packet, bytes-like; `known` are the stream's Parameters."""
    slices = []
    for unit in _units(memoryview(packet), known.length_bytes):
        kind = unit[0] & 0x1F
        if kind in (SLICE, IDR_SLICE):
            slices.append(unit)
        elif kind in (SEQUENCE_SET, PICTURE_SET):
            if bytes(unit) not in known.sets:
                raise ValueError('parameters that change')
        elif kind not in (EXTRA, DELIMITER, FILLER):
            raise ValueError(f'a unit of type {kind}')
    if len({unit[0] for unit in slices}) != 1:
        raise ValueError('slices of several kinds in a picture, or none')
    first = [unit for unit in slices if unit[1] & 0x80]  # first_mb_in_slice is 0
    if len(first) != 1 or first[0] is not slices[0]:
        raise ValueError(f'{len(first)} pictures in a packet')
    return _first_slice(first[0], known)


def _units(packet, length_bytes):
    place = 0
    while place < len(packet):
        begin = place + length_bytes
        place = begin + int.from_bytes(packet[place:begin], 'big')
        if not begin + 1 < place <= len(packet):
            raise ValueError('lengths that do not add up')
        yield packet[begin:place]


def _first_slice(unit, known):
    """Clause 7.3.3."""
    is_idr = unit[0] & 0x1F == IDR_SLICE
    bits = _Bits(unit[1 : 1 + HEADER_BYTES])
    for _ in ('first_mb_in_slice', 'slice_type', 'pic_parameter_set_id'):
        bits.exp_golomb()
    number = bits.number(known.frame_num_bits)
    if is_idr:
        bits.exp_golomb()  # idr_pic_id
    return CodedPicture(bool(unit[0] & 0x60), is_idr, number, bits.number(known.count_bits))


def order_counts(pictures, known):
    """Yield what pictures in decoding order are to be sorted by for presentation.

    That is (number of IDR pictures so far, picture order count), clause 8.2.1.1. ValueError if a
    frame number shows that a picture is missing, clause 7.4.3.
    """
    period, half, reference, number = 0, 1 << known.count_bits - 1, 0, 0
    for coded in pictures:
        if coded.is_idr:
            period, reference, number = period + 1, 0, 0
        if coded.number != number:
            raise ValueError(f'frame number {coded.number} in the turn of {number}')
        ahead = (coded.count - reference) % (2 * half)
        count = reference + (ahead if ahead <= half else ahead - 2 * half)
        yield period, count
        if coded.is_reference:
            reference, number = count, (number + 1) % (1 << known.frame_num_bits)
