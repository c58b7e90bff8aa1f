"""Accuracy of a network over a database: every record is scored or listed as failed, once."""

import contextlib
import dataclasses
import logging
import pathlib
from collections.abc import Sequence
from typing import Any, Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.evaluation.metrics import Accuracy, MeanAveragePrecision, VideoScore, score_video
from r2plus1d.inference.prediction import predict
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
        failures: CSV of failed records.
        stop_at_failure: end at the first failed record.
        display_iter: batches between two lines of progress in a log.

    Raises:
        InputError: a path at which no file can be made.
    """

    batch_size: int = 6
    aggregation: str = 'mean'
    top_k: int = 5
    output: Optional[pathlib.Path] = None
    class_names: Optional[Sequence[str]] = None
    failures: pathlib.Path = pathlib.Path('failures.csv')
    stop_at_failure: bool = False
    display_iter: int = 10

    def __post_init__(self) -> None:
        for path in filter(None, (self.output, self.failures)):
            require_place(path)
        if self.output == self.failures:
            raise InputError(f'output and failures are both {self.output}')


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


def evaluate(reader: SampleSource, engine: Any, settings: EvaluationSettings) -> Result:
    """Score every record of `reader` and return the Result.

    Ctrl-C ends it with what there is so far; what was written stays under PATH.partial.
    """
    multi_label = reader.needs.multi_label
    result = Result(
        len(reader), MeanAveragePrecision() if multi_label else Accuracy(settings.top_k)
    )
    with contextlib.suppress(_Ended), contextlib.ExitStack() as stack:
        failures = stack.enter_context(FailureList(settings.failures))
        write = stack.enter_context(complete_csv(settings.output, header(settings, reader)))
        every = settings.display_iter * settings.batch_size
        progress = stack.enter_context(Progress(len(reader), unit='videos', every=every))
        try:
            for sample, outputs in predict(reader, engine, batch_size=settings.batch_size):
                if outputs is None:
                    _fail(sample, failures, result, settings)
                else:
                    probabilities = outputs[engine.network.prediction]
                    score = score_video(
                        probabilities, sample.labels, aggregation=settings.aggregation
                    )
                    write(row(sample, score, settings))
                    result.score.add(score)
                progress.step('' if multi_label else result.score)
        except KeyboardInterrupt:
            result.ended = 'interrupted'
            raise _Ended from None
    _require_every_record(result)
    return result


class _Ended(Exception):
    """Leaves the run early, so that the output keeps its partial name."""


def _fail(sample, failures, result, settings):
    failures.add(sample)
    result.failed += 1
    if result.failed <= LOGGED_FAILURES:
        log.warning('%s failed: %s', sample.name, sample.failure)
    elif result.failed == LOGGED_FAILURES + 1:
        log.warning('more records fail; from here on see %s', failures.path)
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
    return ['key', 'video', 'label', *classes, 'clips_right', 'clips']


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
