"""Scores of videos: their accuracy, and a CSV of the best classes of each."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Optional

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.evaluation.metrics import rank
from r2plus1d.results.class_names import require_different
from r2plus1d.results.complete import complete_csv
from r2plus1d.results.given_file import require_given
from r2plus1d.results.hold import holding
from r2plus1d.results.known_classes import COUNTS, is_known

TOP_K = 5  # of the second accuracy


@dataclasses.dataclass(frozen=True, eq=False)
class VideoScores:
    """V videos and a score of each for each of C classes.

    Attributes:
        video_ids: int64 (V,), ascending.
        labels: int64 (V,).
        scores: float64 (V, C); the classes are ranked by it, equal ones by their index.
        weights: (V,) what the scores of a video are divided by for a probability.
        counts: further columns of the predictions, name to (V,).
    """

    video_ids: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    weights: np.ndarray
    counts: Mapping[str, np.ndarray]

    @property
    def shares(self) -> tuple[float, float]:
        """(top-1, top-5) accuracy in 0 to 1."""
        own = np.take_along_axis(self.scores, self.labels[:, None], axis=1)
        lower = np.arange(self.scores.shape[1]) < self.labels[:, None]
        before = ((self.scores > own) | (self.scores == own) & lower).sum(axis=1)
        return float((before < 1).mean()), float((before < TOP_K).mean())

    def __str__(self) -> str:
        top1, top5 = self.shares
        return f'top1 {top1:.5f}, top{TOP_K} {top5:.5f}'


def write_predictions(
    path: Optional[pathlib.Path],
    videos: VideoScores,
    *,
    top_k: int,
    class_names: Optional[Sequence[str]] = None,
) -> None:
    """Write a CSV row for each of `videos`, a VideoScores: id, label, best classes, counts.

    Raises:
        InputError: two classes have one name, or another run writes the CSV.
    """
    require_different(class_names or ())
    top = range(1, min(top_k, videos.scores.shape[1]) + 1)
    classes = [name for k in top for name in (f'top{k}', f'probability{k}')]
    names = class_names or range(videos.scores.shape[1])
    columns = ['video_id', 'label', *classes, *videos.counts]
    with holding(path), complete_csv(path, columns) as write:
        for i, (video_id, label) in enumerate(zip(videos.video_ids, videos.labels)):
            best = rank(videos.scores[i])[:top_k]
            probabilities = videos.scores[i] / videos.weights[i]
            pairs = [(names[c], f'{probabilities[c]:.6f}') for c in best]
            counts = [count[i] for count in videos.counts.values()]
            write([video_id, names[label], *[v for pair in pairs for v in pair], *counts])


def require_names(path: Optional[pathlib.Path]) -> None:
    """Raise InputError unless `path` is a file or a known list of class names, or None."""
    if path is None or is_known(path):
        return
    try:
        require_given(path)
    except FileNotFoundError:
        known = ', '.join(COUNTS)
        raise InputError(
            f'labels is {path}, which is no file; class names, one a line, or one of {known}'
        ) from None
