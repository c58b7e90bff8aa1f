"""Videos with sound, with frames at their own times, and turned ones: as cameras make them."""

import struct
from fractions import Fraction

import av
import numpy as np

from conftest import numbered_frames

SOUND_RATE = 16000
TICKS = 90000


def write_sounding(
    path, *, codec='aac', seconds=2, rate=25, width=160, height=120, begin=0, ticks=None,
    video_codec='libx264',
):  # fmt: skip
    """Write numbered frames and a tone. `begin` is when the pictures begin, in seconds.

    Args:
        ticks: when each frame is shown, in 1/90000 s; at `rate` frames per second if left out.
    """
    count = len(ticks) if ticks else seconds * rate
    ticks = ticks or [round(TICKS * i / rate) for i in range(count)]
    with av.open(str(path), 'w') as output:
        pictures = output.add_stream(video_codec, rate=rate)
        pictures.width, pictures.height, pictures.pix_fmt = width, height, 'yuv420p'
        if video_codec == 'libx264':
            pictures.codec_context.time_base = Fraction(1, TICKS)
        sound = output.add_stream(codec, rate=SOUND_RATE)
        output.start_encoding()
        for tick, pixels in zip(ticks, numbered_frames(count, width, height)):
            frame = av.VideoFrame.from_ndarray(pixels, format='rgb24').reformat(format='yuv420p')
            frame.pts, frame.time_base = tick + round(begin * TICKS), Fraction(1, TICKS)
            output.mux(pictures.encode(frame))
        output.mux(pictures.encode())
        wave = np.sin(np.arange(seconds * SOUND_RATE) * 2 * np.pi * 440 / SOUND_RATE)
        samples = (wave * 8000).astype(np.int16)[None]
        heard = av.AudioFrame.from_ndarray(samples, format='s16', layout='mono')
        heard.rate, heard.pts, heard.time_base = SOUND_RATE, 0, Fraction(1, SOUND_RATE)
        output.mux(sound.encode(heard))
        output.mux(sound.encode())
    return path


def turn_in_header(path, target):
    """Write the MP4 `path` so that players turn its pictures by 90 degrees clockwise."""
    data = bytearray(path.read_bytes())
    place = data.index(b'tkhd') + 4 + 40
    one = 1 << 16
    data[place : place + 36] = struct.pack('>9i', 0, one, 0, -one, 0, 0, 120 * one, 0, 1 << 30)
    target.write_bytes(data)
    return target


def sound_of(path):
    """(codec, [(seconds, bytes of a packet)]) of the sound of a file; None if there is none."""
    with av.open(str(path)) as container:
        stream = container.streams.best('audio')
        if stream is None:
            return None
        packets = [
            (float(p.pts * p.time_base), bytes(p)) for p in container.demux(stream) if p.size
        ]
        return stream.codec_context.name, packets


def pictures_of(path):
    """[(seconds, uint8 H x W x 3)] of a file."""
    with av.open(str(path)) as container:
        return [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format='rgb24'))
            for frame in container.decode(video=0)
        ]
