"""Decoding through FFmpeg (PyAV): exactly the frames asked for, with VideoInput's pixels.

Frames come in presentation order from the first video stream, as stored (no rotation). Each one
that is asked for goes through one swscale call, to RGB at the output size with FAST_BILINEAR:
nothing else gives the same pixels. The others are decoded but not converted.
"""

import itertools
import math
import os
from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from typing import NamedTuple, Optional, Union

import av
import av.error
import numpy as np
from av.packet import Packet

from r2plus1d.errors import RecordError
from r2plus1d.video import frame_count
from r2plus1d.video.budget import DEFAULT_BUDGET, Budget, Spending, memory_errors_named
from r2plus1d.video.container import open_container, video_stream
from r2plus1d.video.convert import Converter
from r2plus1d.video.sampling import MAX_FRAMES, start_timestamp
from r2plus1d.video.timestamps import BestEffort
from r2plus1d.video.whole import Ends, Read, missing_bytes, require_whole


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
        budget: Budget, what reading and decoding may take.

    Attributes:
        width, height: of its frames as stored, in pixels.
        num_decoded: frames that the last pass decoded.
        num_undecodable: packets that it could not decode and, as Caffe2, went on without, and
            frames that FFmpeg marks as damaged.
        total_decoded, total_converted: frames of all passes.

    Raises:
        RecordError: a missing file, not a video, no video stream or none that FFmpeg decodes.
            Every method raises it where the video needs more than its budget or more memory than
            there is.
    """

    def __init__(
        self, source: Union[bytes, str, os.PathLike], budget: Budget = DEFAULT_BUDGET
    ) -> None:
        with memory_errors_named():
            self._opened = open_container(source)
        self._container = self._opened.container
        try:
            self._stream = video_stream(self._container, max_pixels=budget.frame_pixels)
        except RecordError:
            self._opened.close()
            raise
        context = self._stream.codec_context
        context.thread_count = 1  # the reader decodes several videos at a time
        context.options = {'max_pixels': str(budget.frame_pixels)}
        self._spending = Spending(budget, self._opened.size)
        self._read: list[Packet] = []  # the packets so far; self._unread gives the others
        self._unread, self._is_whole = self._demux(), False
        self._ends = Ends(self._stream)
        self.width, self.height = self._stream.width, self._stream.height
        self.num_decoded = self.num_undecodable = 0
        self.total_decoded = self.total_converted = 0

    def __enter__(self) -> 'Video':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.close()

    def count_packets(self) -> int:
        """Number of frames if every packet holds one, at most MAX_FRAMES; nothing is decoded.

        Raises:
            RecordError: the file was cut short.
        """
        shown = sum(1 for packet in self._packets() if not packet.is_discard)
        return min(shown, MAX_FRAMES)

    def count_frames(self) -> int:
        """Number of frames that decode, at most MAX_FRAMES."""
        for _ in self.frames_at({MAX_FRAMES}, (1, 1)):
            pass
        return self.num_decoded

    def count_frames_exactly(self) -> int:
        """Number of frames that decode, at most MAX_FRAMES; all is decoded only where it must be.

        The packets decide where container and codec keep one picture in each and the first
        packets bear that out. What is damaged farther on is not seen then.

        Raises:
            RecordError: the file was cut short, or too much of it would have to be decoded.
        """
        names = self._container.format.name, self._stream.codec_context.name
        packets = self._packets()
        if not frame_count.packets_may_decide(*names, packets):
            return self.count_frames()
        tried = packets[: frame_count.TRIED_PACKETS]
        shown = sum(1 for packet in tried if not packet.is_discard)
        found = sum(1 for _ in self._decode(tried))
        return self.count_packets() if found == shown else self.count_frames()

    def frames_at(
        self, wanted: Collection[int], size: tuple[int, int], *, to_end: bool = False
    ) -> Iterator[Picture]:
        """Yield the Picture of each frame index in `wanted`, converted to `size`.

        Args:
            wanted: indices of frames in presentation order.
            size: (width, height) of the pictures.
            to_end: decode the frames after the last wanted one too, so that num_decoded is all.
        """
        convert, last, packets = self.converter(size), max(wanted), self._packets()
        coming = min(len(packets), MAX_FRAMES if to_end else last + 1)
        self._spending.require_pixels(coming, self.width, self.height)
        for index, frame in enumerate(itertools.islice(self._decode(packets), MAX_FRAMES)):
            self.num_decoded = index + 1
            if index in wanted:
                yield Picture(index, convert(frame), self.seconds(frame))
            if index >= last and not to_end:
                return

    def begin_of(self, start: int, *, counted: bool = False) -> int:
        """The position, as `positions` gives them, at which a clip from frame `start` on begins.

        Where the container states its duration and its number of frames that is a timestamp, the
        same fraction of the duration, as in VideoInput. Where it does not (Matroska, WebM), or if
        frames are to be `counted`, it is the frame's index.
        """
        if counted or not self.skips_to_keyframes:
            return start
        duration = self._stream.duration or 0
        return start_timestamp(start=start, duration=duration, num_frames=self._stream.frames)

    def positions(
        self, begin: int, *, counted: bool = False
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield (position, frame of PyAV) in presentation order, those before `begin` left out.

        A position is the frame's best-effort timestamp, as in VideoInput, or its index. Once a
        frame is not before `begin`, all that follow are given. Decoding starts at the last
        keyframe that is not later than the timestamp `begin`, or at the first frame where frames
        are counted.
        """
        if counted or not self.skips_to_keyframes:
            frames = itertools.islice(self._decode(self._packets()), MAX_FRAMES)
            yield from itertools.islice(enumerate(frames), begin, None)
            return
        guess, begun = BestEffort(), False
        for frame in self._decode(_from_keyframe(self._from_first(), begin)):
            position = guess.timestamp(frame.pts, frame.dts)
            begun = begun or position is not None and position >= begin
            if begun:
                yield begin if position is None else position, frame

    @property
    def skips_to_keyframes(self) -> bool:
        """Whether the container states what is needed to begin decoding inside the video."""
        return bool(self._stream.frames) and self._stream.duration is not None

    def keyframe_before(self, begin: int) -> Optional[int]:
        """Place in the file of the keyframe at which `positions` begins to decode for `begin`.

        None where it does not matter: the timestamps of frames are the same from wherever one
        decodes. In an AVI of H.264 or HEVC with B-frames they are guesses that depend on it.
        """
        names = self._container.format.name, self._stream.codec_context.name
        if names not in (('avi', 'h264'), ('avi', 'hevc')) or not self.skips_to_keyframes:
            return None
        first = next(_from_keyframe(self._from_first(), begin), None)
        return first and first.pos

    def converter(self, size: tuple[int, int]) -> Callable[[av.VideoFrame], np.ndarray]:
        """Return a function from a frame of PyAV to uint8 RGB pixels of `size`."""
        converter = Converter(size)

        def convert(frame):
            self.total_converted += 1
            return converter(frame)

        return convert

    def seconds(self, frame: av.VideoFrame) -> float:
        """When a frame of PyAV is shown, from the beginning of the video; NaN if not known."""
        if frame.pts is None or not self._stream.time_base:
            return math.nan
        return float((frame.pts - (self._stream.start_time or 0)) * self._stream.time_base)

    @property
    def frames_a_second(self) -> Optional[Fraction]:
        """The average, a Fraction, or None if the container does not say."""
        return self._stream.average_rate

    @property
    def frame_seconds(self) -> float:
        """How long a frame is shown, on average; NaN if the container does not say."""
        return float(1 / self.frames_a_second) if self.frames_a_second else math.nan

    def _packets(self):
        """All video packets; RecordError if the file was cut short."""
        packets = list(self._from_first())
        if not self._is_whole:
            opened = self._opened
            missing = missing_bytes(self._container.format.name, opened.read_at, opened.size)
            require_whole(self._container, self._stream, Read(packets, self._ends, missing))
            self._is_whole = True
        return packets

    def _from_first(self):
        """Yield the video packets. They are kept for the next pass, as far as the budget goes."""
        for number in itertools.count():
            if number == len(self._read):
                with memory_errors_named(), self._spending.timed():
                    packet = next(self._unread, None)
                if packet is None:
                    return
                self._spending.add_packet(packet.size)
                self._read.append(packet)
            yield self._read[number]

    def _demux(self):
        """Yield the video packets in the file's order.

        As VideoInput, stop at a packet that cannot be read and use what came before it.
        """
        try:
            for packet in self._container.demux():
                if packet.size:
                    self._ends.add(packet)
                    if packet.stream_index == self._stream.index:
                        yield packet
        except MemoryError:
            raise
        except (av.error.FFmpegError, OSError) as error:
            self._ends.read_error = error.strerror

    def _decode(self, packets):
        """Yield the frames of `packets` in presentation order."""
        self._stream.codec_context.flush_buffers()
        self.num_decoded = self.num_undecodable = 0
        for packet in itertools.chain(packets, [None]):  # None: give out what is still held back
            frames = self._frames_of(packet)
            self.total_decoded += len(frames)
            for frame in frames:
                self._spending.add_frame(frame.width, frame.height)
                self.num_undecodable += frame.is_corrupt
                yield frame

    def _frames_of(self, packet):
        with memory_errors_named(), self._spending.timed():
            try:
                return self._stream.codec_context.decode(packet)
            except MemoryError:
                raise
            except av.error.FFmpegError:
                self.num_undecodable += 1
                return []


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
