"""Where decoding begins for a clip inside a video."""

from collections.abc import Iterator

from av.packet import Packet


def from_keyframe(packets: Iterator[Packet], threshold: int) -> Iterator[Packet]:
    """Leave out the packets before the last keyframe not later than the timestamp `threshold`."""
    held: list[Packet] = []
    for packet in packets:
        time = packet.dts if packet.pts is None else packet.pts
        if packet.is_keyframe and time is not None and time <= threshold:
            held = []
        held.append(packet)
        # No later packet can be shown before this one is decoded, so the keyframe is now known.
        if packet.dts is not None and packet.dts > threshold:
            break
    yield from held
    yield from packets
