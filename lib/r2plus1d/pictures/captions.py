"""What stands above each clip of a contact sheet: its label, its record and its prediction."""

import dataclasses
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Optional

import numpy as np

if TYPE_CHECKING:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

HEIGHT = 28  # pixels
_FONT_PIXELS = 16
_MARGIN = 8
_DPI = 72  # at which a point is a pixel
# Apart by brightness as well, for those who see red and green alike
_GROUNDS = {None: '#202020', True: '#0b5d1e', False: '#c62828'}


@dataclasses.dataclass(frozen=True)
class Caption:
    """The words above one clip.

    Attributes:
        text: from the left: the label and, if there is one, the prediction.
        place: from the right: the record and the clip's first frame.
        is_right: whether the predicted class is a label; None without a prediction.
    """

    text: str
    place: str
    is_right: Optional[bool] = None


def make_captions(
    *,
    labels: np.ndarray,
    keys: np.ndarray,
    starts: np.ndarray,
    probabilities: Optional[np.ndarray] = None,
    class_names: Optional[Sequence[str]] = None,
) -> Iterator[Caption]:
    """Yield the Caption of each row.

    Args:
        labels: int (rows,), or 0/1 (rows, num_labels).
        keys, starts: text and int (rows,), the record's key and the clip's first frame.
        probabilities: float (rows, num_labels), or None where no network was run.
        class_names: num_labels texts; classes are shown as numbers without them.
    """
    for row, (label, key, start) in enumerate(zip(labels, keys, starts)):
        true = [int(label)] if np.ndim(label) == 0 else np.flatnonzero(label).tolist()
        names = ' + '.join(_name(c, class_names) for c in true)
        text, place = f'label: {names}', f'record {key}, from frame {start}'
        if probabilities is None:
            yield Caption(text, place)
            continue
        best = int(probabilities[row].argmax())
        mark = '\N{CHECK MARK} right' if best in true else '\N{BALLOT X} wrong'
        said = f'predicted: {_name(best, class_names)}, {probabilities[row, best]:.4f}'
        yield Caption(f'{text}     {said}  {mark}', place, best in true)


def _name(label: int, class_names: Optional[Sequence[str]]) -> str:
    return class_names[label] if class_names else str(label)


def draw_caption(caption: Caption, width: int) -> np.ndarray:
    """Return the picture of a Caption, uint8 HEIGHT x `width` x 3 in RGB.

    What does not fit is drawn smaller. A letter that matplotlib's own font lacks becomes a box.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / _DPI, HEIGHT / _DPI), dpi=_DPI)
    figure.set_facecolor(_GROUNDS[caption.is_right])
    canvas = FigureCanvasAgg(figure)
    left = figure.text(_MARGIN / width, 0.5, caption.text, ha='left')
    right = figure.text(1 - _MARGIN / width, 0.5, caption.place, ha='right')
    for text in (left, right):
        text.set(color='white', va='center_baseline', parse_math=False)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph .* missing')
        _set_size(canvas, (left, right), room=width - 4 * _MARGIN)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _set_size(canvas: 'FigureCanvasAgg', texts: 'Sequence[Text]', *, room: float) -> None:
    """Make texts so small that together they fit into `room` pixels of width."""
    size: float = _FONT_PIXELS
    while True:
        for text in texts:
            text.set_fontsize(size)
        width = sum(text.get_window_extent(canvas.get_renderer()).width for text in texts)
        if width <= room or size < 1:
            return
        size *= min(0.97, room / width)  # letters of rounded size do not shrink in proportion
