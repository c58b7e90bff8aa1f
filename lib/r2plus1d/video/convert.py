"""From a decoded frame to RGB pixels of one size, by one swscale call as VideoInput makes it.

PyAV 15 and 16 hand swscale's refusals on as a null pointer, which ends the process. So what swscale
refuses is refused here first: the formats that it does not read, and pictures far too tall.

VideoInput's swscale call does not know what a frame says of its colours: the matrix is that of
BT.601, the range follows from the format, and chroma lies in the middle. PyAV 15 and 16 make the
same call. Later ones tell swscale what the frame says, so there these labels are taken away first.
"""

from fractions import Fraction
from typing import Optional

import av
import av.error
import numpy as np
from av.filter import Graph
from av.video.reformatter import VideoReformatter

from r2plus1d.errors import RecordError
from r2plus1d.video.budget import memory_errors_named

# Formats that swscale of FFmpeg 7.1 does not read, found by trying all of PyAV's.
UNREADABLE = frozenset((
    'ayuv64be', 'bgr4', 'nv20be', 'nv20le', 'rgb4', 'rgbaf32be', 'rgbaf32le', 'rgbf32be',
    'rgbf32le', 'uyyvyy411', 'x2bgr10be', 'x2rgb10be', 'xv30be', 'xv36be', 'y210be', 'y212be',
))  # fmt: skip
# A vertical filter has at most 256 taps, twice as many as rows become one. Beyond that swscale
# scales in two steps, but only a picture of more than so many times the pixels of the result.
MAX_ROWS_TO_ONE, TWO_STEPS = 127, 4

READS_LABELS = int(av.__version__.split('.')[0]) >= 17
# What PyAV's reformat takes from the frame, whatever it is told.
NO_LABELS = 'chroma_location=unspecified:color_primaries=unknown:color_trc=unknown'
FULL_RANGE = ('yuvj', 'gray', 'ya')  # beginnings of formats whose values reach from 0 to 255


class Converter:
    """Converts frames of PyAV to uint8 H x W x 3 RGB.

    Args:
        size: (width, height) in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._width, self._height = size
        self._kind: Optional[tuple[str, int, int]] = None

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the pixels; RecordError for a frame that swscale does not convert."""
        self._require_convertible(frame)
        try:
            with memory_errors_named():
                self._prepare_for(frame)
                if READS_LABELS:
                    self._graph.push(frame)
                    frame = self._graph.pull()
                picture = self._reformatter.reformat(
                    frame,
                    self._width,
                    self._height,
                    'rgb24',
                    interpolation='FAST_BILINEAR',
                    **self._labels,
                )
                return picture.to_ndarray()
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, RecordError):
                raise
            kind = frame.format.name
            raise RecordError(f'frames of {kind} do not convert: {error}') from None

    def _require_convertible(self, frame):
        """Each frame is looked at, because format and size can change within a video."""
        if frame.format.name in UNREADABLE:
            raise RecordError(f'frames of {frame.format.name} do not convert: unknown to swscale')
        small = frame.width * frame.height <= TWO_STEPS * self._width * self._height
        if small and frame.height > MAX_ROWS_TO_ONE * self._height:
            raise RecordError(
                f'frames of {frame.width} x {frame.height} do not convert to {self._width} x '
                f'{self._height}: they are more than {MAX_ROWS_TO_ONE} times as high'
            )

    def _prepare_for(self, frame):
        kind = frame.format.name, frame.width, frame.height
        if kind != self._kind:
            # A new one for each kind: swscale of FFmpeg 8 keeps the range of the last kind
            self._reformatter = VideoReformatter()
            self._labels = _labels_of(frame.format.name) if READS_LABELS else {}
            self._graph = _graph_without_labels(*kind) if READS_LABELS else None
            self._kind = kind


def _labels_of(name):
    """Arguments of PyAV's reformat that say of a format what VideoInput takes for granted."""
    return {
        'src_colorspace': 'ITU601',
        'dst_colorspace': 'ITU601',
        'src_color_range': 'JPEG' if name.startswith(FULL_RANGE) else 'MPEG',
        'dst_color_range': 'JPEG',
        'threads': 1,
    }


def _graph_without_labels(name, width, height):
    """Return a graph that takes away what `reformat` cannot be told; it copies no pixels."""
    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=name, time_base=Fraction(1, 25))
    change, sink = graph.add('setparams', NO_LABELS), graph.add('buffersink')
    source.link_to(change)
    change.link_to(sink)
    graph.configure()
    return graph
