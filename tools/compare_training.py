r"""Several networks that were trained in the same way, in one table: cost and accuracy.

Example:
    .venv/bin/python tools/compare_training.py --runs=output/sample_study \
        --clip_length_rgb=8 --num_labels=8 --width=0.125
"""

import _start  # noqa: F401

# isort: split

import csv
import math
import pathlib

from r2plus1d.cli import flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError
from r2plus1d.networks import cost
from r2plus1d.networks.zoo import ARCHITECTURES, C3D

COMPARISON = {
    'runs': (pathlib.Path, flags.REQUIRED, 'folder with a folder named after each network'),
}
# All flags of a network but its name, which is the folder's
SAME = {name: option for name, option in flags.NETWORK.items() if name != 'model_name'}
HEADER = (
    'network', 'params (M)', 'GLOPs', 'epochs', 'train loss', 'train clip', 'test clip',
    'test video',
)  # fmt: skip


def main():
    args = flags.parse(__doc__, COMPARISON, SAME)
    lines = [row(log, network, args) for network, log in logs(args.runs)]
    for line in (HEADER, ['---'] * len(HEADER), *sorted(lines, key=by_accuracy)):
        print(f'| {" | ".join(line)} |')


def by_accuracy(line):
    """A key to sort by: runs that were never tested come first."""
    accuracy = float(line[-1])
    return (not math.isnan(accuracy), accuracy)


def logs(folder):
    """Yield (network, path of its training log) of each run in `folder`."""
    known = (*ARCHITECTURES, C3D)
    found = sorted(path for path in folder.glob('*/*_log.csv') if path.parent.name in known)
    if not found:
        raise InputError(f'{folder} has no training logs, such as r2plus1d/r2plus1d_log.csv')
    for path in found:
        yield path.parent.name, path


def row(log, name, args):
    """The cells of one network's line, from the last epoch of its log."""
    with log.open(newline='', encoding='utf-8') as file:
        epochs = list(csv.DictReader(file))
    if not epochs:
        raise InputError(f'{log} has no epochs yet')
    args.model_name = name
    multiply_adds, parameters = cost.totals(from_flags.network(args))
    last = epochs[-1]
    columns = ('train_loss', 'train_accuracy', 'test_clip', 'test_top1')
    try:
        loss, *accuracies = (float(last[column]) for column in columns)
    except (KeyError, TypeError, ValueError):
        raise InputError(f'{log} is no training log: {", ".join(columns)} are numbers') from None
    return [
        name, f'{parameters / 1e6:.3f}', f'{multiply_adds / 1e9:.3f}', last['epoch'],
        f'{loss:.3f}', *(f'{100 * accuracy:.1f}' for accuracy in accuracies),
    ]  # fmt: skip


if __name__ == '__main__':
    run(main)
