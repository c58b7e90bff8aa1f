"""A picture of a training log: loss, accuracy and learning rate over the epochs."""

import csv
import pathlib
from typing import Union

from matplotlib.figure import Figure  # its own canvas, so no screen is needed
from matplotlib.ticker import MaxNLocator

from r2plus1d.results.complete import complete_file

PANELS = (
    ('loss', False, (('train_loss', 'train'),)),
    ('accuracy', False, (
        ('train_accuracy', 'train clips'), ('test_clip', 'test clips'),
        ('test_top1', 'test videos'),
    )),
    ('learning rate', True, (('learning_rate', None),)),
)  # fmt: skip


def plot_log(log_path: Union[str, pathlib.Path], picture_path: pathlib.Path) -> None:
    """Draw the CSV that train.train writes into a PNG."""
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
    with complete_file(picture_path) as file:
        figure.savefig(file, dpi=100, format='png')
