"""Which clips of a video, and what becomes of their frames: the settings that VideoInput takes."""

import dataclasses
import functools

from r2plus1d.errors import InputError, require_integer, require_one_of
from r2plus1d.networks.input import Input
from r2plus1d.video import sampling
from r2plus1d.video.budget import DEFAULT_BUDGET, Budget

DECODE_TYPES = ('random', 'uniform', 'start', 'frame')
MOST_BYTES = 2**31  # of the clips of one video; 10 clips of 32 frames in 3 crops have 36 MB


@dataclasses.dataclass(frozen=True)
class ClipSettings(Input):
    """What a network is to be given, and which clips of a video that is to be.

    Attributes:
        decode_type: `random`, `uniform`, `start` (the record's start frame, found by its timestamp
            as VideoInput does) or `frame` (the same, found by counting frames).
        clips: clips of a video.
        clip_starts: first frames that replace the uniform ones.
        crops: crops of a clip.
        random_crop, mirror: crop anywhere; mirror every other clip; both at random.
        seed: of every random choice. One record's choices depend on it and on the record's index.
        budget: Budget of one record.
        use_truncated: take clips of what a file that was cut short still has; otherwise it fails.

    Raises:
        InputError: a value that cannot be, settings that exclude each other, or clips of more than
            2 GiB.
    """

    decode_type: str = 'uniform'
    clips: int = 1
    clip_starts: tuple[int, ...] = ()
    crops: int = 1
    random_crop: bool = False
    mirror: bool = False
    seed: int = 0
    budget: Budget = DEFAULT_BUDGET
    use_truncated: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_one_of('decode_type', self.decode_type, DECODE_TYPES)
        if not isinstance(self.budget, Budget):
            raise InputError(f'budget is {self.budget!r}; a video.budget.Budget is right')
        require_integer('clips', self.clips, 1)
        require_integer('crops', self.crops, 1)
        size = self.rows * self.length * self.channels * self.crop_size**2
        size *= 4 if self.flow else 1  # bytes of a number: float32, or uint8
        if size > MOST_BYTES:
            raise InputError(
                f'{self.num_clips} clips of {self.length} frames with crop_per_clip {self.crops} '
                f'are {size / 1e9:.1f} GB for each video; at most {MOST_BYTES / 1e9:.1f} GB'
            )
        if self.has_start_frames and self.clips > 1:
            raise InputError(
                f'decode_type {self.decode_type} takes one clip a record; '
                f'clip_per_video is {self.clips}'
            )
        if self.clip_starts and self.decode_type != 'uniform':
            raise InputError(
                f'clip_start_positions need decode_type uniform, not {self.decode_type}'
            )
        if self.random_crop and self.crops > 1:
            raise InputError(f'random_crop takes one crop a clip; crop_per_clip is {self.crops}')

    @property
    def has_start_frames(self) -> bool:
        """Whether each record says where its clip begins."""
        return self.decode_type in ('start', 'frame')

    @property
    def num_clips(self) -> int:
        return len(self.clip_starts) or self.clips

    @property
    def rows(self) -> int:
        """Rows that one video gives: clip by clip, crop by crop."""
        return self.num_clips * self.crops

    @functools.cached_property
    def offsets(self) -> list[int]:
        """Offsets from a clip's first frame of every frame that it needs."""
        if self.flow:
            return sampling.flow_offsets(length=self.length, rate=self.rate, gap=self.flow.gap)
        return sampling.rgb_offsets(length=self.length, rate=self.rate)

    @property
    def required(self) -> int:
        """Frames from a clip's first to its last."""
        return self.offsets[-1] + 1
