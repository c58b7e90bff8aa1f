"""A survey as a page of text: what there is, how often, and what is odd."""

import collections
import itertools
from collections.abc import Iterator, Sequence
from typing import Optional

from r2plus1d.sources.survey import Finding

SHOWN = 5  # kinds, labels or pairs of records that a line names


class Summary:
    """Counts of Findings.

    Attributes:
        records, failed: how many.
    """

    def __init__(self, num_labels: Optional[int]) -> None:
        self.records = self.failed = 0
        self._num_labels = num_labels
        kinds = ('container', 'codec', 'size', 'frames per second')
        self._kinds = {kind: collections.Counter[str]() for kind in kinds}
        self._frames, self._seconds = collections.Counter[int](), collections.Counter[float]()
        self._labels, self._reasons = collections.Counter[int](), collections.Counter[str]()
        self._damaged = 0
        self._first: dict[tuple[str, Optional[int]], Finding] = {}
        self._same: list[tuple[str, str]] = []
        self._other_labels: list[tuple[str, str]] = []
        self._ids: dict[int, tuple[str, str]] = {}
        self._shared_ids: list[tuple[str, str]] = []

    def add(self, finding: Finding) -> None:
        self.records += 1
        self._labels.update(set(finding.labels))
        if finding.failure is not None:
            self.failed += 1
            self._reasons[finding.failure.split(':')[0].split('(')[0].strip()] += 1
        if finding.look is None:
            return
        look, rate = finding.look, finding.look.rate
        self._kinds['container'][look.container] += 1
        self._kinds['codec'][look.codec] += 1
        self._kinds['size'][f'{look.width}x{look.height}'] += 1
        self._kinds['frames per second']['unknown' if rate is None else f'{rate:.5g}'] += 1
        self._frames[look.frames] += 1
        if rate:
            self._seconds[round(look.frames / rate, 1)] += 1
        self._damaged += look.damaged > 0
        self._compare(finding)

    def _compare(self, finding: Finding) -> None:
        """Note what the record shares with an earlier one."""
        assert finding.look is not None
        digest = finding.look.digest
        first = self._first.setdefault((digest, finding.start_frame), finding)
        if first is not finding:
            differ = first.labels != finding.labels
            (self._other_labels if differ else self._same).append((first.name, finding.name))
        if finding.video_id is not None:
            named, known = self._ids.setdefault(finding.video_id, (finding.name, digest))
            if known != digest:
                self._shared_ids.append((named, finding.name))

    def lines(self) -> Iterator[str]:
        """Yield the lines of the page."""
        usable = self.records - self.failed
        yield f'records: {self.records}, usable: {usable}, failed: {self.failed}'
        for kind, counter in self._kinds.items():
            yield f'{kind}: {_shares(counter)}'
        yield f'frames of a video: {_spread(self._frames)}'
        yield f'seconds of a video: {_spread(self._seconds)}'
        yield f'videos with damaged packets or frames: {self._damaged}'
        yield from self._label_lines()
        for what, pairs in (
            ('the same bytes as another record', self._same),
            ('the same bytes and other labels', self._other_labels),
            ('the video_id of another video', self._shared_ids),
        ):
            yield f'{what}: {_pairs(pairs)}'
        for reason, count in self._reasons.most_common():
            yield f'failed, {reason}: {count}'

    def _label_lines(self) -> Iterator[str]:
        if not self._labels:
            yield 'labels: none'
            return
        low, high = min(self._labels), max(self._labels)
        end = self._num_labels or high + 1
        # Few of them at a time: a damaged label may be two billion.
        missing = end - sum(0 <= label < end for label in self._labels)
        gaps = itertools.islice((n for n in range(end) if n not in self._labels), SHOWN)
        shown = _listed(list(gaps), missing)
        yield f'labels: {low} to {high}, {len(self._labels)} classes, missing: {shown}'
        counts = collections.Counter(self._labels.values())
        yield f'records of a class: {_spread(counts)}'
        rarest = sorted(self._labels.items(), key=lambda pair: (pair[1], pair[0]))[:SHOWN]
        yield 'rarest classes: ' + ', '.join(f'{label} ({count})' for label, count in rarest)


def _shares(counter: 'collections.Counter[str]') -> str:
    if not counter:
        return 'none'
    common = counter.most_common(SHOWN)
    shown = ', '.join(f'{name} ({count})' for name, count in common)
    more = len(counter) - len(common)
    return shown + (f', and {more} more' if more else '')


def _spread(counter: 'collections.Counter') -> str:
    """Smallest, median and largest of what is counted."""
    if not counter:
        return 'none'
    half, passed = (sum(counter.values()) - 1) // 2, 0
    for value in sorted(counter):
        passed += counter[value]
        if passed > half:
            return f'{min(counter)} to {max(counter)}, median {value}'
    raise AssertionError


def _listed(labels: Sequence[int], count: int) -> str:
    """The first of `count` labels."""
    if not labels:
        return 'none'
    more = f' and {count - len(labels)} more' if count > len(labels) else ''
    return f'{", ".join(map(str, labels))}{more}'


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    shown = '; '.join(f'{first} and {second}' for first, second in pairs[:SHOWN])
    more = f'; and {len(pairs) - SHOWN} more' if len(pairs) > SHOWN else ''
    return f'{len(pairs)}' + (f' ({shown}{more})' if pairs else '')
