"""Videos of one moving object, whose class is its motion: drawn from a seed, for the sample.

No single frame tells a class. The object's state is (x, y, angle, size), each component a number
in [0, 1) that wraps; a class moves one of them one way and leaves the others alone:

    class              left  right  up  down  clockwise  counterclockwise  zoom_in  zoom_out
    component           x     x     y    y      angle         angle          size     size
    direction           -     +     -    +        +             -             +         -

States begin uniform and so stay uniform: in every frame of every class, place, angle and size
have the same distribution. Speeds are per frame, at the size that networks see.
"""

import dataclasses
import math
from collections.abc import Iterator

import cv2
import numpy as np

MOTIONS = {
    'left': ('x', -1),
    'right': ('x', +1),
    'up': ('y', -1),
    'down': ('y', +1),
    'clockwise': ('angle', +1),
    'counterclockwise': ('angle', -1),
    'zoom_in': ('size', +1),
    'zoom_out': ('size', -1),
}
CLASSES = tuple(MOTIONS)
COMPONENTS = ('x', 'y', 'angle', 'size')

# Where the object's centre goes, in widths and heights; its diameter, in short sides of the frame
X_RANGE = (0.26, 0.74)
Y_RANGE = (0.22, 0.78)
SIZE_RANGE = (0.28, 0.62)

# Slowest and fastest, per frame: pixels of a frame resized to 171 x 128, degrees, growth
RESIZED = {'x': 171, 'y': 128}
PIXELS_PER_FRAME = (1.5, 3.5)
DEGREES_PER_FRAME = (4.0, 10.0)
GROWTH_PER_FRAME = (0.02, 0.04)

# The camera, the same for all classes, in pixels of the resized frame
SHAKE = 0.2
DRIFT_PER_FRAME = 0.25

NOISE_RANGE = (1.0, 4.0)  # grey levels
NOISE_SLACK = 64


@dataclasses.dataclass(frozen=True)
class Scene:
    """All that the frames of a video are drawn from.

    Attributes:
        size: width and height in pixels.
        path: float, num_frames x 4: COMPONENTS in [0, 1).
        camera: float, num_frames x 2: displacement of everything, in pixels.
        drift: float, num_frames x 2: displacement of the background alone, in pixels.
        texture: uint8 S x S x 4, the object: RGB and opacity.
        background: uint8 RGB, larger than the frame by `margin` on all sides.
        noise: int8 3-channel, a tile larger than the frame by NOISE_SLACK.
        noise_at: int, num_frames x 2: which part of the tile a frame gets.
    """

    size: tuple[int, int]
    path: np.ndarray
    camera: np.ndarray
    drift: np.ndarray
    texture: np.ndarray
    background: np.ndarray
    margin: int
    noise: np.ndarray
    noise_at: np.ndarray


def make_scene(
    label: str, rng: np.random.Generator, *, size: tuple[int, int], num_frames: int
) -> Scene:
    """The Scene of a class of CLASSES.

    Args:
        rng: a numpy Generator; in the same state it gives every class the same first frame.
        size: width and height in pixels.
    """
    width, height = size
    pixel = min(width / RESIZED['x'], height / RESIZED['y'])
    heading = rng.uniform(0, 2 * math.pi)
    pace = rng.uniform(0, DRIFT_PER_FRAME) * pixel
    velocity = pace * np.array([math.cos(heading), math.sin(heading)])
    drift = velocity * (np.arange(num_frames)[:, None] - num_frames / 2)
    camera = rng.normal(0, SHAKE * pixel, (num_frames, 2)).clip(-3 * pixel, 3 * pixel)
    margin = math.ceil(np.abs(drift + camera).max()) + 2
    canvas = (width + 2 * margin, height + 2 * margin)
    tile = rng.normal(0, rng.uniform(*NOISE_RANGE), (height + NOISE_SLACK, width + NOISE_SLACK, 3))
    palette = _palette(rng)
    return Scene(
        size=size,
        path=state_path(label, rng.uniform(size=4), random_speed(label, rng), num_frames),
        camera=camera,
        drift=drift,
        texture=_object(rng, round(0.45 * min(size)), palette[2:]),
        background=_background(rng, canvas, palette[:2]),
        margin=margin,
        noise=tile.round().clip(-127, 127).astype(np.int8),
        noise_at=rng.integers(0, NOISE_SLACK, (num_frames, 2)),
    )


def random_speed(label: str, rng: np.random.Generator) -> float:
    """How much of its range the moving component of a class covers in a frame."""
    component, _ = MOTIONS[label]
    if component == 'angle':
        return rng.uniform(*DEGREES_PER_FRAME) / 360
    if component == 'size':
        smallest, largest = SIZE_RANGE
        return math.log1p(rng.uniform(*GROWTH_PER_FRAME)) / math.log(largest / smallest)
    low, high = {'x': X_RANGE, 'y': Y_RANGE}[component]
    return rng.uniform(*PIXELS_PER_FRAME) / RESIZED[component] / (high - low)


def state_path(label: str, start: np.ndarray, speed: float, num_frames: int) -> np.ndarray:
    """States of the frames, num_frames x 4: one component moves, and begins anew at its end."""
    component, direction = MOTIONS[label]
    path = np.tile(np.asarray(start, float), (num_frames, 1))
    column = COMPONENTS.index(component)
    path[:, column] += direction * speed * np.arange(num_frames)
    return path % 1


def pose(state: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """A state in pixels and radians: centre x, centre y, angle (clockwise), diameter."""
    x, y, angle, scale = state
    smallest, largest = SIZE_RANGE
    return (
        (X_RANGE[0] + x * (X_RANGE[1] - X_RANGE[0])) * size[0],
        (Y_RANGE[0] + y * (Y_RANGE[1] - Y_RANGE[0])) * size[1],
        2 * math.pi * angle,
        smallest * (largest / smallest) ** scale * min(size),
    )


def render(scene: Scene, *, noisy: bool = True) -> Iterator[np.ndarray]:
    """Yield the frames of a Scene, uint8 H x W x 3, RGB."""
    width, height = scene.size
    for number, state in enumerate(scene.path):
        dx, dy = scene.camera[number]
        shift = scene.camera[number] + scene.drift[number] - scene.margin
        matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
        frame = cv2.warpAffine(scene.background, matrix, scene.size)
        x, y, angle, diameter = pose(state, scene.size)
        _draw(frame, scene.texture, x + dx, y + dy, angle, diameter)
        if noisy:
            top, left = scene.noise_at[number]
            noise = scene.noise[top : top + height, left : left + width]
            frame = cv2.add(frame, noise, dtype=cv2.CV_8U)
        yield frame


def _draw(frame, texture, x, y, angle, diameter):
    """Draw the object into a frame, with its centre at (x, y), pixel centres being integers."""
    height, width = frame.shape[:2]
    reach = diameter / 2 + 2
    left, right = max(0, math.floor(x - reach)), min(width, math.ceil(x + reach) + 1)
    top, bottom = max(0, math.floor(y - reach)), min(height, math.ceil(y + reach) + 1)
    scale = diameter / len(texture)
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    middle = (len(texture) - 1) / 2
    matrix = np.array(
        [
            [cos, -sin, x - left - (cos - sin) * middle],
            [sin, cos, y - top - (sin + cos) * middle],
        ]
    )
    drawn = cv2.warpAffine(texture, matrix, (right - left, bottom - top)).astype(np.float32)
    opacity = drawn[..., 3:] / 255
    part = frame[top:bottom, left:right]
    part[:] = np.rint(part + (drawn[..., :3] - part) * opacity)


def _smooth_noise(rng, size, cells):
    """float32 in 0..1, width x height, with `cells` bumps along the short side."""
    step = min(size) / cells
    grid = rng.uniform(size=[math.ceil(side / step) + 1 for side in size[::-1]])
    noise = cv2.resize(grid.astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return cv2.normalize(noise, None, 0, 1, cv2.NORM_MINMAX)


def _palette(rng):
    """Five RGB colours, float 0..255: two alike for the background, three that stand out."""
    hue = rng.uniform(0, 360)
    hues = hue + np.array([0, 25, 150, 210, 180]) + rng.uniform(-20, 20, 5)
    dark = rng.uniform() < 0.5
    lightness = [0.30, 0.48, 0.62, 0.88, 0.50] if dark else [0.75, 0.57, 0.48, 0.22, 0.58]
    saturation = rng.uniform([0.10, 0.10, 0.30, 0.20, 0.40], [0.35, 0.35, 0.60, 0.45, 0.65])
    hls = np.stack([hues % 360, lightness, saturation], axis=-1).astype(np.float32)
    return 255 * cv2.cvtColor(hls[None], cv2.COLOR_HLS2RGB)[0]


def _background(rng, size, colours):
    coarse, fine = _smooth_noise(rng, size, rng.uniform(2, 4)), _smooth_noise(rng, size, 12)
    blend = (0.75 * coarse + 0.25 * fine)[..., None]
    return np.rint(colours[0] + (colours[1] - colours[0]) * blend).astype(np.uint8)


def _object(rng, side, colours):
    """A patterned shape, uint8 side x side x 4, with a dark rim and without symmetry."""
    line = np.linspace(-1, 1, side, dtype=np.float32)
    x, y = np.meshgrid(line, line)
    inside = _outline(rng, np.arctan2(y, x)) - np.hypot(x, y)  # > 0: that far from the edge
    image = np.broadcast_to(colours[0], (side, side, 3))
    for colour in colours[1:]:
        patches = _smooth_noise(rng, (side, side), rng.uniform(3, 5))
        weight = (0.5 + 12 * (patches - np.median(patches) - 0.05)).clip(0, 1)[..., None]
        image = image + (colour - image) * weight
    rim = (1 - 14 * inside).clip(0, 1)[..., None]
    image = image * (1 - 0.7 * rim)
    opacity = 255 * (0.5 + inside * side / 2).clip(0, 1)
    return np.rint(np.dstack([image, opacity])).astype(np.uint8)


def _outline(rng, theta):
    """Radius of a random shape in the direction theta, at most about 0.97."""
    corners = rng.integers(3, 7)
    kind = rng.integers(4)
    turned = theta + rng.uniform(0, 2 * math.pi)
    if kind == 0:  # disc
        return np.full_like(theta, 0.95)
    if kind == 1:  # polygon
        part = 2 * math.pi / corners
        return 0.97 * math.cos(part / 2) / np.cos(turned % part - part / 2)
    if kind == 2:  # flower
        return 0.77 + 0.2 * np.cos(corners * turned)
    amplitudes, phases = rng.uniform(0.03, 0.1, 3), rng.uniform(0, 2 * math.pi, 3)
    waves = [a * np.cos(n * theta + p) for n, a, p in zip((2, 3, 4), amplitudes, phases)]
    return 0.70 + sum(waves)
