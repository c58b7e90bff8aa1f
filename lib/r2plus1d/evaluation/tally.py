"""What a report says of a run, added up video by video: memory does not grow with the videos."""

import heapq
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np

from r2plus1d.evaluation.intervals import wilson
from r2plus1d.evaluation.metrics import VideoScore
from r2plus1d.evaluation.outcomes import Outcome, outcome_of
from r2plus1d.sources.sample import Sample

MOST_REASONS = 200  # kept apart; reasons that come later are counted together
OTHER_REASONS = 'other reasons'
NUMBER = re.compile(r'\d+(?:\.\d+)?')


class Measure(NamedTuple):
    """One accuracy.

    Attributes:
        name: of it, as the tools print it.
        right, total: videos or clips.
        low, high: Wilson's 95% interval, of as many trials as there are videos.
    """

    name: str
    right: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """In 0 to 1; 0 before any video."""
        return self.right / self.total if self.total else 0.0


class Reason(NamedTuple):
    """Records that failed for one reason, whatever numbers are in it.

    Attributes:
        records: how many there are.
        record: name of the first one.
        text: its reason.
    """

    records: int
    record: str
    text: str


class Tally:
    """Counts of a run over videos of one label each.

    Args:
        num_labels: number of classes.
        top_k: the k of the second accuracy.
        most_mistakes: how many of the surest mistakes are kept.

    Attributes:
        videos, right, right_within: int64 (num_labels,), videos of each class, those whose best
            class is right, and those with the right one among the best k.
        clips, clips_right: over all videos; None where an Outcome lacked them.
        confused: Counter of (label, best class) of the videos that are wrong.
        num_scored, num_failed: videos that were scored, and records that could not be.
    """

    def __init__(self, num_labels: int, *, top_k: int, most_mistakes: int) -> None:
        self.num_labels, self.top_k = num_labels, top_k
        self.videos = np.zeros(num_labels, np.int64)
        self.right, self.right_within = np.zeros_like(self.videos), np.zeros_like(self.videos)
        self.clips: Optional[int] = 0
        self.num_scored = self.clips_right = self.num_failed = 0
        self.confused: Counter[tuple[int, int]] = Counter()
        self._most_mistakes = most_mistakes
        self._mistakes: list[tuple[float, int, Outcome]] = []  # a heap, the least sure one first
        self._reasons: dict[str, Reason] = {}

    def add(self, outcome: Outcome) -> None:
        """Count a video that was scored."""
        label = outcome.label
        self.num_scored += 1
        self.videos[label] += 1
        self.right[label] += outcome.is_right
        self.right_within[label] += label in outcome.ranking[: self.top_k]
        if self.clips is None or outcome.clips is None or outcome.clips_right is None:
            self.clips = None
        else:
            self.clips += outcome.clips
            self.clips_right += outcome.clips_right
        if not outcome.is_right:
            self.confused[label, outcome.ranking[0]] += 1
            self._keep(outcome)

    def _keep(self, outcome):
        entry = outcome.probabilities[0], -self.num_scored, outcome
        if len(self._mistakes) < self._most_mistakes:
            heapq.heappush(self._mistakes, entry)
        elif self._mistakes and entry > self._mistakes[0]:
            heapq.heapreplace(self._mistakes, entry)

    def add_sample(self, sample: Sample, score: Optional[VideoScore]) -> None:
        """Count a record; without a score it failed."""
        if score is None:
            self.fail(sample.name, sample.failure or 'unknown')
        else:
            self.add(outcome_of(sample, score, self.top_k))

    def fail(self, record: str, reason: str) -> None:
        """Count a record that could not be scored."""
        self.num_failed += 1
        kind = NUMBER.sub('#', reason)
        if kind not in self._reasons and len(self._reasons) >= MOST_REASONS:
            kind = reason = OTHER_REASONS
        count, record, reason = self._reasons.get(kind, Reason(0, record, reason))
        self._reasons[kind] = Reason(count + 1, record, reason)

    @property
    def mistakes(self) -> list[Outcome]:
        """The wrong videos with the highest probabilities, the highest first."""
        return [outcome for _, _, outcome in sorted(self._mistakes, reverse=True)]

    @property
    def reasons(self) -> list[Reason]:
        """Why records failed, the most frequent reason first."""
        return sorted(self._reasons.values(), key=lambda reason: -reason.records)

    def measures(self) -> Iterator[Measure]:
        """Yield the accuracies that the tools print.

        The clips of a video are alike, so they do not count as trials of their own: the interval
        of the clip accuracy is that of as many trials as there are videos.
        """
        videos = self.num_scored
        rights = [(f'video top {k}', int(r.sum()), videos) for k, r in self._by_class()]
        if self.clips is not None:
            rights.insert(0, ('clip', self.clips_right, self.clips))
        for name, right, count in rights:
            yield Measure(name, right, count, *wilson(right / count if count else 0.0, videos))

    def _by_class(self):
        yield 1, self.right
        if self.top_k > 1:
            yield self.top_k, self.right_within
