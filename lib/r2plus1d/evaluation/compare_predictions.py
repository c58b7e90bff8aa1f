"""Two runs on the same videos, video by video: what one has right and the other has not."""

from collections.abc import Sequence
from typing import Callable, NamedTuple

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.evaluation.intervals import mcnemar, wilson
from r2plus1d.evaluation.outcomes import Outcome
from r2plus1d.evaluation.read_predictions import Predictions

LOST, GAINED = 'lost', 'gained'


class Change(NamedTuple):
    """A video that only one of the runs has right.

    Attributes:
        name: the video's path or id, or the key of its record.
        what: `lost`, if the first run has it right, or `gained`.
        label, first, second: its class, and what the runs say.
        probability1, probability2: of what they say.
    """

    name: str
    what: str
    label: str
    first: str
    second: str
    probability1: float
    probability2: float


class ClassChange(NamedTuple):
    """What became of one class: its videos in both runs, and those that each has right."""

    name: str
    videos: int
    right1: int
    right2: int


class Comparison(NamedTuple):
    """What two runs have in common.

    Attributes:
        videos, only_first, only_second: in both runs, and in one of them.
        both, lost, gained, neither: those in both that both runs have right, only the first, only
            the second, and none.
        classes: ClassChange of each class that has videos, the greatest loss first.
    """

    videos: int
    only_first: int
    only_second: int
    both: int
    lost: int
    gained: int
    neither: int
    classes: Sequence[ClassChange]

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test, two-sided."""
        return mcnemar(self.lost, self.gained)

    def accuracy(self, run: int) -> tuple[float, float, float]:
        """Return (top-1 accuracy, low, high) of run 0 or 1, with Wilson's 95% interval."""
        share = (self.both + (self.lost, self.gained)[run]) / self.videos
        return (share, *wilson(share, self.videos))


def compare_predictions(
    first: Predictions, second: Predictions, *, changed: Callable[[Change], object]
) -> Comparison:
    """Compare two runs on the videos that both have.

    Of the first run three numbers are held for each video, of the second run one row at a time.

    Args:
        changed: is given each Change, in the order of the second run.

    Raises:
        InputError: no video is in both, one has two labels, or classes have names in one run only.
    """
    name_of, names1, names2 = _common_name(first, second), *_class_names(first, second)
    held = {
        name_of(outcome): (outcome.label, outcome.ranking[0], outcome.probabilities[0])
        for outcome in first
    }
    counts = {names1[label]: np.zeros((2, 2), np.int64) for label, _, _ in held.values()}
    only_second = 0
    for outcome in second:
        name = name_of(outcome)
        before = held.pop(name, None)
        if before is None:
            only_second += 1
            continue
        said = (names1[before[0]], names1[before[1]], names2[outcome.ranking[0]])
        if said[0] != names2[outcome.label]:
            raise InputError(
                f'video {name} is of class {said[0]} in {first.path} and of class '
                f'{names2[outcome.label]} in {second.path}: these are other videos or classes'
            )
        rights = said[1] == said[0], said[2] == said[0]
        counts[said[0]][int(rights[0]), int(rights[1])] += 1
        if rights[0] != rights[1]:
            what = LOST if rights[0] else GAINED
            changed(Change(name, what, *said, before[2], outcome.probabilities[0]))
    return _comparison(counts, first, second, only_second)


def _common_name(first: Predictions, second: Predictions) -> Callable[[Outcome], str]:
    """A function from an Outcome to what both runs call its video."""
    if first.has_videos and second.has_videos:
        return lambda outcome: outcome.video
    if first.has_keys and second.has_keys:
        return lambda outcome: outcome.key
    raise InputError(
        f'{first.path} and {second.path} do not name their videos alike: no path or video id, '
        'nor a key, that each row of both has for itself'
    )


def _class_names(first: Predictions, second: Predictions) -> Sequence[Sequence[str]]:
    """The names of the classes of each run; their numbers if none has names."""
    runs = (first, second)
    named = [run for run in runs if run.class_names is not None]
    if len(named) == 1:
        other = second if named[0] is first else first
        raise InputError(
            f'{other.path} has numbers of classes, and {named[0].path} has names; give --labels'
        )
    return [run.class_names or [str(i) for i in range(run.num_labels)] for run in runs]


def _comparison(counts, first, second, only_second):
    total = sum(counts.values())
    videos = int(total.sum())
    if not videos:
        raise InputError(
            f'{first.path} ({len(first)} videos) and {second.path} ({len(second)}) have no video '
            'in common'
        )
    classes = [
        ClassChange(name, int(each.sum()), int(each[1].sum()), int(each[:, 1].sum()))
        for name, each in counts.items()
        if each.any()
    ]
    classes.sort(key=lambda c: (c.right2 - c.right1, c.name))
    return Comparison(
        videos, len(first) - videos, only_second,
        both=int(total[1, 1]), lost=int(total[1, 0]), gained=int(total[0, 1]),
        neither=int(total[0, 0]), classes=classes,
    )  # fmt: skip
