"""The training loop: epochs of steps, a test and a checkpoint after each, a line in the log."""

import csv
import dataclasses
import logging
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Callable, Optional

import numpy as np

from r2plus1d.backends.base import Trainer
from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_file
from r2plus1d.results.failures import FailureList
from r2plus1d.results.progress import Progress
from r2plus1d.sources.shuffled import TrainingData
from r2plus1d.training import checkpoints
from r2plus1d.training.schedule import Schedule
from r2plus1d.weights.checkpoint import SAFETENSORS
from r2plus1d.weights.match import MOMENTUM_SUFFIX

Test = Callable[[Mapping[str, np.ndarray]], tuple[float, float, float]]

log = logging.getLogger(__name__)

LOG_COLUMNS = (
    'epoch', 'iterations', 'learning_rate', 'train_loss', 'train_accuracy',
    'test_clip', 'test_top1', 'test_topk', 'seconds', 'clips_per_second', 'network_share',
    'waiting_share', 'gradient_norm',
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LoopSettings:
    """Where a training run writes, and when it gives up.

    Attributes:
        folder: where checkpoints, the log and the list of failed records go.
        max_loss: training stops with an error above it, or at NaN.
        max_failures: training stops with an error when more records fail in an epoch.
        display_iter: iterations between two lines of progress in a log.
        safetensors_card: what each checkpoint says of itself as a .safetensors file, {key: text},
            see weights.card; None for no such files.
    """

    folder: pathlib.Path
    max_loss: float = 1e4
    max_failures: int = 0
    display_iter: int = 10
    safetensors_card: Optional[Mapping[str, str]] = None


@dataclasses.dataclass
class EpochTotals:
    """Sums over the iterations of an epoch."""

    loss: float = 0.0
    accuracy: float = 0.0
    iterations: int = 0
    failed: int = 0
    network_seconds: float = 0.0
    waiting_seconds: float = 0.0
    gradient_norm: float = 0.0
    parts: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        failed = f', failed: {self.failed}' if self.failed else ''
        return f'loss: {self.mean_loss:.4f}, accuracy: {self.mean_accuracy:.4f}{failed}'

    @property
    def mean_loss(self) -> float:
        return self.loss / max(1, self.iterations)

    @property
    def mean_accuracy(self) -> float:
        return self.accuracy / max(1, self.iterations)


def train(
    trainer: Trainer,
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
        test: from {blob: array} to (clip, top-1, top-k accuracy), called after each epoch; or None.

    Raises:
        InputError: a diverging loss, or too many failed records; says which checkpoint is good.
    """
    settings.folder.mkdir(parents=True, exist_ok=True)
    shard = data.shard
    writes = shard.index == 0
    log_path = checkpoints.log_path(settings.folder, trainer.network)
    if writes and not _keep_rows(log_path, first_epoch) and first_epoch:
        # The run was killed after the checkpoint and before the row.
        _append(log_path, _log_row(first_epoch, None, _tested(trainer, test), 0.0, schedule))
    if writes and first_epoch and settings.safetensors_card is not None:
        # Likewise, before it had the second form.
        before = checkpoints.checkpoint_path(settings.folder, trainer.network, first_epoch)
        if not before.with_suffix(SAFETENSORS).exists():
            checkpoints.save_beside(before, trainer.state(), settings.safetensors_card)
    machine = f'_{shard.index}' if shard.count > 1 else ''
    listed = settings.folder / f'failures{machine}.csv'
    with FailureList(listed, keep=first_epoch > 0) as failures:
        for epoch in range(first_epoch, schedule.num_epochs):
            began = time.perf_counter()
            totals = _epoch(trainer, data, schedule, settings, epoch, failures)
            seconds = time.perf_counter() - began
            if failures.count:
                log.warning('failed so far: %d, listed in %s', failures.count, failures.path)
            if not writes:
                continue
            _require_finite(trainer, settings, epoch + 1)
            path = checkpoints.checkpoint_path(settings.folder, trainer.network, epoch + 1)
            trainer.save(path)
            if settings.safetensors_card is not None:
                checkpoints.save_beside(path, trainer.state(), settings.safetensors_card)
            shares = _tested(trainer, test)
            _append(log_path, _log_row(epoch + 1, totals, shares, seconds, schedule))
            described = _described(totals, shares)
            log.info('epoch %d of %d: %s -> %s', epoch + 1, schedule.num_epochs, described, path)
            log.info('%s', _speed(totals, seconds, schedule))


def _tested(trainer, test):
    return test(trainer.state().parameters) if test else (math.nan,) * 3


def _epoch(trainer, data, schedule, settings, epoch, failures):
    first = epoch * schedule.iterations
    totals = EpochTotals()
    title = f'epoch {epoch + 1}'
    clips = schedule.iterations * data.batch_size
    every = settings.display_iter * data.batch_size
    with Progress(clips, unit='clips', every=every, title=title) as progress:
        batches = _timed(data.batches(first, first + schedule.iterations), totals)
        before = dict(trainer.seconds)
        for iteration, batch in enumerate(batches, first):
            _note_failures(batch, totals, settings, failures)
            began = time.perf_counter()
            rate = schedule.learning_rate(iteration)
            loss, accuracy = trainer.step(batch.data, batch.label, rate)
            totals.network_seconds += time.perf_counter() - began
            _require_sane(loss, iteration, settings, trainer.network)
            totals.loss += loss
            totals.accuracy += accuracy
            totals.gradient_norm += trainer.gradient_norm
            totals.iterations += 1
            progress.step(totals, data.batch_size)
    totals.parts = {name: now - before.get(name, 0.0) for name, now in trainer.seconds.items()}
    return totals


def _note_failures(batch, totals, settings, failures):
    """List the records that failed; the log names the first one of the run, and the list."""
    if not batch.failed:
        return
    is_news = not failures.count
    for sample in batch.failed:
        failures.add(sample)
    totals.failed += len(batch.failed)
    if totals.failed > settings.max_failures:
        raise InputError(
            f'{totals.failed} records failed, {settings.max_failures} may (max_failures), listed '
            f'in {failures.path}; the last one, {sample.name}: {sample.failure}'
        )
    if is_news:
        log.warning(
            '%s failed: %s; such records are listed in %s',
            sample.name, sample.failure, failures.path,
        )  # fmt: skip


def _timed(batches, totals):
    """Yield the batches; how long they were waited for is added to `totals`."""
    batches = iter(batches)
    while True:
        began = time.perf_counter()
        batch = next(batches, None)
        totals.waiting_seconds += time.perf_counter() - began
        if batch is None:
            return
        yield batch


def _require_sane(loss, iteration, settings, network):
    if math.isfinite(loss) and loss <= settings.max_loss:
        return
    what = f'the loss is {loss:g} at iteration {iteration}, above {settings.max_loss:g}'
    raise _divergence(what, settings, network)


def _require_finite(trainer, settings, epoch):
    """What the last iteration made is in no loss yet; no checkpoint may hold what is not finite."""
    state = trainer.state()
    momenta = {name + MOMENTUM_SUFFIX: array for name, array in state.momenta.items()}
    for name, array in {**state.parameters, **momenta}.items():
        if not np.isfinite(array).all():
            what = f'{name} is not finite after epoch {epoch}'
            raise _divergence(what, settings, trainer.network)


def _divergence(what, settings, network):
    epoch, path = checkpoints.newest(settings.folder, network)
    good = f'{path} (epoch {epoch}) is the last good checkpoint' if path else 'no checkpoint yet'
    return InputError(f'{what}: training diverges; {good}; try a smaller base_learning_rate')


def _log_row(epoch, totals, shares, seconds, schedule):
    """The row of an epoch; one whose training was not seen to its end has no `totals`."""
    done = epoch * schedule.iterations
    rate = f'{schedule.learning_rate(done - schedule.iterations):g}'  # of most of the epoch
    if totals is None:
        trained, speed = (math.nan,) * 2, (math.nan,) * 5
    else:
        trained = (totals.mean_loss, totals.mean_accuracy)
        clips = schedule.iterations * schedule.batch_size
        speed = (
            seconds,
            clips / seconds,
            totals.network_seconds / seconds,
            totals.waiting_seconds / seconds,
            totals.gradient_norm / max(1, totals.iterations),
        )
    return [epoch, done, rate, *(f'{figure:.5f}' for figure in (*trained, *shares, *speed))]


def _speed(totals, seconds, schedule):
    """How fast an epoch was, and where its time went."""
    clips = schedule.iterations * schedule.batch_size
    parts = {'waiting for data': totals.waiting_seconds, **totals.parts}
    shares = ', '.join(f'{name} {100 * part / seconds:.0f}%' for name, part in parts.items())
    return f'{clips / seconds:.2f} clips per second; {shares}'


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
        rows = [row for row in _whole_rows(path) if int(row['epoch']) <= epochs]
    with complete_file(path, 'w', newline='', encoding='utf-8') as file:
        writer = csv.DictWriter(file, LOG_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return any(int(row['epoch']) == epochs for row in rows)


def _whole_rows(path):
    """Yield {column: figure} of each row of a log that is not torn, as one on a full disk is."""
    with path.open(newline='', encoding='utf-8', errors='replace') as file:
        header = file.readline().rstrip().split(',')
        for line in file:
            row = dict(zip(header, line.rstrip().split(',')))
            if line.endswith('\n') and len(row) == line.count(',') + 1 and _are_figures(row):
                yield row


def _are_figures(row):
    """Whether a row has a number in each column; one of an earlier version lacks later columns."""
    try:
        int(row['epoch'])
        for name in row:
            float(row[name] or math.nan)
    except (KeyError, ValueError):
        return False
    return True


def _append(path, row):
    with path.open('a', newline='', encoding='utf-8') as file:
        csv.writer(file).writerow(row)
