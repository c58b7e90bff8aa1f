"""One network in several precisions on the same videos."""

import contextlib
import logging
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Union

import numpy as np

from r2plus1d.evaluation.metrics import Accuracy, MeanAveragePrecision, score_video
from r2plus1d.inference.finite import failure_of
from r2plus1d.results.progress import Progress
from r2plus1d.sources.database_source import DatabaseSource

log = logging.getLogger(__name__)

TOP_K = 5


class Agreement(NamedTuple):
    """How engines fared on the same videos.

    Attributes:
        videos, failed: how many there are, and how many of them could not be scored.
        scores: {name of an engine: Accuracy or MeanAveragePrecision}.
        clips, same: clips that were scored, and those of which the first two engines say the same.
    """

    videos: int
    failed: int
    scores: dict[str, Union[Accuracy, MeanAveragePrecision]]
    clips: int
    same: int


def compare_engines(source: DatabaseSource, engines: Mapping[str, Any]) -> Agreement:
    """Score every record of `source` with each of at least two engines that hold weights.

    Args:
        engines: {name: engine} of one network.
    """
    multi_label = source.needs.multi_label
    scores = {name: MeanAveragePrecision() if multi_label else Accuracy(TOP_K) for name in engines}
    same = clips = failed = 0
    with Progress(len(source), unit='videos', every=10, title='comparing') as progress:
        for sample in source:
            rows = {} if sample.failure else _outputs_of(sample, engines)
            failure = sample.failure or failure_of(rows)
            if failure:
                log.warning('%s failed: %s', sample.name, failure)
                failed += 1
            else:
                first, second, *_ = _score(sample, rows, scores)
                clips += len(first)
                same += int((first == second).sum())
            progress.step(f'{same} of {clips} clips alike')
    return Agreement(len(source), failed, scores, clips, same)


def _outputs_of(sample, engines):
    """{name of an engine: class probabilities of the clips}."""
    pixels = sample.clips.pixels
    return {name: e.run(pixels)[e.network.prediction] for name, e in engines.items()}


def _score(sample, rows, scores):
    """Add a video to the scores of each engine; return each one's best classes of the clips."""
    for name, probabilities in rows.items():
        scores[name].add(score_video(probabilities, sample.labels))
    return [probabilities.argmax(axis=1) for probabilities in rows.values()]


def calibration_clips(source: DatabaseSource, count: int) -> list[np.ndarray]:
    """Return about `count` clips of a source, in arrays of those of one video.

    Of the clips of a video, the first video gives the first ones, the next video the second and
    following ones, and so on.

    Returns:
        uint8 or normalized float32 arrays, see Clips.pixels.
    """
    clips = []
    each = min(math.ceil(count / len(source)), source.settings.rows)
    with contextlib.closing(source.samples()) as samples:
        for number, sample in enumerate(samples):
            if sample.clips is None:
                log.warning('%s is not used to calibrate: %s', sample.name, sample.failure)
                continue
            rows = [(number + i) % source.settings.rows for i in range(each)]
            clips.append(sample.clips.pixels[rows])
    return clips
