"""Decoding through FFmpeg (PyAV): exactly the frames asked for, with VideoInput's pixels.

Frames come in presentation order from the first video stream, as stored (no rotation). Each one
that is asked for goes through one swscale call, to RGB at the output size with FAST_BILINEAR:
nothing else gives the same pixels. The others are decoded but not converted.
"""

import io
import itertools
import pathlib

import av
import av.error
from av.video.reformatter import VideoReformatter

from r2plus1d.errors import RecordError
from r2plus1d.video.sampling import MAX_FRAMES, start_timestamp

# Matroska states neither a frame count nor where its data ends, but a duration. A file whose
# streams all end more than this many seconds before it has been cut.
MATROSKA_SLACK_SECONDS = 0.25
# AVI states a number of frames, which some programs get a little wrong.
AVI_SHARE, AVI_SLACK_FRAMES = 0.95, 2


class Video:
    """An opened video. Use as a context manager.

    Args:
        source: bytes of an encoded file, or the path of one.

    Attributes:
        width, height: of its frames as stored, in pixels.
        num_decoded: frames that the last pass decoded.
        num_undecodable: packets that it could not decode and, as Caffe2, went on without.

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
        self._stored_packets = None
        self._cut, self._read_error = False, None
        self._end_seconds, self._end_ticks = 0.0, 0
        self.width, self.height = self._stream.width, self._stream.height
        self.num_decoded = self.num_undecodable = 0

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
        """Yield (index, H x W x 3 uint8 RGB) for the frame indices `wanted`, converted to `size`.

        Args:
            wanted: set of indices of frames in presentation order.
            size: (width, height) of the arrays.
            to_end: decode the frames after the last wanted one too, so that num_decoded is all.
        """
        convert, last = _converter(size), max(wanted)
        for index, frame in enumerate(itertools.islice(self._decode(self._packets()), MAX_FRAMES)):
            self.num_decoded = index + 1
            if index in wanted:
                yield index, convert(frame)
            if index >= last and not to_end:
                return

    def frames_from(self, start, wanted, size):
        """Yield (offset, H x W x 3 uint8 RGB) for the offsets `wanted` from frame `start` on.

        Where the container states its duration and its number of frames, the clip begins at the
        first frame whose timestamp is at least that fraction of the duration, as in VideoInput.
        Where it does not (Matroska, WebM), frames are counted.
        """
        duration, stated = self._stream.duration, self._stream.frames
        if not stated or duration is None:
            shifted = {start + offset for offset in wanted}
            yield from ((i - start, picture) for i, picture in self.frames_at(shifted, size))
            return
        threshold = start_timestamp(start=start, duration=duration, num_frames=stated)
        convert, offset, last = _converter(size), 0, max(wanted)
        for frame in self._decode(_from_keyframe(self._demux(), threshold)):
            if frame.pts is None or frame.pts < threshold:
                continue
            if offset in wanted:
                yield offset, convert(frame)
            offset += 1
            if offset > last:
                return

    def _packets(self):
        """All video packets in memory: no larger than the file, and they can be decoded twice."""
        if self._stored_packets is None:
            packets = list(self._demux())
            self._require_whole(packets)
            self._stored_packets = packets
        return self._stored_packets

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


def _converter(size):
    """Return a function from a frame to an RGB array of `size`."""
    reformatter, (width, height) = VideoReformatter(), size

    def convert(frame):
        try:
            picture = reformatter.reformat(
                frame, width, height, 'rgb24', interpolation='FAST_BILINEAR'
            )
        except (av.error.FFmpegError, ValueError) as error:
            raise RecordError(f'frames of {frame.format.name} do not convert: {error}') from None
        return picture.to_ndarray()

    return convert


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
