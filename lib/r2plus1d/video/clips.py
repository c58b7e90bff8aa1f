"""The clips of one video: which frames and crops, from the settings that VideoInput takes."""

import dataclasses
import functools
import typing

import numpy as np

from r2plus1d.errors import InputError, RecordError
from r2plus1d.video import sampling, transform
from r2plus1d.video.decode import Video
from r2plus1d.video.flow import FlowSettings, flow_of

RGB_CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """Which clips of a video, and what becomes of their frames.

    Attributes:
        length, rate: frames of a clip and the step between them.
        flow: FlowSettings for optical flow, None for RGB; then `length` and `rate` are the flow's.
        decode_type: `random`, `uniform`, or `start` (the record's start frame).
        clips: clips of a video.
        clip_starts: first frames that replace the uniform ones.
        video_res_type, scale_w, scale_h, short_edge: see transform.output_size.
        crop_size, crops: pixels, and crops of a clip.
        random_crop, mirror: crop anywhere; mirror every other clip; both at random.
        seed: of every random choice. One record's choices depend on it and on the record's index.

    Raises:
        InputError: settings that exclude each other.
    """

    length: int = 16
    rate: int = 1
    flow: typing.Optional[FlowSettings] = None
    decode_type: str = 'uniform'
    clips: int = 1
    clip_starts: tuple = ()
    video_res_type: str = 'scale'
    scale_w: int = 171
    scale_h: int = 128
    short_edge: int = 128
    crop_size: int = 112
    crops: int = 1
    random_crop: bool = False
    mirror: bool = False
    seed: int = 0

    def __post_init__(self):
        if self.decode_type == 'start' and self.clips > 1:
            raise InputError(
                f'decode_type start takes one clip a record; clip_per_video is {self.clips}'
            )
        if self.clip_starts and self.decode_type != 'uniform':
            raise InputError(
                f'clip_start_positions need decode_type uniform, not {self.decode_type}'
            )
        if self.random_crop and self.crops > 1:
            raise InputError(f'random_crop takes one crop a clip; crop_per_clip is {self.crops}')
        sides = {'scale': min(self.scale_w, self.scale_h), 'short_edge': self.short_edge}
        if self.crop_size > sides.get(self.video_res_type, self.crop_size):
            side = sides[self.video_res_type]
            raise InputError(f'crop_size is {self.crop_size}, larger than frames resized to {side}')

    @property
    def num_clips(self):
        return len(self.clip_starts) or self.clips

    @property
    def rows(self):
        """Rows that one video gives: clip by clip, crop by crop."""
        return self.num_clips * self.crops

    @property
    def channels(self):
        return self.flow.channels if self.flow else RGB_CHANNELS

    @functools.cached_property
    def offsets(self):
        """Offsets from a clip's first frame of every frame that it needs."""
        if self.flow:
            return sampling.flow_offsets(length=self.length, rate=self.rate, gap=self.flow.gap)
        return sampling.rgb_offsets(length=self.length, rate=self.rate)

    @property
    def required(self):
        """Frames from a clip's first to its last."""
        return self.offsets[-1] + 1


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of one video.

    Attributes:
        pixels: uint8 rows x C x T x H x W for RGB; for flow float32, already normalized.
        starts: first frame of each row's clip.
        num_undecodable: packets of the video that could not be decoded.
    """

    pixels: np.ndarray
    starts: np.ndarray
    num_undecodable: int


def read_clips(source, settings, *, index=0, start_frame=None):
    """Return the Clips of one video.

    Args:
        source: bytes of an encoded file, or the path of one.
        index: the record's position in the database, for the random choices.
        start_frame: the record's own, for decode_type `start`.

    Raises:
        RecordError: the video cannot give these clips; says why, with the numbers.
    """
    with Video(source) as video:
        if settings.decode_type == 'start':
            starts, windows = _window_at(video, settings, index, start_frame)
        else:
            starts, windows = _windows_by_index(video, settings, index)
        undecodable = video.num_undecodable
    pixels = flow_of(windows, settings) if settings.flow else windows.transpose(0, 4, 1, 2, 3)
    return Clips(pixels, np.repeat(starts, settings.crops), undecodable)


def normalize(pixels, settings):
    """Return what the network sees, float32 rows x C x T x H x W, of Clips.pixels."""
    if settings.flow:
        return pixels
    return transform.normalize(pixels, transform.RGB_MEAN, transform.RGB_STD)


def _windows_by_index(video, settings, index):
    """Clips at frame numbers. How many frames there are is known only after decoding them all."""
    num_frames = video.count_packets()
    if num_frames < settings.required:
        num_frames = video.count_frames()  # a packet can hold several frames
    spread = settings.decode_type == 'uniform' and settings.clips > 1 and not settings.clip_starts
    while True:
        windows = _Windows(video, settings, np.random.default_rng((settings.seed, index)))
        starts = _starts(settings, windows.rng, num_frames)
        windows.fill(starts, video.frames_at, to_end=spread)
        if windows.complete and (not spread or video.num_decoded == num_frames):
            return starts, windows.pixels
        # Some packets gave no frame or more than one: choose again from what there is.
        num_frames = video.num_decoded


def _starts(settings, rng, num_frames):
    known = {'num_frames': num_frames, 'required': settings.required}
    if settings.clip_starts:
        return sampling.given_starts(settings.clip_starts, **known)
    if settings.decode_type == 'random':
        return sampling.random_starts(rng, clips=settings.clips, **known)
    return sampling.uniform_starts(clips=settings.clips, **known)


def _window_at(video, settings, index, start_frame):
    if start_frame is None:
        raise RecordError('no start frame, which decode_type start needs')
    windows = _Windows(video, settings, np.random.default_rng((settings.seed, index)))
    windows.fill([0], lambda wanted, size: video.frames_from(start_frame, wanted, size))
    if not windows.complete:
        raise RecordError(
            f'too few frames: {windows.num_filled} from frame {start_frame} on, '
            f'and the clip needs {settings.required}'
        )
    return [start_frame], windows.pixels


class _Windows:
    """The cropped frames of a video's clips, filled as the frames come.

    Attributes:
        pixels: uint8 rows x len(offsets) x crop x crop x 3.
    """

    def __init__(self, video, settings, rng):
        self.settings, self.rng = settings, rng
        self.size = transform.output_size(
            width=video.width, height=video.height, video_res_type=settings.video_res_type,
            scale_w=settings.scale_w, scale_h=settings.scale_h, short_edge=settings.short_edge,
            crop_size=settings.crop_size,
        )  # fmt: skip
        side = settings.crop_size
        self.pixels = np.empty(
            (settings.rows, len(settings.offsets), side, side, RGB_CHANNELS), np.uint8
        )
        self.complete = False
        self.num_filled = 0

    def fill(self, starts, frames, **how):
        """Take the clips at `starts` from what frames(wanted, size) gives, (index, frame)."""
        crops = [self._crops() for _ in starts]
        places = self._places(starts)
        for index, frame in frames(set(places), self.size, **how):
            for clip, position in places.pop(index):
                self._store(clip, position, frame, *crops[clip])
            self.num_filled = index + 1
        self.complete = not places

    def _places(self, starts):
        """{frame index: [(clip, position in the clip)]}: neighbouring clips can share frames."""
        places = {}
        for clip, start in enumerate(starts):
            for position, offset in enumerate(self.settings.offsets):
                places.setdefault(start + offset, []).append((clip, position))
        return places

    def _crops(self):
        """One clip's ([(top, left)], mirrored)."""
        width, height = self.size
        side = self.settings.crop_size
        if self.settings.random_crop:
            offsets = [
                transform.random_crop_offset(self.rng, width=width, height=height, crop_size=side)
            ]
        else:
            crops = self.settings.crops
            offsets = transform.crop_offsets(
                width=width, height=height, crop_size=side, crops=crops
            )
        return offsets, self.settings.mirror and self.rng.random() < 0.5

    def _store(self, clip, position, frame, offsets, mirrored):
        side = self.settings.crop_size
        for crop, (top, left) in enumerate(offsets):
            part = frame[top : top + side, left : left + side]
            self.pixels[clip * self.settings.crops + crop, position] = (
                part[:, ::-1] if mirrored else part
            )
