"""A confusion matrix as a picture: a row for each class, a column for what it was taken for."""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from r2plus1d.pictures.html_page import picture, shown

MOST_CLASSES = 600  # in one picture
COUNTED = 20  # classes up to which the numbers stand in the cells
CELLS = ((COUNTED, 36), (60, 18), (MOST_CLASSES, 12))  # (classes up to which, pixels of a cell)
LONGEST_NAME = 28  # letters
LETTER = 0.58  # width of a letter by its height
MARGIN = 8
WHITE, NO_VIDEOS = (255, 255, 255), (225, 225, 225)
RIGHT, WRONG = (19, 84, 158), (180, 40, 10)  # RGB of all videos of a class


def matrix_of(
    confused: Mapping[tuple[int, int], int], right: np.ndarray, classes: Sequence[int]
) -> np.ndarray:
    """Return int64 (K, K): videos of classes[i] whose best class is classes[j].

    Args:
        confused: {(label, best class): videos} of the wrong ones.
        right: (num_labels,) videos that are right.
    """
    place = {number: i for i, number in enumerate(classes)}
    matrix = np.diag(right[list(classes)])
    for (label, best), count in confused.items():
        if label in place and best in place:
            matrix[place[label], place[best]] = count
    return matrix


def choose_classes(videos: np.ndarray) -> list[int]:
    """Return the numbers of the classes that a picture shows: all, or those with most videos."""
    most = np.argsort(-videos, kind='stable')[:MOST_CLASSES]
    return sorted(most.tolist())


def draw_matrix(matrix: np.ndarray, videos: np.ndarray, names: Sequence[str]) -> str:
    """Return the picture as SVG in HTML, with the names beside it.

    Args:
        matrix: of matrix_of.
        videos: (K,) videos of each row's class.
        names: K names, as text.
    """
    count = len(matrix)
    cell = next(pixels for most, pixels in CELLS if count <= most)
    size = min(13.0, 0.8 * cell)
    short = [_shortened(name) for name in names]
    edge = round(max(map(len, short)) * LETTER * size) + 2 * MARGIN
    side = edge + count * cell
    parts = [
        f'<svg class="matrix" viewBox="0 0 {side} {side}" width="{side}" height="{side}" '
        f'font-size="{size:g}" role="img" aria-label="confusion matrix">',
        f'<image x="{edge}" y="{edge}" width="{count * cell}" height="{count * cell}" '
        f'href="{picture("png", _encode(_colours(matrix, videos)))}"/>',
        f'<rect x="{edge}" y="{edge}" width="{count * cell}" height="{count * cell}"/>',
        *_names(short, edge, cell, size),
        *(_numbers(matrix, videos, edge, cell, size) if count <= COUNTED else ()),
        '</svg>\n',
    ]
    return '\n'.join(parts)


def _shortened(name):
    if len(name) <= LONGEST_NAME:
        return name
    return f'{name[: LONGEST_NAME - 1]}\N{HORIZONTAL ELLIPSIS}'


def _colours(matrix, videos):
    """uint8 (K, K, 3) RGB: the share of the row's videos, in blue where right, in red where not."""
    shares = np.sqrt(matrix / np.maximum(videos, 1)[:, None])[..., None]  # few are seen too
    full = np.where(np.eye(len(matrix), dtype=bool)[..., None], RIGHT, WRONG)
    colours = np.rint(WHITE + shares * (full - np.array(WHITE)))
    colours[videos == 0] = NO_VIDEOS
    return colours.astype(np.uint8)


def _encode(pixels):
    done, data = cv2.imencode('.png', np.ascontiguousarray(pixels[..., ::-1]))
    assert done
    return data.tobytes()


def _names(names, edge, cell, size):
    for i, name in enumerate(names):
        along = edge + (i + 0.5) * cell + 0.35 * size
        yield (
            f'<text class="row" x="{edge - MARGIN}" y="{along:.1f}" text-anchor="end">'
            f'{shown(name)}</text>'
        )
        yield (
            f'<text transform="translate({along:.1f} {edge - MARGIN}) rotate(-90)">'
            f'{shown(name)}</text>'
        )


def _numbers(matrix, videos, edge, cell, size):
    for i, j in zip(*np.nonzero(matrix)):
        x, y = edge + (j + 0.5) * cell, edge + (i + 0.5) * cell + 0.35 * size
        is_dark = matrix[i, j] > 0.3 * videos[i]
        yield (
            f'<text x="{x:g}" y="{y:.1f}" text-anchor="middle" '
            f'fill="{"#fff" if is_dark else "#000"}">{matrix[i, j]}</text>'
        )
