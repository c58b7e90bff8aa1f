"""The parts of an annotated frame: the picture, its colours of a heat map, the panel under it."""

import dataclasses
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from r2plus1d.pictures.lettering import letters
from r2plus1d.video.shown import ShownFrame

SMALLEST_WIDTH = 480  # pixels; smaller videos are enlarged, so that names have room
MOST_ENLARGED, MOST_HEIGHT = 8, 2160  # so that no strip of a video becomes a huge one
MOST_ASPECT = 8  # of a pixel; what a file says beyond it is not believed
LETTERS = (14, 96)  # smallest and largest, in pixels
GROUND, BAR_GROUND = (24, 24, 24), (60, 60, 60)
BEST, OTHER = (255, 176, 0), (100, 143, 255)  # apart by brightness too
NAME_SHARE, NUMBER_SHARE = 0.54, 0.12  # of the width
OPACITY = 0.65  # of the hottest place


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes in pixels, all even but the letters'.

    Attributes:
        width, height: of the picture, in which the frame stands in the middle.
        frame_width: of the frame; its height is the picture's.
        letters: size of the letters of the panel.
    """

    width: int
    height: int
    frame_width: int
    letters: int

    @classmethod
    def of(cls, frame: ShownFrame) -> 'Layout':
        """Return the Layout of a video, from its first frame."""
        high, wide = (float(side) for side in frame.pixels.shape[:2])
        aspect = float(frame.aspect)
        wide *= aspect if 1 / MOST_ASPECT <= aspect <= MOST_ASPECT else 1
        if frame.turned % 180:
            wide, high = high, wide
        factor = max(1.0, min(SMALLEST_WIDTH / wide, MOST_ENLARGED, MOST_HEIGHT / high))
        width, height = _even(wide * factor), _even(high * factor)
        full = max(width, SMALLEST_WIDTH)
        size = min(full / 32, height / 28)
        return cls(full, height, width, round(min(max(size, LETTERS[0]), LETTERS[1])))

    def fitted(self, pixels: np.ndarray) -> np.ndarray:
        """Return a frame in the size of the picture."""
        if pixels.shape[:2] != (self.height, self.frame_width):
            enlarges = pixels.shape[1] < self.frame_width
            how = cv2.INTER_CUBIC if enlarges else cv2.INTER_AREA
            pixels = cv2.resize(pixels, (self.frame_width, self.height), interpolation=how)
        spare = self.width - self.frame_width
        return np.pad(pixels, ((0, 0), (spare // 2, spare - spare // 2), (0, 0)))


def _even(side: float) -> int:
    return 2 * max(1, round(side / 2))


def turn(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """Return a frame turned counterclockwise by a multiple of 90 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, degrees // 90))


def blend(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a frame, uint8 H x W x 3, coloured where `heat`, float32 (H, W) of 0 to 1, is."""
    levels = np.rint(255 * heat.clip(0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    opacity = (OPACITY * heat.clip(0, 1))[..., None]
    return np.rint(pixels + (colours - pixels.astype(np.float32)) * opacity).astype(np.uint8)


class Panel:
    """The classes under the picture: a row for each, with its name, a bar and a percentage.

    Args:
        layout: Layout.
        names: of the classes, in the order of the rows.
    """

    def __init__(self, layout: Layout, names: Sequence[str]) -> None:
        self._layout, self._row = layout, 2 * layout.letters
        self._gap = layout.letters // 2
        height = self._row * len(names) + 2 * self._gap
        self._ground = np.full((height + height % 2, layout.width, 3), GROUND, np.uint8)
        room = round(NAME_SHARE * layout.width) - 2 * self._gap
        for number, name in enumerate(names):
            self._write(self._ground, letters(name, layout.letters, room), number, self._gap)
        self._bar = round(NAME_SHARE * layout.width), round((1 - NUMBER_SHARE) * layout.width)

    def drawn(self, probabilities: Iterable[float]) -> np.ndarray:
        """Return the panel with bars of these probabilities, uint8 height x width x 3."""
        picture = self._ground.copy()
        for number, value in enumerate(probabilities):
            self._draw_bar(picture, float(value), number)
            room = self._layout.width - self._bar[1] - 2 * self._gap
            text = letters(f'{100 * value:.0f}%', self._layout.letters, room)
            left = self._layout.width - self._gap - text.shape[1]
            self._write(picture, text, number, left)
        return picture

    def _draw_bar(self, picture, value, number):
        left, right = self._bar
        top = self._gap + number * self._row + self._row // 4
        bottom = top + self._row // 2
        picture[top:bottom, left:right] = BAR_GROUND
        picture[top:bottom, left : left + round(value * (right - left))] = OTHER if number else BEST

    def _write(self, picture, opacity, number, left):
        top = self._gap + number * self._row
        part = picture[top : top + opacity.shape[0], left : left + opacity.shape[1]]
        part[:] = np.rint(part + (255 - part.astype(np.float32)) * opacity[..., None])
