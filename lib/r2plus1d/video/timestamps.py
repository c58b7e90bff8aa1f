"""The best-effort timestamps of FFmpeg, by which VideoInput finds the frame where a clip begins."""

from collections.abc import Sequence
from typing import Optional


class BestEffort:
    """Guesses when each frame of one pass is shown.

    A frame has two timestamps, pts and dts. As libavcodec (`guess_correct_pts` in decode.c, which
    PyAV does not show), take the one that has gone back less often so far, and pts on a tie. In
    an AVI with B-frames it is dts, as pts goes back there.
    """

    def __init__(self) -> None:
        self._last_pts = self._last_dts = float('-inf')
        self._faulty_pts = self._faulty_dts = 0

    def timestamp(self, pts: Optional[int], dts: Optional[int]) -> Optional[int]:
        """The timestamp of the next frame in output order, in the stream's time base."""
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        takes_pts = self._faulty_pts <= self._faulty_dts or dts is None
        return pts if takes_pts and pts is not None else dts


def order_stamps(
    stamps: Sequence[tuple[Optional[int], Optional[int]]],
) -> Optional[list[int]]:
    """When the frames of a video are shown, in order, in the stream's time base.

    Args:
        stamps: (pts, dts) of each frame or packet.

    Returns:
        The pts, or the dts where some pts are missing or two are the same, or None.
    """
    for kind in (0, 1):
        times = [time for time in (pair[kind] for pair in stamps) if time is not None]
        if len(set(times)) == len(stamps):
            return sorted(times)
    return None
