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
from typing import Optional, Union

import av
import av.error
import numpy as np

from r2plus1d.errors import RecordError
from r2plus1d.video import frame_count
from r2plus1d.video.budget import DEFAULT_BUDGET, Budget, Spending, memory_errors_named
from r2plus1d.video.complaints import Complaints
from r2plus1d.video.container import open_container, video_stream
from r2plus1d.video.convert import Converter
from r2plus1d.video.keyframes import from_keyframe
from r2plus1d.video.packets import PacketReader
from r2plus1d.video.picture import Picture
from r2plus1d.video.sampling import MAX_FRAMES, start_timestamp
from r2plus1d.video.timestamps import BestEffort, order_stamps


class Video:
    """An opened video. Use as a context manager.

    Args:
        source: bytes of an encoded file, or the path of one.
        budget: Budget, what reading and decoding may take.
        use_truncated: use a file that was cut short as far as it goes.

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
        self,
        source: Union[bytes, str, os.PathLike],
        budget: Budget = DEFAULT_BUDGET,
        *,
        use_truncated: bool = False,
    ) -> None:
        self._complaints, self._lost = Complaints(), None
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
        self._packets = PacketReader(
            self._opened, self._stream, self._spending, use_truncated=use_truncated
        )
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
        shown = sum(1 for packet in self._packets.read_all() if not packet.is_discard)
        return min(shown, MAX_FRAMES)

    def count_frames(self) -> int:
        """Number of frames that decode, at most MAX_FRAMES."""
        for _ in self.frames_at({MAX_FRAMES}, (1, 1)):
            pass
        return self.num_decoded

    @property
    def truncated(self) -> Optional[str]:
        """How the file was cut, None for one that is whole or not yet read to its end."""
        return self._packets.truncated

    @property
    def complaint(self) -> Optional[str]:
        """What is wrong with the file, as far as it was read; None where nothing is seen.

        FFmpeg goes on from it. Errors that it logs are known in processes that decode only.
        """
        return self._complaints.summary or self._packets.complaint or self._lost

    @property
    def affordable_frames(self) -> int:
        """Frames that the budget of pixels is enough for; MAX_FRAMES if that is more."""
        return max(MAX_FRAMES, self._spending.count_affordable(self.width, self.height))

    def count_frames_exactly(self, *, most: Optional[int] = None) -> int:
        """Number of frames that decode, at most `most`; all is decoded only where it must be.

        The packets decide where container and codec keep one picture in each and the first
        packets bear that out. What is damaged farther on is not seen then.

        Args:
            most: MAX_FRAMES if left out.

        Raises:
            RecordError: the file was cut short, or too much of it would have to be decoded.
        """
        return len(self._stamps(most))

    def frame_times(self, *, most: Optional[int] = None) -> Optional[list[Fraction]]:
        """When each frame is shown, in seconds from the beginning, ascending.

        As count_frames_exactly. None if the container does not say.
        """
        times, base = order_stamps(self._stamps(most)), self._stream.time_base
        if times is None or not base:
            return None
        return [(time - (self._stream.start_time or 0)) * base for time in times]

    def _stamps(self, most):
        """(pts, dts) of the first `most` frames that decode."""
        most, packets = MAX_FRAMES if most is None else most, self._packets.read_all()
        stamps = frame_count.stamps_of_packets(*self._names, packets, self._decode)
        if stamps is None:
            self._spending.require_pixels(min(len(packets), most), self.width, self.height)
            frames = itertools.islice(self._decode_all(packets), most)
            return [(frame.pts, frame.dts) for frame in frames]
        return stamps[:most]

    def frames_at(
        self, wanted: Collection[int], size: tuple[int, int], *, to_end: bool = False
    ) -> Iterator[Picture]:
        """Yield the Picture of each frame index in `wanted`, converted to `size`.

        Args:
            wanted: indices of frames in presentation order.
            size: (width, height) of the pictures.
            to_end: decode the frames after the last wanted one too, so that num_decoded is all.
        """
        convert, last, packets = self.converter(size), max(wanted), self._packets.read_all()
        coming = min(len(packets), MAX_FRAMES if to_end else last + 1)
        self._spending.require_pixels(coming, self.width, self.height)
        for index, frame in enumerate(itertools.islice(self._decode_all(packets), MAX_FRAMES)):
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
            yield from itertools.islice(
                enumerate(self._decode_all(self._packets.read_all())), begin, None
            )
            return
        guess, begun = BestEffort(), False
        for frame in self._decode(from_keyframe(self._packets.from_first(), begin)):
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
        if self._names not in (('avi', 'h264'), ('avi', 'hevc')) or not self.skips_to_keyframes:
            return None
        first = next(from_keyframe(self._packets.from_first(), begin), None)
        return None if first is None else first.pos

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
    def container_name(self) -> str:
        return self._container.format.name

    @property
    def codec_name(self) -> str:
        return self._stream.codec_context.name

    @property
    def frames_a_second(self) -> Optional[Fraction]:
        """The average, a Fraction, or None if the container does not say."""
        return self._stream.average_rate

    @property
    def pixel_aspect(self) -> Fraction:
        """Width of a pixel for a height of 1; 1 if the file does not say."""
        return Fraction(self._stream.sample_aspect_ratio or 1)

    @property
    def frame_seconds(self) -> float:
        """How long a frame is shown, on average; NaN if the container does not say."""
        return float(1 / self.frames_a_second) if self.frames_a_second else math.nan

    @property
    def _names(self):
        return self.container_name, self.codec_name

    def _decode_all(self, packets):
        """As _decode, of all packets; then see whether each gave its frame."""
        num_frames = num_interlaced = 0
        for frame in self._decode(packets):
            num_frames, num_interlaced = num_frames + 1, num_interlaced + frame.interlaced_frame
            yield frame
        lost = frame_count.count_lost(*self._names, packets, num_frames)
        if lost > self.num_undecodable and not num_interlaced:
            self._lost = f'{lost} of {len(packets)} packets gave no frame'

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
