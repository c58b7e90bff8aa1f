"""Accuracy of a network over a database: every record is scored or listed as failed, once."""

import contextlib
import dataclasses
import itertools
import logging
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Callable, Optional, Protocol, Union

from r2plus1d.errors import InputError, require_integer, require_one_of
from r2plus1d.evaluation.journal import Scored
from r2plus1d.evaluation.metrics import (
    AGGREGATIONS,
    Accuracy,
    MeanAveragePrecision,
    VideoScore,
    score_video,
)
from r2plus1d.evaluation.outcomes import SEVERAL
from r2plus1d.inference.prediction import predict_batches
from r2plus1d.results.class_names import require_different
from r2plus1d.results.complete import complete_csv, require_place
from r2plus1d.results.failures import FailureList
from r2plus1d.results.progress import Progress
from r2plus1d.sources.sample import Sample, SampleSource

log = logging.getLogger(__name__)

LOGGED_FAILURES = 20


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """How a database is evaluated, and where the results go.

    Attributes:
        batch_size: videos that the engine gets at a time, over all devices.
        aggregation: `mean` or `max` over a video's clips.
        top_k: the k of the second video accuracy, and the classes in the output.
        output: CSV of predictions, or None.
        class_names: of the classes, in order, or None.
        failures: CSV of failed records, or None.
        stop_at_failure: end at the first failed record.
        display_iter: batches between two lines of progress in a log.

    Raises:
        InputError: a path at which no file can be made, or a value that cannot be.
    """

    batch_size: int = 6
    aggregation: str = 'mean'
    top_k: int = 5
    output: Optional[pathlib.Path] = None
    class_names: Optional[Sequence[str]] = None
    failures: Optional[pathlib.Path] = None
    stop_at_failure: bool = False
    display_iter: int = 10

    def __post_init__(self) -> None:
        for name in ('batch_size', 'top_k', 'display_iter'):
            require_integer(name, getattr(self, name), 1)
        require_one_of('aggregation', self.aggregation, AGGREGATIONS)
        for path in filter(None, (self.output, self.failures)):
            require_place(path)
        if self.output and self.failures and _are_one(self.output, self.failures):
            raise InputError(f'output and failures are both {self.output}')
        if self.output and self.class_names:
            require_different(self.class_names)


def _are_one(path, other):
    return os.path.realpath(path) == os.path.realpath(other)


@dataclasses.dataclass
class Result:
    """What an evaluation found.

    Attributes:
        records: in the database, or asked for.
        failed: records that could not be scored.
        score: Accuracy, or MeanAveragePrecision for several labels a video; `videos` scored.
        ended: None, or why the run ended before the last record.
    """

    records: int
    score: Union[Accuracy, MeanAveragePrecision]
    failed: int = 0
    ended: Optional[str] = None

    @property
    def scored(self) -> int:
        return self.score.videos


class KnownScores(Protocol):
    """Scores of records that are known before a run, and kept during it: a ScoreJournal."""

    done: int

    def scored(self) -> Iterator[Scored]: ...

    def add(self, batch: Sequence[Scored]) -> None: ...

    def remove(self) -> None: ...


def evaluate(
    reader: SampleSource,
    engine: Any,
    settings: EvaluationSettings,
    *,
    journal: Optional[KnownScores] = None,
    each: Optional[Callable[[Sample, Optional[VideoScore]], Any]] = None,
    report: Callable[[Result], Any] = lambda result: None,
) -> Result:
    """Score every record of `reader` and return the Result.

    Ctrl-C ends it with what there is so far; what was written stays under PATH.partial.

    Args:
        journal: what an earlier run has done is taken from it, and all that is done is added to it.
            It is removed when the output is complete.
        each: is given every record once, those of the journal included, with its score or None.
        report: is given the Result once it is known, before the output gets its name and before
            what is being decoded has ended, which may take long or fail. An OSError of it is
            raised once the output is complete.
    """
    names = settings.class_names
    if names is not None and len(names) != reader.needs.num_labels:
        raise InputError(
            f'class_names has {len(names)} names; num_labels is {reader.needs.num_labels}'
        )
    is_multi_label = reader.needs.multi_label
    score = MeanAveragePrecision() if is_multi_label else Accuracy(settings.top_k)
    result, unreported = Result(len(reader), score), None
    with contextlib.suppress(_Ended), contextlib.ExitStack() as stack:
        batches = _batches(reader, engine, settings, journal)
        stack.callback(batches.close)  # the last thing done: it waits for the decoders
        failures = stack.enter_context(FailureList(settings.failures))
        write = stack.enter_context(complete_csv(settings.output, header(settings, reader)))
        _gather(batches, journal, result, settings, failures, write, each)
        _require_every_record(result)
        try:
            report(result)
        except OSError as error:
            unreported = error
        if result.ended:
            raise _Ended
    if journal and not result.ended:
        journal.remove()
    if unreported:
        raise unreported
    return result


class _Ended(Exception):
    """Leaves the run early, so that the output keeps its partial name."""


def _gather(batches, journal, result, settings, failures, write, each):
    """Add up what the journal has and then what the batches bring, until something ends it."""
    done, every = journal.done if journal else 0, settings.display_iter * settings.batch_size
    known = journal.scored() if journal else ()
    counts_labels = isinstance(result.score, MeanAveragePrecision)
    try:
        with Progress(result.records, unit='videos', every=every, done=done) as progress:
            for number, (sample, score) in enumerate(itertools.chain(known, batches)):
                if each:
                    each(sample, score)
                if score is None:
                    _fail(sample, failures, result, settings)
                else:
                    several = [len(sample.labels)] if counts_labels else []
                    write([*row(sample, score, settings), *several])
                    result.score.add(score)
                if number >= done:
                    progress.step(result.score if isinstance(result.score, Accuracy) else '')
    except KeyboardInterrupt:
        result.ended = 'interrupted'
    except _Ended:
        pass  # the result says why


def _batches(reader, engine, settings, journal):
    """Yield (Sample, VideoScore or None) of the records that are not in the journal."""
    done = journal.done if journal else 0
    samples = reader.samples(done) if done else reader
    with contextlib.closing(
        predict_batches(samples, engine, batch_size=settings.batch_size)
    ) as batches:
        for batch in batches:
            scored = [(sample, _score(sample, out, engine, settings)) for sample, out in batch]
            done = _before_failure(scored) if settings.stop_at_failure else scored
            if journal and done:
                journal.add(done)
            yield from scored


def _before_failure(scored):
    """What comes before the first record that failed, which is tried again."""
    return list(itertools.takewhile(lambda pair: pair[1] is not None, scored))


def _score(sample, outputs, engine, settings):
    if outputs is None:
        return None
    probabilities = outputs[engine.network.prediction]
    return score_video(probabilities, sample.labels, aggregation=settings.aggregation)


def _fail(sample, failures, result, settings):
    failures.add(sample)
    result.failed += 1
    if result.failed <= LOGGED_FAILURES:
        log.warning('%s failed: %s', sample.name, sample.failure)
    elif result.failed == LOGGED_FAILURES + 1:
        log.warning('more records fail; from here on %s', failures.where)
    if settings.stop_at_failure:
        result.ended = f'{sample.name} failed'
        raise _Ended


def _require_every_record(result):
    if result.ended is None and result.scored + result.failed != result.records:
        raise InputError(
            f'the database changed during the run: {result.records} records at its start, '
            f'{result.scored} scored and {result.failed} failed'
        )


def header(settings: EvaluationSettings, reader: SampleSource) -> list[str]:
    """Column names of the predictions."""
    assert reader.needs.num_labels is not None
    top = range(1, min(settings.top_k, reader.needs.num_labels) + 1)
    classes = [name for k in top for name in (f'top{k}', f'probability{k}')]
    several = [SEVERAL] if reader.needs.multi_label else []
    return ['key', 'video', 'label', *classes, 'clips_right', 'clips', *several]


def row(sample: Sample, score: VideoScore, settings: EvaluationSettings) -> list[Any]:
    """One video's key, id or path, labels, best classes, clips right of clips."""

    def name(label):
        return settings.class_names[label] if settings.class_names else label

    video = sample.path or ('' if sample.video_id is None else sample.video_id)
    best = [(name(c), f'{score.probabilities[c]:.6f}') for c in score.ranking[: settings.top_k]]
    labels = ' '.join(str(name(label)) for label in sample.labels)
    return [
        sample.key,
        video,
        labels,
        *[v for pair in best for v in pair],
        score.clips_right,
        score.num_clips,
    ]
