"""A video as people see it: all of its frames with their times, and its sound."""

import heapq
import math
import os
import pathlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple, Optional, Union

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from r2plus1d.errors import RecordError
from r2plus1d.video.budget import Budget
from r2plus1d.video.container import open_container, video_stream
from r2plus1d.video.decode import Video
from r2plus1d.video.encode import CONTAINERS, TICKS, lasting

USUAL_RATE = Fraction(25)  # frames per second, where a file does not say
AnyPath = Union[str, 'os.PathLike[str]']


class ShownFrame(NamedTuple):
    """One frame of a video.

    Attributes:
        pixels: uint8 H x W x 3, RGB, as stored.
        seconds: when it is shown, from the begin of the stream; None if the file does not say.
        turned: degrees, a multiple of 90, by which it is to be turned counterclockwise.
        aspect: width of a pixel for a height of 1.
        rate: frames per second, on average; None if the file does not say.
    """

    pixels: np.ndarray
    seconds: Optional[Fraction]
    turned: int
    aspect: Fraction
    rate: Optional[Fraction]


def shown_frames(source: AnyPath, budget: Budget) -> Iterator[ShownFrame]:
    """Yield every frame of a video that decodes, at its own size, in the order of showing.

    A file that was cut short is taken as far as it goes.

    Raises:
        RecordError: not a video, or over budget.
    """
    with Video(source, budget, use_truncated=True) as video:
        convert = video.converter((video.width, video.height))
        for _, frame in video.positions(0, counted=True):
            time = video.seconds(frame)
            seconds = None if math.isnan(time) else Fraction(time).limit_denominator(TICKS)
            turned = 90 * round(frame.rotation / 90) % 360
            yield ShownFrame(
                convert(frame), seconds, turned, video.pixel_aspect, video.frames_a_second
            )


def add_sound(pictures: AnyPath, source: AnyPath, target: AnyPath, suffix: str) -> bool:
    """Write the video `pictures` with the sound of the video `source`, if that has any.

    Sound is copied where the container takes it, and encoded anew where it does not.

    Args:
        target: path of the file to write.
        suffix: of the container, such as `.mp4`.

    Returns:
        Whether there is sound; otherwise nothing is written.

    Raises:
        RecordError: the sound cannot be read.
    """
    opened = open_container(source)
    try:
        sound = opened.container.streams.best('audio')
        if sound is None:
            return False
        begin = _begin(opened.container)
        try:
            _write(pathlib.Path(pictures), opened.container, sound, begin, target, suffix)
        except (av.error.FFmpegError, ValueError) as error:
            raise RecordError(f'its sound cannot be kept: {error}') from None
        return True
    finally:
        opened.close()


def _begin(container: InputContainer) -> Fraction:
    """When the first picture is shown, in seconds of the file's own clock."""
    stream = video_stream(container, max_pixels=Budget().frame_pixels)
    return (stream.start_time or 0) * (stream.time_base or Fraction(0))


def _write(
    pictures: pathlib.Path, container: InputContainer, sound: Any, begin: Fraction,
    target: AnyPath, suffix: str,
) -> None:  # fmt: skip
    kind = CONTAINERS.get(suffix[1:], suffix[1:])
    options = {'movflags': 'faststart'} if kind in ('mp4', 'mov') else {}
    with (
        av.open(str(pictures)) as silent,
        av.open(str(target), 'w', format=kind, container_options=options) as output,
    ):
        drawn = silent.streams.video[0]
        to_pictures = output.add_stream_from_template(drawn)
        pictures_of = _copied(silent, drawn, Fraction(0))
        packets = _timed(lasting(pictures_of, drawn.average_rate or USUAL_RATE), to_pictures)
        if sound.codec_context.name in output.supported_codecs:
            to_sound: Any = output.add_stream_from_template(sound)
            heard = _copied(container, sound, begin)
        else:
            to_sound = output.add_stream(output.default_audio_codec, rate=sound.rate)
            heard = _encoded(container, sound, begin, to_sound)
        for _, _, packet in heapq.merge(packets, _timed(heard, to_sound), key=lambda p: p[:2]):
            output.mux(packet)


def _timed(packets, stream):
    """Yield (seconds, stream's number, packet), the packet being put into the stream."""
    for packet in packets:
        seconds = float(packet.dts * packet.time_base)
        packet.stream = stream
        yield seconds, stream.index, packet


def _copied(container: InputContainer, stream: Any, begin: Fraction) -> Iterator[av.Packet]:
    for packet in container.demux(stream):
        if packet.dts is None or packet.pts is None:
            continue
        shift = round(begin / packet.time_base)
        packet.dts, packet.pts = packet.dts - shift, packet.pts - shift
        yield packet


def _encoded(
    container: InputContainer, stream: AudioStream, begin: Fraction, target: Any
) -> Iterator[av.Packet]:
    for frame in container.decode(stream):
        if frame.pts is not None and frame.time_base:
            frame.pts -= round(begin / frame.time_base)
        yield from target.encode(frame)
    yield from target.encode(None)
