"""Two networks' scores of the same videos, weighted: alpha of the first, 1 - alpha of the second.

The sums over the clips are weighted, as the original does it, so a side with twice the clips of
the other weighs twice as much at an alpha of 0.5.
"""

import dataclasses

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.evaluation.predictions import VideoScores

SWEEP = tuple(i / 20 for i in range(21))


@dataclasses.dataclass(frozen=True, eq=False)
class Sides:
    """The videos that two VideoSums have in common, and those that they do not.

    Attributes:
        first, second: entries of VideoSums.table, of the same videos, ascending by video id.
        only_first, only_second: int64 video ids, ascending.
    """

    first: np.ndarray
    second: np.ndarray
    only_first: np.ndarray
    only_second: np.ndarray

    def fuse(self, alpha):
        """VideoScores of alpha times the first sums and 1 - alpha times the second."""

        def weighted(field):
            return alpha * self.first[field] + (1 - alpha) * self.second[field]

        counts = {'clips1': self.first['clips'], 'clips2': self.second['clips']}
        return VideoScores(
            video_ids=self.first['video_id'],
            labels=self.first['label'],
            scores=weighted('sums'),
            weights=weighted('summed'),
            counts=counts,
        )


def match(sums1, sums2, names):
    """Return the Sides of two VideoSums.

    Args:
        names: of the two sides, for errors.

    Raises:
        InputError: no common video, one with two labels, or different classes.
    """
    if sums1.num_labels != sums2.num_labels:
        raise InputError(
            f'{names[0]} has {sums1.num_labels} classes, {names[1]} has {sums2.num_labels}'
        )
    first, second = sums1.table, sums2.table
    ids, of_first, of_second = np.intersect1d(
        first['video_id'], second['video_id'], assume_unique=True, return_indices=True
    )
    if not len(ids):
        raise InputError(
            f'{names[0]} ({len(first)} videos) and {names[1]} ({len(second)}) '
            'have no video id in common'
        )
    sides = Sides(
        first[of_first],
        second[of_second],
        np.delete(first['video_id'], of_first),
        np.delete(second['video_id'], of_second),
    )
    _require_same_labels(sides, names)
    return sides


def _require_same_labels(sides, names):
    wrong = np.flatnonzero(sides.first['label'] != sides.second['label'])
    if len(wrong):
        one, other = sides.first[wrong[0]], sides.second[wrong[0]]
        raise InputError(
            f'video {one["video_id"]} has label {one["label"]} in {names[0]} '
            f'and label {other["label"]} in {names[1]}'
        )


def best(shares):
    """The alpha with the highest top-1 accuracy; of equal ones the lowest.

    Args:
        shares: dict from alpha to (top-1, top-5).
    """
    return max(sorted(shares), key=lambda alpha: shares[alpha][0])
