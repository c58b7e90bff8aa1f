"""Curves as PNGs: of a training log, and of the accuracy of two networks together.

Figures are drawn on a canvas of their own, so that no screen is needed and no setting changed.
"""

import csv
import pathlib
from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from r2plus1d.evaluation.predictions import TOP_K

PANELS = (
    ('loss', False, (('train_loss', 'train'),)),
    ('accuracy', False, (
        ('train_accuracy', 'train clips'), ('test_clip', 'test clips'),
        ('test_top1', 'test videos'),
    )),
    ('learning rate', True, (('learning_rate', None),)),
)  # fmt: skip


def plot_log(log_path: pathlib.Path, picture_path: pathlib.Path) -> None:
    """Draw the CSV that training.loop.train writes: loss, accuracy and rate over the epochs."""
    with pathlib.Path(log_path).open(newline='', encoding='utf-8') as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row['epoch']) for row in rows]
    figure = Figure(figsize=(12, 3.5), constrained_layout=True)
    for axis, (title, logarithmic, curves) in zip(figure.subplots(1, len(PANELS)), PANELS):
        for column, label in curves:
            axis.plot(epochs, [float(row[column]) for row in rows], marker='.', label=label)
        axis.set(title=title, xlabel='epoch', yscale='log' if logarithmic else 'linear')
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        if len(curves) > 1:
            axis.set_ylim(0, 1)
            axis.legend()
    _save(figure, picture_path)


def plot_fusion(path: pathlib.Path, shares: Mapping[float, tuple[float, float]]) -> None:
    """Draw top-1 and top-5 accuracy over alpha.

    Args:
        shares: {alpha: (top-1, top-5)}, ascending.
    """
    figure = Figure(figsize=(5, 3.5), constrained_layout=True)
    axis = figure.subplots()
    for label, values in zip(('top 1', f'top {TOP_K}'), zip(*shares.values())):
        axis.plot(list(shares), values, marker='.', label=label)
    axis.set(xlabel='alpha', ylabel='video accuracy', ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend()
    _save(figure, path)


def _save(figure, path):
    """Write a PNG, which appears when it is complete."""
    partial = pathlib.Path(f'{path}.partial')
    figure.savefig(partial, dpi=100, format='png')
    partial.replace(path)
