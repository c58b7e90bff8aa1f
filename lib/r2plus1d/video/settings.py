"""Which clips of a video, and what becomes of their frames: the settings that VideoInput takes."""

import dataclasses
import functools
import typing

from r2plus1d.errors import InputError
from r2plus1d.video import sampling
from r2plus1d.video.flow import FlowSettings

RGB_CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class ClipSettings:
    """Which clips of a video, and what becomes of their frames.

    Attributes:
        length, rate: frames of a clip and the step between them.
        flow: FlowSettings for optical flow, None for RGB; then `length` and `rate` are the flow's.
        decode_type: `random`, `uniform`, `start` (the record's start frame, found by its timestamp
            as VideoInput does) or `frame` (the same, found by counting frames).
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
        if self.has_start_frames and self.clips > 1:
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
    def has_start_frames(self):
        """Whether each record says where its clip begins."""
        return self.decode_type in ('start', 'frame')

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
