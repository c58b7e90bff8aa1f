"""The clips of one record: at frame numbers that are spread over the video or drawn at random."""

import os
from typing import Optional, Union

import numpy as np

from r2plus1d.errors import RecordError
from r2plus1d.video import sampling
from r2plus1d.video.budget import memory_errors_named
from r2plus1d.video.clip import Clips, Frames, rows_of
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.start_clips import Start, starting_clips


def read_clips(
    source: Union[bytes, str, 'os.PathLike[str]'],
    settings: ClipSettings,
    *,
    draw: int = 0,
    start_frame: Optional[int] = None,
) -> Clips:
    """Return the Clips of one record.

    Args:
        source: bytes of an encoded file, or the path of one.
        settings: ClipSettings.
        draw: number that the random choices follow from: the record's position in the database,
            or in training how often one was drawn before.
        start_frame: the record's own, where the settings ask for one.

    Raises:
        RecordError: the video cannot give these clips; says why, with the numbers.
    """
    if settings.has_start_frames:
        _, clips, failure = next(starting_clips(source, settings, [Start(draw, start_frame)]))
        if clips is None:
            raise RecordError(failure or 'no clip')
        return clips
    with (
        memory_errors_named(),
        Video(source, settings.budget, use_truncated=settings.use_truncated) as video,
    ):
        return _clips_by_number(video, settings, draw)


def _clips_by_number(video, settings, draw):
    """How many frames there are is known only after decoding them all."""
    num_frames = video.count_packets()
    if num_frames < settings.required:
        num_frames = video.count_frames()  # a packet can hold several frames
    spread = settings.decode_type == 'uniform' and settings.clips > 1 and not settings.clip_starts
    while True:
        rng = np.random.default_rng((settings.seed, draw))
        frames = Frames(video, settings)
        starts = _starts(settings, rng, num_frames)
        crops = frames.crops_of_clips(rng, len(starts))
        seconds = _fill(frames, video, settings, starts, crops, to_end=spread)
        if seconds is not None and (not spread or video.num_decoded == num_frames):
            return _assembled(frames, video, settings, starts, crops, seconds)
        # Some packets gave no frame or more than one: choose again from what there is.
        num_frames = video.num_decoded


def _starts(settings, rng, num_frames):
    known = {'num_frames': num_frames, 'required': settings.required}
    if settings.clip_starts:
        return sampling.given_starts(settings.clip_starts, **known)
    if settings.decode_type == 'random':
        return sampling.random_starts(rng, clips=settings.clips, **known)
    return sampling.uniform_starts(clips=settings.clips, **known)


def _fill(frames, video, settings, starts, crops, *, to_end):
    """Add every frame that the clips need; return {index: seconds}, None if some are missing."""
    wanted, offsets = {}, settings.offsets
    for start, crops_of_clip in zip(starts, crops):
        for offset in offsets:
            wanted.setdefault(start + offset, set()).update(crops_of_clip)
    pictures = video.frames_at(wanted.keys(), frames.size, to_end=to_end)
    seconds = frames.add_all(pictures, wanted)
    return seconds if len(seconds) == len(wanted) else None


def _assembled(frames, video, settings, starts, crops, seconds):
    offsets, frame_seconds = settings.offsets, video.frame_seconds
    pixels = frames.clips([[start + offset for offset in offsets] for start in starts], crops)
    times = [(seconds[start], seconds[start + offsets[-1]] + frame_seconds) for start in starts]
    return Clips(
        pixels,
        *rows_of(starts, times, settings.crops),
        video.num_undecodable,
        frames.work,
        video.truncated,
        video.complaint,
    )
