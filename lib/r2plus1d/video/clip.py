"""From the frames of one video to its clips: cropped, mirrored, as pixels or as optical flow."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np

from r2plus1d.networks.input import Input, normalize_rgb
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.flow import Flows
from r2plus1d.video.picture import Picture
from r2plus1d.video.resize import crop_offsets, output_size, random_crop_offset


class Work(NamedTuple):
    """What it took to make clips: counts of frames, and of flows between two frames."""

    decoded: int = 0
    converted: int = 0
    flows: int = 0

    def __add__(self, other: 'Work') -> 'Work':  # type: ignore[override]
        return Work(*(a + b for a, b in zip(self, other)))

    def __sub__(self, other: 'Work') -> 'Work':
        return Work(*(a - b for a, b in zip(self, other)))


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of one record.

    Attributes:
        pixels: uint8 rows x C x T x H x W for RGB; for flow float32, already normalized.
        starts: int64 (rows,), the first frame of each row's clip.
        seconds: float64 (rows, 2), where each row's clip begins and ends; NaN if not known.
        num_undecodable: packets that could not be decoded on the way to these clips, and
            frames that FFmpeg marks as damaged.
        work: what was done on the way to them.
        truncated: how the file was cut short, where such a file is used and that is news.
        complaint: what else is wrong with the file, as Video.complaint says, where that is news.
    """

    pixels: np.ndarray
    starts: np.ndarray
    seconds: np.ndarray
    num_undecodable: int = 0
    work: Work = Work()
    truncated: Optional[str] = None
    complaint: Optional[str] = None


class Crop(NamedTuple):
    """A square of a frame: its top left corner in pixels, and whether it is mirrored."""

    top: int
    left: int
    mirrored: bool


class Frames:
    """The cropped frames of one video that its clips are made of.

    Args:
        video: decode.Video.
        settings: ClipSettings.

    Attributes:
        size: (width, height) to which frames are converted before they are cropped.
    """

    def __init__(self, video: Video, settings: ClipSettings) -> None:
        self._video, self._settings = video, settings
        self._held: dict[tuple[int, Crop], np.ndarray] = {}
        self._flows = Flows(settings) if settings.flow else None
        self.size = output_size(
            width=video.width, height=video.height, video_res_type=settings.video_res_type,
            scale_w=settings.scale_w, scale_h=settings.scale_h, short_edge=settings.short_edge,
            crop_size=settings.crop_size,
        )  # fmt: skip

    @property
    def work(self) -> Work:
        """The Work done on this video so far."""
        flows = self._flows.num_computed if self._flows else 0
        return Work(self._video.total_decoded, self._video.total_converted, flows)

    def crops(self, rng: np.random.Generator) -> list[Crop]:
        """The Crops of one clip; `rng` makes the random choices, if the settings ask for any."""
        width, height = self.size
        settings, side = self._settings, self._settings.crop_size
        if settings.random_crop:
            corners = [random_crop_offset(rng, width=width, height=height, crop_size=side)]
        else:
            corners = crop_offsets(width=width, height=height, crop_size=side, crops=settings.crops)
        mirrored = bool(settings.mirror and rng.random() < 0.5)
        return [Crop(top, left, mirrored) for top, left in corners]

    def crops_of_clips(self, rng: np.random.Generator, count: int) -> list[list[Crop]]:
        """Return the Crops of each of `count` clips; see `crops`."""
        if self._settings.random_crop or self._settings.mirror:
            return [self.crops(rng) for _ in range(count)]
        return [self.crops(rng)] * count

    def add_all(
        self, pictures: Iterable[Picture], wanted: Mapping[int, Iterable[Crop]]
    ) -> dict[int, float]:
        """Keep the crops of frames as they are decoded.

        Args:
            pictures: Pictures of `size`.
            wanted: {index: Crops} of each frame that comes.

        Returns:
            {index: seconds} of the frames that came.
        """
        seconds = {}
        for picture in pictures:
            self.add(picture.index, picture.pixels, wanted[picture.index])
            seconds[picture.index] = picture.seconds
        return seconds

    def add(self, index: int, pixels: np.ndarray, crops: Iterable[Crop]) -> None:
        """Keep these crops of a frame, uint8 H x W x 3 of `size`."""
        side = self._settings.crop_size
        for crop in crops:
            if (index, crop) not in self._held:
                part = pixels[crop.top : crop.top + side, crop.left : crop.left + side]
                self._held[index, crop] = part[:, ::-1] if crop.mirrored else part.copy()

    def forget_before(self, index: int) -> None:
        """Let go of the frames before one."""
        self._held = {key: part for key, part in self._held.items() if key[0] >= index}

    def clip(self, indices: Sequence[int], crops: Sequence[Crop]) -> np.ndarray:
        """Return one clip, a row for each crop: crops x C x T x H x W, as in Clips.pixels.

        Args:
            indices: of the frames at the settings' offsets, all of them added.
        """
        rows = []
        for crop in crops:
            keys = [(index, crop) for index in indices]
            frames = np.stack([self._held[key] for key in keys])
            flow = self._flows.clip(frames, keys) if self._flows else None
            rows.append(frames.transpose(3, 0, 1, 2) if flow is None else flow)
        return np.stack(rows)

    def clips(
        self, indices: Sequence[Sequence[int]], crops: Sequence[Sequence[Crop]]
    ) -> np.ndarray:
        """Return the rows of several clips, one clip after another, as in Clips.pixels.

        Args:
            indices, crops: of each clip, as `clip` takes them.
        """
        by_clip = [np.empty(0)] * len(indices)
        for clip in sorted(range(len(indices)), key=lambda i: indices[i][0]):
            by_clip[clip] = self.clip(indices[clip], crops[clip])  # neighbours share their flows
        return np.concatenate(by_clip)


def normalize(pixels: np.ndarray, settings: Input) -> np.ndarray:
    """Return what the network sees, float32 rows x C x T x H x W, of Clips.pixels."""
    if settings.flow:
        return pixels
    return normalize_rgb(pixels)


def rows_of(
    clips_starts: Sequence[int], clips_seconds: Sequence[tuple[float, float]], crops: int
) -> tuple[np.ndarray, np.ndarray]:
    """Repeat what is known of each clip for its crops: (starts, seconds) as in Clips."""
    starts = np.repeat(np.asarray(clips_starts, np.int64), crops)
    return starts, np.repeat(np.asarray(clips_seconds, np.float64).reshape(-1, 2), crops, axis=0)
