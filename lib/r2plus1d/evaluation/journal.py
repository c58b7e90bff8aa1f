"""What an evaluation has found so far, on disk beside its output, so that it can go on.

While the output is being made, OUTPUT.journal holds the arguments of the run in its first line, and
in each further one a batch: its records, and what was predicted for them. All totals and lists are
made of that anew when a run goes on, so they are those of a run without interruption.
"""

import base64
import pathlib
import time
from collections.abc import Iterator, Sequence
from typing import Optional

import numpy as np

from r2plus1d.evaluation.metrics import VideoScore, rank
from r2plus1d.results.arguments import Arguments, require_same
from r2plus1d.results.journal import Journal
from r2plus1d.sources.sample import Sample

SECONDS_BETWEEN_SYNCS = 2.0

Scored = tuple[Sample, Optional[VideoScore]]


class ScoreJournal:
    """A journal of records that are scored or failed; use as a context manager.

    A process that is killed loses at most the batch under way; a machine without power, at most the
    last two seconds too. A journal without a batch is removed at the end.

    Args:
        output: the CSV of predictions.
        arguments: plain data, all that decides what is predicted.
        overwrite: begin again, whatever an earlier run left.
        keep: leave the journal there at the end, for whoever merges it with others.

    Attributes:
        path: OUTPUT.journal.
        done: records that are done.

    Raises:
        InputError: an earlier run left a journal of other arguments.
    """

    def __init__(
        self,
        output: pathlib.Path,
        arguments: Arguments,
        *,
        overwrite: bool = False,
        keep: bool = False,
    ) -> None:
        self.path = output.with_name(f'{output.name}.journal')
        self.done, self._journal, self._keep = 0, Journal(self.path), keep
        try:
            if overwrite:
                self._journal.cut(0)
            self._open(arguments)
        except BaseException:
            self._journal.close()
            raise
        self._last_sync = time.monotonic()

    def __enter__(self) -> 'ScoreJournal':
        return self

    def __exit__(self, *exc_info: object) -> None:
        if not self.done:
            self.path.unlink(missing_ok=True)
        self._journal.close()

    def _open(self, arguments):
        """Find out how much is done, and cut off what is not whole."""
        before, self._first = next(self._journal.lines(), (None, 0))
        if before is None:
            self._journal.cut(0)
            self._journal.add([arguments])
            _, self._first = next(self._journal.lines())
        else:
            require_same(self.path, before, arguments, flag='output')
        ends = [self._first]
        for batch, end in self._journal.lines(self._first):
            self.done += len(batch)
            ends.append(end)
        self._journal.cut(ends[-1])

    def scored(self) -> Iterator[Scored]:
        """Yield (Sample without clips, VideoScore or None) of each record that is done."""
        for batch, _ in self._journal.lines(self._first):
            for sample, score in batch:
                yield _sample_of(sample), score and _score_of(score, sample)

    def add(self, batch: Sequence[Scored]) -> None:
        """Add the records of a batch; from now on they outlive this process."""
        self._journal.add([[_plain(sample, score) for sample, score in batch]])
        self.done += len(batch)
        if time.monotonic() - self._last_sync > SECONDS_BETWEEN_SYNCS:
            self._journal.sync()
            self._last_sync = time.monotonic()

    def remove(self) -> None:
        """Remove the journal, unless it is kept: the output is complete."""
        if self._keep:
            self._journal.sync()
        else:
            self.path.unlink(missing_ok=True)


FIELDS = ('index', 'key', 'path', 'labels', 'video_id', 'start_frame', 'failure')


def _plain(sample, score):
    known = {name: getattr(sample, name) for name in FIELDS}
    if score is None:
        return known, None
    probabilities = np.ascontiguousarray(score.probabilities, np.float32).tobytes()
    return known, [base64.b64encode(probabilities).decode(), score.num_clips, score.clips_right]


def _sample_of(known):
    return Sample(**{**known, 'labels': tuple(known['labels'])})


def _score_of(plain, known):
    encoded, num_clips, clips_right = plain
    probabilities = np.frombuffer(base64.b64decode(encoded), np.float32)
    labels = tuple(known['labels'])
    return VideoScore(probabilities, rank(probabilities), labels, num_clips, clips_right)
