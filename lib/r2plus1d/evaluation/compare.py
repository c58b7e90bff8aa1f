"""Comparisons: one network in several precisions on the same videos, and several networks' runs."""

import contextlib
import csv
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.evaluation.metrics import Accuracy, MeanAveragePrecision, score_video
from r2plus1d.networks import cost
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, C3D
from r2plus1d.results.progress import Progress
from r2plus1d.sources.database_source import DatabaseSource

log = logging.getLogger(__name__)

TOP_K = 5
RUNS_HEADER = (
    'network', 'params (M)', 'GLOPs', 'epochs', 'train loss', 'train clip', 'test clip',
    'test video',
)  # fmt: skip
LOGGED = ('train_loss', 'train_accuracy', 'test_clip', 'test_top1')


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
            if sample.failure:
                log.warning('%s failed: %s', sample.name, sample.failure)
                failed += 1
            else:
                first, second, *_ = _score(sample, engines, scores)
                clips += len(first)
                same += int((first == second).sum())
            progress.step(f'{same} of {clips} clips alike')
    return Agreement(len(source), failed, scores, clips, same)


def _score(sample, engines, scores):
    """Add a video to the scores of each engine; return each one's best classes of the clips."""
    best = []
    for name, engine in engines.items():
        rows = engine.run(sample.clips.pixels)[engine.network.prediction]
        scores[name].add(score_video(rows, sample.labels))
        best.append(rows.argmax(axis=1))
    return best


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


def compare_runs(
    folder: pathlib.Path, network_of: Callable[[str], Network]
) -> Iterator[Sequence[str]]:
    """Yield the cells of a table of training runs, its header first, the best accuracy last.

    Args:
        folder: with a folder named after each network, which holds its training log.
        network_of: from the name of an architecture to the network that was trained.

    Raises:
        InputError: there are no logs, or one has no epochs or is no training log.
    """
    rows = [_run(path, network_of(path.parent.name)) for path in _find_logs(folder)]
    yield RUNS_HEADER
    yield from sorted(rows, key=_by_accuracy)


def _by_accuracy(row):
    """A key to sort by: runs that were never tested come first."""
    accuracy = float(row[-1])
    return (not math.isnan(accuracy), accuracy)


def _find_logs(folder):
    known = (*ARCHITECTURES, C3D)
    found = sorted(path for path in folder.glob('*/*_log.csv') if path.parent.name in known)
    if not found:
        raise InputError(f'{folder} has no training logs, such as r2plus1d/r2plus1d_log.csv')
    return found


def _run(path, network):
    """The cells of one network's row, from the last epoch of its log."""
    with path.open(newline='', encoding='utf-8') as file:
        epochs = list(csv.DictReader(file))
    if not epochs:
        raise InputError(f'{path} has no epochs yet')
    multiply_adds, parameters = cost.totals(network)
    last = epochs[-1]
    try:
        loss, *accuracies = (float(last[column]) for column in LOGGED)
    except (KeyError, TypeError, ValueError):
        raise InputError(f'{path} is no training log: {", ".join(LOGGED)} are numbers') from None
    return [
        network.architecture, f'{parameters / 1e6:.3f}', f'{multiply_adds / 1e9:.3f}',
        last['epoch'], f'{loss:.3f}', *(f'{100 * accuracy:.1f}' for accuracy in accuracies),
    ]  # fmt: skip
