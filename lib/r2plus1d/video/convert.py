"""From a decoded frame to RGB pixels of one size, by one swscale call as VideoInput makes it.

PyAV hands swscale's refusals on as a null pointer, which ends the process. So what swscale refuses
is refused here first: the formats that it does not read, and pictures that are far too tall.
"""

import av
import av.error
import numpy as np
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


class Converter:
    """Converts frames of PyAV to uint8 H x W x 3 RGB.

    Args:
        size: (width, height) in pixels.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._reformatter, (self._width, self._height) = VideoReformatter(), size

    def __call__(self, frame: av.VideoFrame) -> np.ndarray:
        """Return the pixels; RecordError for a frame that swscale does not convert."""
        self._require_convertible(frame)
        try:
            with memory_errors_named():
                picture = self._reformatter.reformat(
                    frame, self._width, self._height, 'rgb24', interpolation='FAST_BILINEAR'
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
