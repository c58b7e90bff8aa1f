"""List the published networks, check their figures against ours, or download their weights.

Example:
    .venv/bin/python tools/model_zoo.py --download=r2.5d_d18_l8
"""

import _start  # noqa: F401

# isort: split

import decimal
import pathlib
from typing import Callable, NamedTuple, Union

from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import FAILED, run
from r2plus1d.networks import copies, cost, published
from r2plus1d.weights import download
from r2plus1d.weights.copies import fetch_copy

ADDRESS = 'https://www.dropbox.com/s/{key}/{name}.pkl?dl=1'
OPTIONS = {
    'check': (
        flag_types.bit,
        False,
        '1, or --check alone: fail if our figures are not the published',
    ),
    'download': (
        flag_types.one_of(*published.PUBLISHED, *copies.COPIES, also=published.FILES),
        None,
        'fetch these weights and print their path; a file of the original host may be named too',
    ),
    'cache': (pathlib.Path, None, 'for weights; R2PLUS1D_CACHE or ~/.cache/r2plus1d if absent'),
    'mirror': (
        str,
        None,
        f'where the files are; R2PLUS1D_MIRROR if absent, and without both {ADDRESS}',
    ),
}  # fmt: skip
UNPUBLISHED = '-'
LOG_DIGITS = 3  # behind the point, in what the original prints


class Column(NamedTuple):
    """A column of a table: its two lines of heading, and what stands in it for a row."""

    top: str
    bottom: str
    value: Callable[[published.Published], Union[str, float, None]]


NETWORK = (
    Column('', 'name', lambda row: row.name),
    Column('', 'model', lambda row: row.label),
    Column('', 'input', lambda row: f'{row.clip_length}x{row.crop_size}x{row.crop_size}'),
    Column('', 'modality', lambda row: row.modality),
    Column('', 'pre-trained', lambda row: row.pretrained),
)
ACCURACIES = (
    Column('clip', '@1', lambda row: row.clip_top1),
    Column('video', '@1', lambda row: row.video_top1),
    Column('video', '@5', lambda row: row.video_top5),
)
COSTS = (
    Column('GLOPs', 'publ.', lambda row: row.glops),
    Column('GLOPs', 'ours', lambda row: ours(row)[0]),
    Column('params', 'publ.', lambda row: row.params),
    Column('params', 'ours', lambda row: ours(row)[1]),
)
LABELS = (Column('', 'classes', lambda row: str(row.num_labels or '?')),)
OF_RGB = tuple(column for column in NETWORK if column.bottom != 'modality')
TABLES = (
    (
        'Table 2: trained from scratch, tested on 10 clips a video',
        'TABLE_2',
        NETWORK + ACCURACIES + COSTS,
    ),
    (
        'Table 5: deeper networks and longer clips, tested densely',
        'TABLE_5',
        NETWORK + ACCURACIES + COSTS,
    ),
    (
        'Later networks, RGB; costs are of crops of 128 instead of 112, and of 256 instead of 224',
        'LATER',
        OF_RGB + ACCURACIES + COSTS,
    ),
    ('The same before they were trained on Kinetics, RGB', 'HEADS', OF_RGB + LABELS + COSTS),
)


def ours(row):
    """(10^9 multiply-adds of a clip, 10^6 parameters) of the network that we build for a row."""
    multiply_adds, parameters = cost.totals(download.cost_network_of(row))
    return multiply_adds / 1e9, parameters / 1e6


def agrees(row):
    """Whether our figures round to the published ones; where there are none, building is enough."""
    figures = (row.glops, row.params)
    return all(p is None or p == _rounded(o, _digits(p)) for p, o in zip(figures, ours(row)))


def _digits(number):
    """Digits behind the point of a published number: 20 was published as 20.0."""
    return len(repr(float(number)).partition('.')[2])


def _rounded(number, digits):
    """As published: 49.7496 was 49.750 in a log, and from there 49.8 in a table."""
    number = decimal.Decimal(f'{number:.{max(LOG_DIGITS, digits)}f}')
    return float(number.quantize(decimal.Decimal(1).scaleb(-digits), decimal.ROUND_HALF_UP))


def print_table(title, rows, columns):
    columns = [column for column in columns if any(column.value(row) is not None for row in rows)]
    cells = [[column.value(row) for row in rows] for column in columns]
    print(title)
    for line in zip(*(_padded(column, values) for column, values in zip(columns, cells))):
        print(' '.join(line).rstrip())
    print()


def _padded(column, values):
    is_text = all(isinstance(value, str) for value in values)
    shown = [_shown(value) for value in values]
    width = max(map(len, (column.top, column.bottom, *shown)))
    adjust = str.ljust if is_text else str.rjust
    return [adjust(cell, width) for cell in (column.top, column.bottom, *shown)]


def _shown(value):
    if value is None:
        return UNPUBLISHED
    return value if isinstance(value, str) else f'{_rounded(value, 1):.1f}'


def print_zoo():
    for title, name, columns in TABLES:
        print_table(title, getattr(published, name), columns)
    print_copies()
    print('Weights')
    for row in published.PUBLISHED.values():
        print(row.name, row.link)


def print_copies():
    print('Of other publishers, as PyTorch has them: video @1/@5, {name} in their addresses')
    for address in dict.fromkeys(row.address for row in copies.ROWS):
        print(address)
    for row in copies.ROWS:
        size = f'{row.clip_length}x112x112, rate {row.rate}'
        top = f'{row.video_top1:.1f}/{row.video_top5:.1f}'
        print(row.name, row.label, size, top if row.video_top1 else UNPUBLISHED, sep=' | ')
    print()


def check():
    """Print the rows that disagree and how many do not; return the exit status."""
    first, later = published.TABLE_2 + published.TABLE_5, published.LATER + published.HEADS
    compared = [row for row in later if row.glops or row.params]
    wrong = [row for row in first + later if not agrees(row)]
    for row in wrong:
        glops, params = ours(row)
        print(f'{row.name}: {row.glops} GLOPs published, {glops:.3f} ours; ', end='')
        print(f'params {row.params} published, {params:.3f} ours')
    print(f'{len(first) - len(set(first) & set(wrong))} of {len(first)} rows agree')
    right = len(compared) - len(set(compared) & set(wrong))
    print(f'later networks: {right} of {len(compared)} rows with published figures agree')
    return FAILED if wrong else 0


def main():
    args = command_line.parse(__doc__, OPTIONS)
    if args.check:
        return check()
    if args.download:
        folder = args.cache or download.cache_folder()
        if args.download in copies.COPIES:
            print(fetch_copy(copies.COPIES[args.download], folder, mirror=args.mirror))
        else:
            print(download.fetch(published.find(args.download), folder, mirror=args.mirror))
    else:
        print_zoo()
    return 0


if __name__ == '__main__':
    run(main)
