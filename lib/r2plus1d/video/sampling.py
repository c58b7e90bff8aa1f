"""Which frames: pure integer functions that choose as Caffe2's VideoInput does.

A clip of a video of N frames:

    frame   0 1 2 3 4 5 6 7 8 9 ...  N-1
                    ^start
    window          |<--- R --->|            R frames are required
    clip            x   x   x   x            every `rate`-th frame of the window
"""

from collections.abc import Sequence

import numpy as np

from r2plus1d.errors import RecordError

MAX_FRAMES = 10000  # VideoInput decodes no more of a video


def rgb_offsets(*, length: int, rate: int) -> list[int]:
    """Offsets in the window of the frames of an RGB clip: length=3, rate=2 -> [0, 2, 4]."""
    return [i * rate for i in range(length)]


def flow_offsets(*, length: int, rate: int, gap: int) -> list[int]:
    """Offsets of every frame that a flow needs: length=2, rate=3, gap=1 -> [0, 1, 3, 4]."""
    return sorted({i * rate + j for i in range(length) for j in range(gap + 1)})


def uniform_starts(*, num_frames: int, required: int, clips: int) -> list[int]:
    """First frames of windows spread evenly: num_frames=20, required=8, clips=3 -> [0, 6, 12].

    The step is a float32, as in VideoInput: in another precision some starts differ by one.
    """
    _require_frames(num_frames, required)
    step = np.float32(num_frames - required) / np.float32(clips - 1) if clips > 1 else np.float32(0)
    return [int(np.floor(np.float32(i) * step)) for i in range(clips)]


def random_starts(
    rng: np.random.Generator, *, num_frames: int, required: int, clips: int
) -> list[int]:
    """Uniformly random first frames; `rng` is a numpy Generator."""
    _require_frames(num_frames, required)
    return [int(start) for start in rng.integers(0, num_frames - required, clips, endpoint=True)]


def given_starts(starts: Sequence[int], *, num_frames: int, required: int) -> list[int]:
    """The starts themselves, if each window lies within the video."""
    _require_frames(num_frames, required + max(starts))
    return list(starts)


def start_timestamp(*, start: int, duration: int, num_frames: int) -> int:
    """The smallest timestamp of a clip that begins at frame `start`, in the stream's time base.

    VideoInput derives it from what the container states rather than from counting frames.
    """
    return duration * start // num_frames


def _require_frames(num_frames, required):
    if num_frames < required:
        raise RecordError(f'too few frames: {num_frames}, and the clips need {required}')
