"""Plots: of a training log over its epochs, of a fusion over its weight."""

import csv
from collections.abc import Mapping

from matplotlib.figure import Figure  # its own canvas, so no screen is needed
from matplotlib.ticker import MaxNLocator

from r2plus1d.evaluation.predictions import TOP_K
from r2plus1d.results.complete import AnyPath, complete_file
from r2plus1d.results.given_file import open_text

PANELS = (
    ('loss', False, (('train_loss', 'train'),)),
    ('accuracy', False, (
        ('train_accuracy', 'train clips'), ('test_clip', 'test clips'),
        ('test_top1', 'test videos'),
    )),
    ('learning rate', True, (('learning_rate', None),)),
)  # fmt: skip


def plot_log(log_path: AnyPath, picture_path: AnyPath) -> None:
    """Draw the CSV that train.train writes into a PNG."""
    with open_text(log_path, newline='') as file:
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
    with complete_file(picture_path) as file:
        figure.savefig(file, dpi=100, format='png')


def plot_alphas(path: AnyPath, shares: Mapping[float, tuple[float, float]]) -> None:
    """Draw top-1 and top-5 accuracy of a fusion over alpha into a PNG.

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
    with complete_file(path) as file:
        figure.savefig(file, dpi=100, format='png')
