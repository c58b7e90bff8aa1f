"""Decoding through FFmpeg (PyAV): exactly the frames asked for, with VideoInput's pixels.

Frames come in presentation order from the first video stream, as stored (no rotation). Each one
that is asked for goes through one swscale call, to RGB at the output size with FAST_BILINEAR:
nothing else gives the same pixels. The others are decoded but not converted.
"""

import io
import itertools
import math
import pathlib
from typing import NamedTuple

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from r2plus1d.errors import RecordError
from r2plus1d.video.sampling import MAX_FRAMES, start_timestamp

# Matroska states neither a frame count nor where its data ends, but a duration. A file whose
# streams all end more than this many seconds before it has been cut.
MATROSKA_SLACK_SECONDS = 0.25
# AVI states a number of frames, which some programs get a little wrong.
AVI_SHARE, AVI_SLACK_FRAMES = 0.95, 2


class Picture(NamedTuple):
    """One frame of a video.

    Attributes:
        index: its place among the frames that were asked for.
        pixels: uint8 H x W x 3, RGB.
        seconds: when it is shown, from the beginning of the video; NaN if that is not known.
    """

    index: int  # type: ignore[assignment]  # tuple.index, which nobody calls
    pixels: np.ndarray
    seconds: float


class Video:
    """An opened video. Use as a context manager.

    Args:
        source: bytes of an encoded file, or the path of one.

    Attributes:
        width, height: of its frames as stored, in pixels.
        num_decoded: frames that the last pass decoded.
        num_undecodable: packets that it could not decode and, as Caffe2, went on without.
        total_decoded, total_converted: frames of all passes.

    Raises:
        RecordError: a missing file, not a video, no video stream or none that FFmpeg decodes.
    """

    def __init__(self, source):
        self._container = _open(source)
        try:
            self._stream = _video_stream(self._container)
        except RecordError:
            self._container.close()
            raise
        self._stream.codec_context.thread_count = 1  # the reader decodes several videos at a time
        self._read, self._unread, self._is_whole = [], self._demux(), False
        self._cut, self._read_error = False, None
        self._end_seconds, self._end_ticks = 0.0, 0
        self.width, self.height = self._stream.width, self._stream.height
        self.num_decoded = self.num_undecodable = 0
        self.total_decoded = self.total_converted = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._container.close()

    def count_packets(self):
        """Number of frames if every packet holds one, at most MAX_FRAMES; nothing is decoded.

        Raises:
            RecordError: the file was cut short.
        """
        shown = sum(1 for packet in self._packets() if not packet.is_discard)
        return min(shown, MAX_FRAMES)

    def count_frames(self):
        """Number of frames that decode, at most MAX_FRAMES."""
        for _ in self.frames_at({MAX_FRAMES}, (1, 1)):
            pass
        return self.num_decoded

    def frames_at(self, wanted, size, *, to_end=False):
        """Yield the Picture of each frame index in `wanted`, converted to `size`.

        Args:
            wanted: set of indices of frames in presentation order.
            size: (width, height) of the pictures.
            to_end: decode the frames after the last wanted one too, so that num_decoded is all.
        """
        convert, last = self.converter(size), max(wanted)
        for index, frame in enumerate(itertools.islice(self._decode(self._packets()), MAX_FRAMES)):
            self.num_decoded = index + 1
            if index in wanted:
                yield Picture(index, convert(frame), self.seconds(frame))
            if index >= last and not to_end:
                return

    def begin_of(self, start, *, counted=False):
        """The position, as `positions` gives them, at which a clip from frame `start` on begins.

        Where the container states its duration and its number of frames that is a timestamp, the
        same fraction of the duration, as in VideoInput. Where it does not (Matroska, WebM), or if
        frames are to be `counted`, it is the frame's index.
        """
        if counted or not self.skips_to_keyframes:
            return start
        return start_timestamp(
            start=start, duration=self._stream.duration, num_frames=self._stream.frames
        )

    def positions(self, begin, *, counted=False):
        """Yield (position, frame of PyAV) in presentation order, those before `begin` left out.

        Decoding starts at the last keyframe that is not later than the timestamp `begin`, or at
        the first frame where frames are counted.
        """
        if counted or not self.skips_to_keyframes:
            frames = itertools.islice(self._decode(self._packets()), MAX_FRAMES)
            yield from itertools.islice(enumerate(frames), begin, None)
            return
        for frame in self._decode(_from_keyframe(self._from_first(), begin)):
            if frame.pts is not None and frame.pts >= begin:
                yield frame.pts, frame

    @property
    def skips_to_keyframes(self):
        """Whether the container states what is needed to begin decoding inside the video."""
        return bool(self._stream.frames) and self._stream.duration is not None

    def converter(self, size):
        """Return a function from a frame of PyAV to uint8 RGB pixels of `size`."""
        reformatter, (width, height) = VideoReformatter(), size

        def convert(frame):
            self.total_converted += 1
            try:
                picture = reformatter.reformat(
                    frame, width, height, 'rgb24', interpolation='FAST_BILINEAR'
                )
            except (av.error.FFmpegError, ValueError) as error:
                kind = frame.format.name
                raise RecordError(f'frames of {kind} do not convert: {error}') from None
            return picture.to_ndarray()

        return convert

    def seconds(self, frame):
        """When a frame of PyAV is shown, from the beginning of the video; NaN if not known."""
        if frame.pts is None or not self._stream.time_base:
            return math.nan
        return float((frame.pts - (self._stream.start_time or 0)) * self._stream.time_base)

    @property
    def frames_a_second(self):
        """The average, a Fraction, or None if the container does not say."""
        return self._stream.average_rate

    @property
    def frame_seconds(self):
        """How long a frame is shown, on average; NaN if the container does not say."""
        return float(1 / self.frames_a_second) if self.frames_a_second else math.nan

    def _packets(self):
        """All video packets; RecordError if the file was cut short."""
        packets = list(self._from_first())
        if not self._is_whole:
            self._require_whole(packets)
            self._is_whole = True
        return packets

    def _from_first(self):
        """Yield the video packets. They are kept, no larger than the file, for the next pass."""
        for number in itertools.count():
            if number == len(self._read):
                packet = next(self._unread, None)
                if packet is None:
                    return
                self._read.append(packet)
            yield self._read[number]

    def _demux(self):
        """Yield the video packets in the file's order.

        As VideoInput, stop at a packet that cannot be read and use what came before it.
        """
        try:
            for packet in self._container.demux():
                if packet.size:
                    self._note_end(packet)
                    if packet.stream_index == self._stream.index:
                        yield packet
        except av.error.FFmpegError as error:
            self._read_error = error.strerror

    def _note_end(self, packet):
        """Remember where the packets read so far end: in seconds, and in ticks of the video."""
        self._cut = packet.is_corrupt
        if packet.dts is None or not packet.time_base:
            return
        ticks = packet.dts + (packet.duration or 0)
        self._end_seconds = max(self._end_seconds, float(ticks * packet.time_base))
        if packet.stream_index == self._stream.index:
            self._end_ticks = ticks

    def _require_whole(self, packets):
        """Refuse a file whose end is missing, where its container lets that be known."""
        if not packets:
            raise RecordError('no video data')
        complete = 0 < self._stream.frames <= len(packets)  # what is missing is sound
        if packets[-1].is_corrupt or (self._cut or self._read_error) and not complete:
            how = f' ({self._read_error})' if self._read_error else ''
            raise RecordError(f'truncated: the file ends after {len(packets)} frames{how}')
        container, stated = self._container.format.name, self._stream.frames
        if container == 'avi' and self._end_ticks < AVI_SHARE * stated - AVI_SLACK_FRAMES:
            raise RecordError(f'truncated: {self._end_ticks} of {stated} frames')
        seconds = (self._container.duration or 0) / av.time_base
        last = 2 / (self._stream.average_rate or 1)  # how long the last frame is may not be stated
        if 'matroska' in container and self._end_seconds + last + MATROSKA_SLACK_SECONDS < seconds:
            raise RecordError(
                f'truncated: its data ends at {self._end_seconds:.2f} s of {seconds:.2f} s'
            )

    def _decode(self, packets):
        """Yield the frames of `packets` in presentation order."""
        context = self._stream.codec_context
        context.flush_buffers()
        self.num_decoded = self.num_undecodable = 0
        for packet in itertools.chain(packets, [None]):  # None: give out what is still held back
            try:
                frames = context.decode(packet)
            except av.error.FFmpegError:
                self.num_undecodable += 1
                continue
            self.total_decoded += len(frames)
            yield from frames


def _open(source):
    try:
        if isinstance(source, bytes):
            file, size = io.BytesIO(source), len(source)
        else:
            # Absolute, because FFmpeg takes a name such as a:b.mp4 for an address.
            file, size = str(pathlib.Path(source).absolute()), pathlib.Path(source).stat().st_size
    except FileNotFoundError:
        place = '' if pathlib.Path(source).is_absolute() else f' in {pathlib.Path.cwd()}'
        raise RecordError(f'missing file{place}') from None
    except OSError as error:
        raise RecordError(f'cannot be opened: {error.strerror}') from None
    try:
        return av.open(file, metadata_errors='replace')  # titles in old encodings do no harm
    except av.error.FFmpegError as error:
        raise RecordError(f'not a video, or truncated ({size} bytes: {error.strerror})') from None


def _video_stream(container):
    stream = next(iter(container.streams.video), None)
    if stream is None:
        raise RecordError('no video stream')
    if stream.codec_context is None:
        raise RecordError('FFmpeg has no decoder for its video stream')
    if not (stream.width and stream.height):
        raise RecordError('its video stream does not say how large its frames are')
    return stream


def _from_keyframe(packets, threshold):
    """Leave out the packets before the last keyframe not later than the timestamp `threshold`."""
    held = []
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
