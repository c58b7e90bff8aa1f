"""Decoding without the pictures that nothing needs: no clip uses them, no other refers to them.

    shown       0 1 2 3 4 5 6 7 8        I and P, and the B to which others refer, are decoded
    picture     I b B b P b B b P        whatever is wanted
    wanted        x x x x                the b that are not wanted are not given to the decoder
    decoded     I b B b P   B   P        5 and 7 are left out

Frame numbers are places among the frames that come out of the decoder, so this takes knowing
without decoding which of them each packet is. It is done where packets and decoder leave no
doubt, which both have to show; else everything is decoded. What cannot be seen is a picture that
is left out and would not have decoded: the frames after it then have a number too many.
"""

import itertools
from typing import NamedTuple

from r2plus1d.video import h264
from r2plus1d.video.decode import Picture, Video
from r2plus1d.video.sampling import MAX_FRAMES

# Reading the headers of all packets takes longer than it saves if fewer frames than this share of
# them are not wanted.
MIN_UNUSED = 1 / 8


class Unsound(Exception):
    """A video that does not decode as its packets promised: decode it as a Video, whole."""


class Order(NamedTuple):
    """Which frame each packet is.

    Attributes:
        times: pts of each frame, in presentation order.
        places: each packet's frame, in decoding order.
        optional: for each packet, whether no other needs it.
        delay: pictures that a decoder has to hold back to put them in order.
    """

    times: list
    places: list
    optional: list
    delay: int

    def needed(self, wanted):
        """Packets, by number, that have to be decoded for the frames `wanted`.

        The first ones always are: they show whether the decoder holds back enough.
        """
        return [
            number
            for number, place in enumerate(self.places)
            if not self.optional[number] or place in wanted or number <= self.delay
        ]


def order_of(packets, extradata):
    """Return the Order of all packets of an H.264 stream.

    Raises:
        ValueError: it is not certain; says why.
    """
    if any(packet.is_discard or packet.is_corrupt for packet in packets):
        raise ValueError('packets that are not shown, or are damaged')
    if len(packets) > MAX_FRAMES:
        raise ValueError(f'more than {MAX_FRAMES} packets')
    known = h264.parameters(extradata)
    pictures = [h264.picture(packet, known) for packet in packets]
    times = [packet.pts for packet in packets]
    counts = list(h264.order_counts(pictures, known))
    if None in times or not len(packets) == len(set(times)) == len(set(counts)):
        raise ValueError('packets without a time of their own')
    shown = sorted(range(len(packets)), key=counts.__getitem__)
    if shown != sorted(shown, key=times.__getitem__):
        raise ValueError('times in another order than that of the pictures')
    if shown[0] != 0 or not pictures[0].is_idr:
        raise ValueError('what is shown first refers to other pictures')
    places = sorted(range(len(packets)), key=shown.__getitem__)
    # So many pictures that are shown after another are decoded before it, at most.
    delay = max(number - place for number, place in enumerate(places))
    return Order(sorted(times), places, [not coded.is_reference for coded in pictures], delay)


class SkippingVideo(Video):
    """A Video whose `frames_at` decodes only what the frames need, where that is certain.

    Counting frames and `positions` decode everything.
    """

    def __init__(self, source):
        super().__init__(source)
        self._num_given = 0

    def frames_at(self, wanted, size, *, to_end=False):
        """As Video.frames_at.

        Raises:
            Unsound: the frames so far are not to be used, nor are others of this SkippingVideo.
        """
        last, num_packets = max(wanted), len(self._packets())
        unused = (num_packets if to_end else last + 1) - len(wanted)
        is_worth_it = last < num_packets and unused >= MIN_UNUSED * num_packets
        order = self._order() if is_worth_it else None
        if order is None:
            yield from super().frames_at(wanted, size, to_end=to_end)
            return
        convert, needed = self.converter(size), order.needed(wanted)
        due = sorted(order.places[number] for number in needed)
        self._num_given = 0
        frames = self._decode(self._given(needed))
        for place, frame in itertools.zip_longest(due, frames):
            self._verify(order, place, frame)
            self.num_decoded = place + 1
            if place in wanted:
                yield Picture(place, convert(frame), self.seconds(frame))
            if place >= last and not to_end:
                return
        self.num_decoded = len(order.times)

    def _order(self):
        """The video's Order, None if it is not certain or nothing can be left out."""
        context = self._stream.codec_context
        if context.name != 'h264':
            return None
        try:
            order = order_of(self._packets(), context.extradata)
        except (ValueError, IndexError):
            return None
        return order if any(order.optional) else None

    def _given(self, needed):
        """Yield the packets of these numbers and count them; all of them have to decode."""
        packets = self._packets()
        for number in needed:
            self._num_given += 1
            yield packets[number]
            if self.num_undecodable:
                raise Unsound(f'packet {number} does not decode')

    def _verify(self, order, place, frame):
        """Require that a frame is the one due, and with the first that none can miss its turn."""
        if frame is None or place is None or frame.pts != order.times[place]:
            raise Unsound(f'frame {place} does not come in its turn')
        if frame.is_corrupt:
            raise Unsound(f'frame {place} is damaged')
        if place == 0 and self._num_given <= order.delay:
            raise Unsound(f'the decoder holds back fewer than {order.delay} pictures')
