"""Several networks that were trained in the same way, in one table: cost and accuracy."""

import csv
import pathlib

from r2plus1d import cli, from_options, options
from r2plus1d.errors import InputError
from r2plus1d.models import summary
from r2plus1d.models.zoo import ARCHITECTURES, C3D

COMPARISON = {
    'runs': (pathlib.Path, options.REQUIRED, 'folder with a folder named after each network'),
}
# All flags of a network but its name, which is the folder's
SAME = {name: option for name, option in options.NETWORK.items() if name != 'model_name'}
HEADER = (
    'network', 'params (M)', 'GLOPs', 'epochs', 'train loss', 'train clip', 'test clip',
    'test video',
)  # fmt: skip


def main():
    args = options.parse(__doc__, COMPARISON, SAME)
    lines = [row(log, network, args) for network, log in logs(args.runs)]
    for line in (HEADER, ['---'] * len(HEADER), *sorted(lines, key=lambda line: float(line[-1]))):
        print(f'| {" | ".join(line)} |')


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
    multiply_adds, parameters = summary.totals(from_options.network(args))
    last = epochs[-1]
    accuracies = ('train_accuracy', 'test_clip', 'test_top1')
    return [
        name, f'{parameters / 1e6:.3f}', f'{multiply_adds / 1e9:.3f}', last['epoch'],
        f'{float(last["train_loss"]):.3f}',
        *(f'{100 * float(last[column]):.1f}' for column in accuracies),
    ]  # fmt: skip


if __name__ == '__main__':
    cli.run(main)
