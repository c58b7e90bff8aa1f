"""From class probabilities of clips to a video's prediction, and running totals over videos."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Callable

import numpy as np

from r2plus1d.errors import InputError

AGGREGATIONS: dict[str, Callable[..., np.ndarray]] = {'mean': np.mean, 'max': np.max}


@dataclasses.dataclass(frozen=True)
class VideoScore:
    """What was predicted for one video.

    Attributes:
        probabilities: float32 (num_labels,), the clips' aggregated.
        ranking: class indices, the most probable first; of equal ones the lower index.
        labels: the video's class indices.
        num_clips: rows that were scored: clips times crops.
        clips_right: rows whose most probable class is one of `labels`.
    """

    probabilities: np.ndarray
    ranking: np.ndarray
    labels: tuple[int, ...]
    num_clips: int
    clips_right: int

    def right_within(self, k: int) -> bool:
        """Whether one of the k most probable classes is a label."""
        return bool(np.isin(self.ranking[:k], self.labels).any())


def score_video(
    probabilities: np.ndarray, labels: Sequence[int], *, aggregation: str = 'mean'
) -> VideoScore:
    """Score one video.

    Args:
        probabilities: (rows, num_labels), a row for each clip and crop.
        labels: class indices.
        aggregation: `mean` or `max` over the rows.
    """
    combined = AGGREGATIONS[aggregation](probabilities, axis=0)
    clips_right = int(np.isin(probabilities.argmax(axis=1), labels).sum())
    return VideoScore(combined, rank(combined), tuple(labels), len(probabilities), clips_right)


def rank(probabilities: np.ndarray) -> np.ndarray:
    """Class indices from the most to the least probable; ties in the order of the index."""
    return np.argsort(-probabilities, kind='stable')


class Accuracy:
    """Running clip, top-1 and top-k accuracy; memory does not grow with the videos."""

    def __init__(self, top_k: int) -> None:
        if top_k < 1:
            raise InputError(f'top_k is {top_k}; at least 1')
        self.top_k = top_k
        self.videos = self.clips = self.clips_right = self.top1_right = self.topk_right = 0

    def add(self, score: VideoScore) -> None:
        self.videos += 1
        self.clips += score.num_clips
        self.clips_right += score.clips_right
        self.top1_right += score.right_within(1)
        self.topk_right += score.right_within(self.top_k)

    @property
    def shares(self) -> tuple[float, float, float]:
        """(clip, top-1, top-k) accuracy in 0 to 1; 0 before any video."""
        return (
            _share(self.clips_right, self.clips),
            _share(self.top1_right, self.videos),
            _share(self.topk_right, self.videos),
        )

    def __str__(self) -> str:
        clip, top1, topk = self.shares
        return f'clip: {clip:.5f}, top 1: {top1:.5f}, top{self.top_k}: {topk:.5f}'


class MeanAveragePrecision:
    """Mean over classes of the average precision over videos, for videos with several labels.

    Ranking needs all scores: memory grows by 5 bytes a video and class.
    """

    def __init__(self) -> None:
        self._scores: list[np.ndarray] = []
        self._truths: list[np.ndarray] = []

    @property
    def videos(self) -> int:
        return len(self._scores)

    @property
    def shares(self) -> tuple[float, float, float]:
        """As Accuracy's: the mean average precision in the place of top-1, NaN for the others."""
        return math.nan, self.value, math.nan

    def add(self, score: VideoScore) -> None:
        truth = np.zeros(len(score.probabilities), bool)
        truth[list(score.labels)] = True
        self._scores.append(score.probabilities.astype(np.float32))
        self._truths.append(truth)

    @property
    def value(self) -> float:
        """The mean over the classes that occur, in 0 to 1; 0 before any video."""
        if not self._scores:
            return 0.0
        scores, truths = np.stack(self._scores), np.stack(self._truths)
        occurring = np.flatnonzero(truths.any(axis=0))
        return float(np.mean([average_precision(scores[:, c], truths[:, c]) for c in occurring]))

    def __str__(self) -> str:
        return f'mean average precision: {self.value:.5f}'


def average_precision(scores: np.ndarray, truths: np.ndarray) -> float:
    """Mean precision at the rank of each true entry; equal scores share the last one's rank.

    Args:
        scores: (videos,) of any float type.
        truths: (videos,) bool, at least one true.
    """
    order = np.argsort(-scores, kind='stable')
    scores, truths = scores[order], truths[order]
    last_of_equals = np.searchsorted(-scores, -scores, side='right') - 1
    precision = np.cumsum(truths)[last_of_equals] / (last_of_equals + 1)
    return float(precision[truths].mean())


def _share(part, whole):
    return part / whole if whole else 0.0
