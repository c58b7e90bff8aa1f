"""Words in pictures, sharp at any size, in every script that the plots' own font has."""

import contextlib
import functools
import warnings

import numpy as np

from r2plus1d.errors import InputError

DPI = 72  # at which a point is a pixel
SMALLEST = 11  # pixels; below it letters cannot be told apart
SHORTENED = '\N{HORIZONTAL ELLIPSIS}'


def require_matplotlib() -> None:
    """Raise InputError where the package that draws plots and letters is not installed."""
    try:
        import matplotlib.textpath  # noqa: F401
    except ModuleNotFoundError:
        raise InputError('plots and captions need matplotlib: pip install matplotlib') from None


@functools.lru_cache(maxsize=1024)
def letters(text: str, pixels: int, room: int) -> np.ndarray:
    """Return the opacity of a line of text, float32 (2 * pixels, at most `room`), 0 to 1.

    What does not fit is drawn smaller, and at the smallest size is shortened. A letter that the
    font lacks becomes a box.

    Args:
        pixels: size of the letters; twice as many rows have room for all of them.
        room: width, in pixels.
    """
    text, size = text[: room + 1], float(pixels)  # no letter is narrower than a pixel
    while (width := _width(text, size)) > room and size > SMALLEST:
        size = max(SMALLEST, size * min(0.97, room / width))
    while text and (width := _width(text, size)) > room:
        kept = min(len(text) - 2, len(text) * room // width)
        text = text[:kept].rstrip() + SHORTENED if kept > 0 else ''
    return _drawn(text, size, min(room, _width(text, size) + 1), 2 * pixels)


def _width(text, size):
    from matplotlib.backends.backend_agg import RendererAgg

    with _missing_glyphs_are_boxes():
        width, _, _ = RendererAgg(1, 1, DPI).get_text_width_height_descent(
            text, _font(size), ismath=False
        )
    return int(np.ceil(width))


def _drawn(text, size, width, height):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    width = max(1, width)
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    figure.patch.set_facecolor('black')
    canvas = FigureCanvasAgg(figure)
    figure.text(
        0, 0.5, text, color='white', va='center_baseline', fontproperties=_font(size),
        parse_math=False,
    )  # fmt: skip
    with _missing_glyphs_are_boxes():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, 0].astype(np.float32) / 255


def _font(size):
    from matplotlib.font_manager import FontProperties

    return FontProperties(size=size)


@contextlib.contextmanager
def _missing_glyphs_are_boxes():
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')
        yield
