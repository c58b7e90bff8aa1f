"""Arrays into video files, streaming: the bundled sample and the tests are made with it."""

import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple, Optional, Union

import av
import numpy as np
from av.codec.context import Flags
from av.video.reformatter import ColorRange, Colorspace

from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_path

# What FFmpeg calls a container whose files are not named after it
CONTAINERS = {'mkv': 'matroska'}
# Options of the container, not of the encoder, by FFmpeg's name of the container. PyAV 17 and later
# do not tell which options a container has.
CONTAINER_OPTIONS = {
    'mov': {'movflags', 'use_editlist'},
    'mp4': {'movflags', 'use_editlist'},
    'matroska': {'cluster_size_limit', 'reserve_index_space'},
    'webm': {'cluster_size_limit', 'reserve_index_space'},
    'flv': {'flvflags'},
}

# AVColorSpace of the encoder -> swscale's; BT.601 is what swscale takes when nothing is said
MATRICES = {1: Colorspace.ITU709, 4: Colorspace.FCC, 7: Colorspace.SMPTE240M}

MAX_FPS_DENOMINATOR = 1001  # 30000 / 1001; MPEG-4 has 16 bits for both

TICKS = 90000  # of a second, in which the times of frames are kept where they have their own


class TimedFrame(NamedTuple):
    """A frame with a time of its own.

    Attributes:
        pixels: uint8 H x W x 3, RGB.
        seconds: when it is shown.
    """

    pixels: np.ndarray
    seconds: Fraction


def write_video(
    target: Union[str, 'os.PathLike[str]', BinaryIO],
    frames: Iterable[Union[np.ndarray, TimedFrame]],
    *,
    fps: Union[float, Fraction],
    codec: str = 'libx264',
    container: Optional[str] = None,
    options: Optional[Mapping[str, Any]] = None,
    pixel_format: str = 'yuv420p',
) -> int:
    """Encode frames into a video. The same input gives the same bytes on the same machine.

    Args:
        target: a path, whose file appears only when complete, or a binary file object.
        frames: iterable of uint8 arrays of one shape, H x W x 3, RGB. 4:2:0 formats need an even
            H and W with most codecs; yuv444p takes any. Or of TimedFrames, whose times ascend;
            one that does not is shown a tick later than the frame before it.
        fps: frames a second, a number or a Fraction; of TimedFrames the average.
        codec: a video encoder of FFmpeg: libx264, mpeg4, libvpx-vp9, ffv1, ...
        container: mp4, avi, mkv, webm, mov, ...; None goes by the name of `target`.
        options: FFmpeg's options of the encoder, and of the container those in CONTAINER_OPTIONS,
            such as {'crf': 23, 'g': 12, 'bf': 2, 'movflags': 'faststart'} (faststart needs a path).
            'colorspace' and 'color_range' tag the stream, and the frames are converted to
            what the tags say.
        pixel_format: what the encoder stores.

    Returns:
        The number of frames.

    Raises:
        InputError: no frames, frames of a wrong type or shape, or what FFmpeg refuses.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise InputError(f'{target}: a video needs at least one frame, there are 0')
    frames = itertools.chain([first], frames)
    settings = {'fps': fps, 'codec': codec, 'options': options or {}, 'pixel_format': pixel_format}
    if hasattr(target, 'write'):
        if container is None:
            raise InputError('a file object has no suffix; name the container, such as mp4')
        return _encode(target, frames, container=container, **settings)
    path = pathlib.Path(target)
    container = container or path.suffix[1:]
    with complete_path(path, private=True) as partial:
        return _encode(partial, frames, container=container, shown=path, **settings)


def _encode(target, frames, *, fps, codec, container, options, pixel_format, shown='video'):
    first = next(frames)
    is_timed = isinstance(first, TimedFrame)
    frames, size = itertools.chain([first], frames), np.shape(first.pixels if is_timed else first)
    _check_frame(first.pixels if is_timed else first, size, 0)
    height, width, _ = size
    with contextlib.ExitStack() as stack:
        odd = ' (an odd size may need yuv444p)' if height % 2 or width % 2 else ''
        kind = f'{codec}, {pixel_format}, {width} x {height}{odd} in {container or "no suffix"}'
        refusals = _Refusals(f'{shown}: cannot encode {kind}')
        with refusals:
            output = stack.enter_context(_open(target, container, options))
            stream = _add_stream(output, codec, fps, options)
            stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
            if is_timed:
                stream.codec_context.time_base = Fraction(1, TICKS)
            output.start_encoding()
            _check_options(stream)
        tick = -1
        for number, frame in enumerate(frames):
            array, tick = _ticked(frame, tick) if is_timed else (frame, number)
            _check_frame(array, size, number)
            with refusals:
                context = stream.codec_context
                rate = context.framerate
                step = Fraction(1, TICKS) if is_timed else 1 / rate
                packets = stream.encode(_video_frame(array, tick, step, context))
                output.mux([*lasting(packets, rate)] if is_timed else packets)
        with refusals:
            packets = stream.encode()
            output.mux([*lasting(packets, rate)] if is_timed else packets)
            output.close()
    return number + 1


def _ticked(frame, last):
    """(pixels, tick at which it is shown) of a TimedFrame."""
    return frame.pixels, max(last + 1, round(frame.seconds * TICKS))


def lasting(packets: Iterable[av.Packet], rate: Fraction) -> Iterator[av.Packet]:
    """Yield packets of pictures that each last as long as the average: else the last one is lost.

    Args:
        packets: from an encoder, or from a file whose packets have no durations.
        rate: frames per second.
    """
    for packet in packets:
        packet.duration = round(1 / (rate * packet.time_base))
        yield packet


class _Refusals:
    """Turns what FFmpeg refuses into an InputError of one line."""

    def __init__(self, what):
        self._what = what

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if isinstance(error, (av.FFmpegError, ValueError, OverflowError)):
            reason = getattr(error, 'strerror', None) or error
            raise InputError(f'{self._what}: {reason}') from error


def _open(target, container, options):
    layout = av.ContainerFormat(CONTAINERS.get(container, container), 'w')
    known = CONTAINER_OPTIONS.get(layout.name, set())
    output = av.open(
        target if hasattr(target, 'write') else str(target),
        mode='w',
        format=layout.name,
        container_options={name: str(options[name]) for name in known & options.keys()},
    )
    output.flags |= av.container.Flags.bitexact.value
    return output


def _add_stream(output, codec, fps, options):
    if codec not in av.codecs_available or av.Codec(codec, 'w').type != 'video':
        raise ValueError('no such video encoder')
    if not fps > 0:
        raise ValueError(f'{fps} frames a second')
    stream = output.add_stream(codec, rate=Fraction(fps).limit_denominator(MAX_FPS_DENOMINATOR))
    context = stream.codec_context
    context.thread_count = 1
    context.flags |= Flags.bitexact.value
    for_encoder = options.keys() - output.container_options.keys()
    context.options = {name: str(options[name]) for name in for_encoder}
    if context.codec.name.startswith('libx264'):
        # x264's macroblock tree with B-frames is not the same from run to run
        context.options = {'mbtree': '0', **context.options}
    return stream


def _check_options(stream):
    """Opening the encoder leaves in the dictionary what it did not know."""
    unknown = sorted(stream.codec_context.options)
    if unknown:
        raise ValueError(f'unknown option {", ".join(unknown)}')


def _check_frame(array, shape, number):
    is_image = isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.ndim == 3
    if not (is_image and array.shape[2] == 3 and array.shape == shape):
        found = f'{getattr(array, "dtype", type(array).__name__)} of {np.shape(array)}'
        asked = f' of {shape}, as the first' if number else ''
        raise InputError(f'frame {number} is {found}; must be uint8, H x W x 3{asked}')


def _video_frame(array, number, step, context):
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(array), format='rgb24')
    full = context.color_range == ColorRange.JPEG or context.format.name.startswith('yuvj')
    frame = frame.reformat(
        format=context.format,
        dst_colorspace=MATRICES.get(context.colorspace, Colorspace.ITU601),
        dst_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
    )
    frame.pts, frame.time_base = number, step
    return frame
