"""Training runs of several networks in one table; runs of one network are averaged."""

import csv
import logging
import math
import pathlib
import re
import statistics
from collections.abc import Iterator, Sequence
from typing import Callable, Optional

from r2plus1d.errors import InputError
from r2plus1d.networks import cost
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, C3D
from r2plus1d.results.given_file import open_text

log = logging.getLogger(__name__)

HEADER = (
    'network', 'params (M)', 'GLOPs', 'runs', 'epochs', 'train loss', 'train clip', 'test clip',
    'test video',
)  # fmt: skip
# Column of a log: (factor, decimals) of its cell
LOGGED = {
    'train_loss': (1, 3),
    'train_accuracy': (100, 1),
    'test_clip': (100, 1),
    'test_top1': (100, 1),
}
FOLDER = re.compile(r'(.+?)(?:-(\d+))?')  # r2plus1d, ir-csn-50
MOST_DIGITS = 4  # of a depth


def compare_runs(
    folder: pathlib.Path, network_of: Callable[[str, Optional[int]], Network]
) -> Iterator[Sequence[str]]:
    """Yield the cells of a table of training runs, its header first, the best accuracy last.

    A network of several runs has their means, each with the standard deviation of the runs.

    Args:
        folder: with a folder named after each network, such as `r2plus1d` or `ir-csn-50`, which
            holds its training log; or with several folders that have such folders in them, as
            `seed0/r2plus1d`.
        network_of: from the name of an architecture, and its depth or None, to the network that
            was trained.

    Raises:
        InputError: there are no logs of a network, one has no epochs or is no training log, or the
            runs of a network differ in epochs.
    """
    runs: dict[tuple[str, Optional[int]], list[pathlib.Path]] = {}
    for path in _find_logs(folder):
        runs.setdefault(_architecture(path), []).append(path)
    networks = {key: network_of(*key) for key in sorted(runs, key=str)}
    rows = [_row(_logs_of(net, runs[key]), net) for key, net in networks.items()]
    yield HEADER
    yield from (cells for _, cells in sorted(rows, key=lambda row: row[0]))


def _find_logs(folder):
    logs, nested = (
        [path for path in sorted(folder.glob(pattern)) if _architecture(path)]
        for pattern in ('*/*_log.csv', '*/*/*_log.csv')
    )
    if logs and nested:
        log.warning('%s and other logs outside of the folders of seeds are left out', logs[0])
    if not (nested or logs):
        raise InputError(f'{folder} has no training logs, such as r2plus1d/r2plus1d_log.csv')
    return nested or logs


def _logs_of(network, paths):
    """Those of the paths that are logs of a network, and not of one of another width."""
    found = [path for path in paths if path.name == f'{network.stem}_log.csv']
    others = [path for path in paths if path not in found]
    if not found:
        raise InputError(f'{others[0]} is of another network than {network.name}')
    for path in others:
        log.warning('%s is left out: it is of another network than %s', path, network.name)
    return found


def _architecture(path):
    """(architecture, depth or None) that the folder of a log is named after, or None."""
    match = FOLDER.fullmatch(path.parent.name)
    if not match or match[1] not in (*ARCHITECTURES, C3D) or len(match[2] or '') > MOST_DIGITS:
        return None
    return match[1], int(match[2]) if match[2] else None


def _row(paths, network):
    """(what to sort by, cells) of one network, from the last epochs of its logs."""
    epochs, figures = zip(*map(_last_epoch, paths))
    for path, count in zip(paths, epochs):
        if count != epochs[0]:
            raise InputError(
                f'{paths[0]} has {epochs[0]} epochs, {path} has {count}: runs are averaged after '
                'the same number'
            )
    multiply_adds, parameters = cost.totals(network)
    columns = list(zip(*figures))
    best = statistics.fmean(columns[-1])
    cells = [
        paths[0].parent.name, f'{parameters / 1e6:.3f}', f'{multiply_adds / 1e9:.3f}',
        str(len(paths)), epochs[0], *map(_cell, columns, LOGGED.values()),
    ]  # fmt: skip
    return (not math.isnan(best), best), cells  # runs that were never tested come first


def _last_epoch(path):
    """(number, figures of LOGGED) of the last epoch of a log."""
    with open_text(path, newline='') as file:
        epochs = list(csv.DictReader(file))
    if not epochs:
        raise InputError(f'{path} has no epochs yet')
    try:
        return epochs[-1]['epoch'], [float(epochs[-1][column]) for column in LOGGED]
    except (KeyError, TypeError, ValueError):
        raise InputError(f'{path} is no training log: {", ".join(LOGGED)} are numbers') from None


def _cell(values, shown):
    factor, decimals = shown
    mean = f'{factor * statistics.fmean(values):.{decimals}f}'
    if len(values) == 1:
        return mean
    return f'{mean} ± {factor * statistics.stdev(values):.{decimals}f}'
