"""The training loop: epochs of steps, a test and a checkpoint after each, a line in the log."""

import csv
import dataclasses
import logging
import math
import pathlib
import time
from typing import Any, Callable, Optional

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_file
from r2plus1d.results.failures import FailureList
from r2plus1d.results.progress import Progress
from r2plus1d.sources.shuffled import TrainingData
from r2plus1d.training import checkpoints
from r2plus1d.training.schedule import Schedule

Test = Callable[[dict[str, np.ndarray]], tuple[float, float, float]]

log = logging.getLogger(__name__)

LOG_COLUMNS = (
    'epoch', 'iterations', 'learning_rate', 'train_loss', 'train_accuracy',
    'test_clip', 'test_top1', 'test_topk', 'seconds', 'clips_per_second', 'network_share',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """Where a training run writes, and when it gives up.

    Attributes:
        folder: where checkpoints, the log and the list of failed records go.
        max_loss: training stops with an error above it, or at NaN.
        max_failures: training stops with an error when more records fail in an epoch.
        display_iter: iterations between two lines of progress in a log.
    """

    folder: pathlib.Path
    max_loss: float = 1e4
    max_failures: int = 0
    display_iter: int = 10


@dataclasses.dataclass
class EpochTotals:
    """Sums over the iterations of an epoch."""

    loss: float = 0.0
    accuracy: float = 0.0
    iterations: int = 0
    failed: int = 0
    network_seconds: float = 0.0

    def __str__(self) -> str:
        return f'loss: {self.mean_loss:.4f}, accuracy: {self.mean_accuracy:.4f}'

    @property
    def mean_loss(self) -> float:
        return self.loss / max(1, self.iterations)

    @property
    def mean_accuracy(self) -> float:
        return self.accuracy / max(1, self.iterations)


def train(
    net: Any,
    data: TrainingData,
    schedule: Schedule,
    settings: LoopSettings,
    *,
    first_epoch: int,
    test: Optional[Test] = None,
) -> None:
    """Train from `first_epoch` (0 at the start) to the schedule's last.

    The first of several machines writes checkpoints and the log, and tests.

    Args:
        net: TrainingNet.
        data: TrainingData.
        schedule: Schedule.
        test: from {blob: array} to (clip, top-1, top-k accuracy), called after each epoch; or None.

    Raises:
        InputError: a diverging loss, or too many failed records; says which checkpoint is good.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    stem, shard = checkpoints.checkpoint_stem(net.network), data.shard
    writes = shard.index == 0
    log_path = settings.folder / f'{stem}_log.csv'
    if writes and not _keep_rows(log_path, first_epoch) and first_epoch:
        # The run was killed after the checkpoint and before the row.
        _append(log_path, _log_row(first_epoch, None, _tested(net, test), 0.0, schedule))
    machine = f'_{shard.index}' if shard.count > 1 else ''
    with FailureList(settings.folder / f'failures{machine}.csv') as failures:
        for epoch in range(first_epoch, schedule.num_epochs):
            began = time.perf_counter()
            totals = _epoch(net, data, schedule, settings, epoch, failures)
            seconds = time.perf_counter() - began
            if not writes:
                continue
            _require_finite(net, settings, epoch + 1)
            path = checkpoints.checkpoint_path(settings.folder, net.network, epoch + 1)
            net.save(path, (epoch + 1) * schedule.iterations)
            shares = _tested(net, test)
            _append(log_path, _log_row(epoch + 1, totals, shares, seconds, schedule))
            described = _described(totals, shares)
            log.info('epoch %d of %d: %s -> %s', epoch + 1, schedule.num_epochs, described, path)


def _tested(net, test):
    return test(net.get(net.parameter_names)) if test else (math.nan,) * 3


def _epoch(net, data, schedule, settings, epoch, failures):
    first = epoch * schedule.iterations
    totals = EpochTotals()
    title = f'epoch {epoch + 1}'
    clips = schedule.iterations * data.batch_size
    every = settings.display_iter * data.batch_size
    with Progress(clips, unit='clips', every=every, title=title) as progress:
        for iteration, batch in enumerate(data.batches(first, first + schedule.iterations), first):
            for sample in batch.failed:
                failures.add(sample)
            totals.failed += len(batch.failed)
            if totals.failed > settings.max_failures:
                raise InputError(
                    f'{totals.failed} records failed, {settings.max_failures} may '
                    f'(max_failures); the last one, {sample.name}: {sample.failure}'
                )
            began = time.perf_counter()
            loss, accuracy = net.step(batch.data, batch.label, schedule.learning_rate(iteration))
            totals.network_seconds += time.perf_counter() - began
            _require_sane(loss, iteration, settings, net)
            totals.loss += loss
            totals.accuracy += accuracy
            totals.iterations += 1
            progress.step(totals, data.batch_size)
    return totals


def _require_sane(loss, iteration, settings, net):
    if math.isfinite(loss) and loss <= settings.max_loss:
        return
    what = f'the loss is {loss:g} at iteration {iteration}, above {settings.max_loss:g}'
    raise _divergence(what, settings, net)


def _require_finite(net, settings, epoch):
    """What the last iteration made is in no loss yet."""
    for name, array in net.get(net.parameter_names).items():
        if not np.isfinite(array).all():
            raise _divergence(f'{name} is not finite after epoch {epoch}', settings, net)


def _divergence(what, settings, net):
    epoch, path = checkpoints.newest(settings.folder, net.network)
    good = f'{path} (epoch {epoch}) is the last good checkpoint' if path else 'no checkpoint yet'
    return InputError(f'{what}: training diverges; {good}; try a smaller base_learning_rate')


def _log_row(epoch, totals, shares, seconds, schedule):
    """The row of an epoch; one whose training was not seen to its end has no `totals`."""
    done = epoch * schedule.iterations
    rate = f'{schedule.learning_rate(done - 1):g}'
    if totals is None:
        trained, speed = (math.nan,) * 2, (math.nan,) * 3
    else:
        trained = (totals.mean_loss, totals.mean_accuracy)
        clips = schedule.iterations * schedule.batch_size
        speed = (seconds, clips / seconds, totals.network_seconds / seconds)
    return [epoch, done, rate, *(f'{figure:.5f}' for figure in (*trained, *shares, *speed))]


def _described(totals, shares):
    clip, top1, _ = shares
    if math.isnan(top1):
        return str(totals)
    if math.isnan(clip):
        return f'{totals}, test mean average precision: {top1:.4f}'
    return f'{totals}, test clip: {clip:.4f}, top 1: {top1:.4f}'


def _keep_rows(path, epochs):
    """Begin the log, or drop the rows of epochs that are trained anew.

    Returns:
        Whether the log has the row of the epoch `epochs`.
    """
    rows = []
    if path.is_file() and epochs:
        with path.open(newline='', encoding='utf-8') as file:
            rows = [row for row in csv.DictReader(file) if int(row['epoch']) <= epochs]
    with complete_file(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, LOG_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return any(int(row['epoch']) == epochs for row in rows)


def _append(path, row):
    with path.open('a', newline='', encoding='utf-8') as file:
        csv.writer(file).writerow(row)
