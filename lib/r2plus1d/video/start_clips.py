"""Clips that begin at given frames of one video, which is decoded once for all of them."""

import collections
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import RecordError
from r2plus1d.video.budget import memory_errors_named
from r2plus1d.video.clip import Clips, Frames, Work, rows_of
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video

# Between clips that are farther apart than a group of pictures usually is, decoding goes on from
# the next clip's keyframe.
MAX_GAP_FRAMES = 250


class Start(NamedTuple):
    """A clip that is wanted.

    Attributes:
        index: the record's position in the database, for the random choices.
        frame: the first frame.
    """

    index: int  # type: ignore[assignment]  # tuple.index, which nobody calls
    frame: Optional[int]


def starting_clips(
    source: Union[bytes, str, os.PathLike], settings: ClipSettings, starts: Iterable[Start]
) -> Iterator[tuple[Start, Optional[Clips], Optional[str]]]:
    """Yield (Start, Clips, None) or (Start, None, why it failed) of each clip, by first frame.

    Each clip comes as soon as its last frame is decoded, and frames are held no longer than the
    clips at hand need them: memory depends on how long a clip is, not on the video.

    Args:
        source: bytes of an encoded file, or the path of one.
        settings: ClipSettings whose decode_type is `start` or `frame`.
        starts: Starts, in any order.
    """
    starts = list(starts)
    for start in starts:
        if start.frame is None:
            yield start, None, 'no start frame, which decode_type start needs'
    left = sorted(
        (start for start in starts if start.frame is not None), key=lambda s: s.frame or 0
    )
    try:
        with (
            memory_errors_named(),
            Video(source, settings.budget, use_truncated=settings.use_truncated) as video,
        ):
            clips = _VideoClips(video, settings)
            while left:
                for start, made, failure in clips.decode(_near(left, video, settings)):
                    left.remove(start)
                    yield start, made, failure
    except RecordError as error:
        for start in left:
            yield start, None, error.reason


def _near(starts, video, settings):
    """The first of `starts`, and those after it up to a gap worth skipping."""
    if not video.skips_to_keyframes or settings.decode_type == 'frame':
        return starts
    reach = settings.required + MAX_GAP_FRAMES
    keyframe = video.keyframe_before(video.begin_of(starts[0].frame))

    def is_near(pair):
        first, second = pair
        if second.frame - first.frame > reach:
            return False
        return keyframe == video.keyframe_before(video.begin_of(second.frame))

    return [starts[0], *(second for _, second in itertools.takewhile(is_near, _pairs(starts)))]


def _pairs(items):
    return zip(items, items[1:])


class _Clip:
    """A clip on its way: `indices` are those of its frames so far."""

    def __init__(self, start, begin, crops):
        self.start, self.begin, self.crops = start, begin, crops
        self.indices, self.seconds = [], []
        self.num_seen = 0


class _VideoClips:
    """Decodes a video and makes clips of it as they become complete."""

    def __init__(self, video, settings):
        self._video, self._settings = video, settings
        self._frames = Frames(video, settings)
        self._convert = video.converter(self._frames.size)
        self._offsets = frozenset(settings.offsets)
        self._indices = itertools.count()  # over all passes: no two frames share one
        self._reported = Work()
        self._told: set[str] = set()

    def decode(self, starts):
        """Yield what starting_clips does for `starts`, which are sorted, in one pass."""
        counted = self._settings.decode_type == 'frame'
        upcoming = collections.deque(self._clip(start, counted) for start in starts)
        active, undecodable = collections.deque(), 0
        for position, frame in self._video.positions(upcoming[0].begin, counted=counted):
            while upcoming and upcoming[0].begin <= position:
                active.append(upcoming.popleft())
            self._take(frame, active)
            while active and active[0].num_seen == self._settings.required:
                news = self._video.num_undecodable - undecodable
                undecodable += news
                yield active[0].start, self._made(active[0], news), None
                active.popleft()
            if not active and not upcoming:
                return
            self._frames.forget_before(active[0].indices[0] if active else math.inf)
        for clip in (*active, *upcoming):
            yield (
                clip.start,
                None,
                (
                    f'too few frames: {clip.num_seen} from frame {clip.start.frame} on, '
                    f'and the clip needs {self._settings.required}'
                ),
            )

    def _clip(self, start, counted):
        rng = np.random.default_rng((self._settings.seed, start.index))
        begin = self._video.begin_of(start.frame, counted=counted)
        return _Clip(start, begin, self._frames.crops(rng))

    def _take(self, frame, clips):
        """Give a frame to the clips that have begun; convert it only if one of them uses it."""
        users = [clip for clip in clips if clip.num_seen in self._offsets]
        for clip in clips:
            clip.num_seen += 1
        if users:
            index, pixels = next(self._indices), self._convert(frame)
            for clip in users:
                self._frames.add(index, pixels, clip.crops)
                clip.indices.append(index)
                clip.seconds.append(self._video.seconds(frame))

    def _made(self, clip, num_undecodable):
        pixels = self._frames.clip(clip.indices, clip.crops)
        work = self._frames.work - self._reported
        self._reported = self._frames.work
        times = [(clip.seconds[0], clip.seconds[-1] + self._video.frame_seconds)]
        return Clips(
            pixels,
            *rows_of([clip.start.frame], times, self._settings.crops),
            num_undecodable,
            work,
            self._news('cut', self._video.truncated),
            self._news('complaint', self._video.complaint),
        )

    def _news(self, kind, text):
        """`text`, the first time that there is one of its kind."""
        if text is None or kind in self._told:
            return None
        self._told.add(kind)
        return text
