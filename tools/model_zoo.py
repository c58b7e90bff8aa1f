"""List the published networks, check their figures against ours, or download their weights.

Example:
    .venv/bin/python tools/model_zoo.py --download=r2.5d_d18_l8
"""

import _start  # noqa: F401

# isort: split

import pathlib

from r2plus1d.cli import flag_types, flags
from r2plus1d.cli.main import FAILED, run
from r2plus1d.networks import cost, published
from r2plus1d.weights import download

ADDRESS = 'https://www.dropbox.com/s/{key}/{name}.pkl?dl=1'
OPTIONS = {
    'check': (
        flag_types.bit,
        False,
        '1, or --check alone: fail if our figures are not the published',
    ),
    'download': (
        flag_types.one_of(*published.PUBLISHED),
        None,
        'fetch these weights and print their path',
    ),
    'cache': (pathlib.Path, None, 'for weights; R2PLUS1D_CACHE or ~/.cache/r2plus1d if absent'),
    'mirror': (str, None, f'where the files are, if not at {ADDRESS}'),
}  # fmt: skip
HEADER = (
    ('', '', '', '', '', 'clip', 'video', 'video', 'GLOPs', 'GLOPs', 'params', 'params'),
    ('name', 'model', 'input', 'modality', 'pre-trained',
     '@1', '@1', '@5', 'publ.', 'ours', 'publ.', 'ours'),
)  # fmt: skip
TEXTS = 5  # columns that are text; numbers follow
UNPUBLISHED = '-'


def ours(row):
    """(10^9 multiply-adds of a clip, 10^6 parameters) of the network that we build for a row."""
    multiply_adds, parameters = cost.totals(download.network_of(row))
    return multiply_adds / 1e9, parameters / 1e6


def agrees(row):
    """Whether our figures round to the published ones; where there are none, building is enough."""
    figures = (row.glops, row.params)
    return all(p is None or p == round(o, 1) for p, o in zip(figures, ours(row)))


def cells(row):
    size = f'{row.clip_length}x112x112'
    glops, params = ours(row)
    figures = (row.clip_top1, row.video_top1, row.video_top5, row.glops, glops, row.params, params)
    numbers = (UNPUBLISHED if number is None else f'{number:.1f}' for number in figures)
    return (row.name, row.label, size, row.modality, row.pretrained, *numbers)


def print_table(title, rows):
    columns = list(zip(*HEADER, *map(cells, rows)))
    texts, numbers = columns[:TEXTS], columns[TEXTS:]
    numbers = [column for column in numbers if set(column[len(HEADER) :]) != {UNPUBLISHED}]
    padded = [_padded(str.ljust, c) for c in texts] + [_padded(str.rjust, c) for c in numbers]
    print(title)
    for line in zip(*padded):
        print(' '.join(line))
    print()


def _padded(adjust, column):
    width = max(map(len, column))
    return [adjust(cell, width) for cell in column]


def print_zoo():
    print_table('Table 2: trained from scratch, tested on 10 clips a video', published.TABLE_2)
    print_table('Table 5: deeper networks and longer clips, tested densely', published.TABLE_5)
    print('Weights')
    for row in published.PUBLISHED.values():
        print(row.name, row.link)


def check():
    """Print the rows that disagree and how many do not; return the exit status."""
    every = published.TABLE_2 + published.TABLE_5
    wrong = [row for row in every if not agrees(row)]
    for row in wrong:
        glops, params = ours(row)
        print(f'{row.name}: {row.glops} GLOPs published, {glops:.3f} ours; ', end='')
        print(f'params {row.params} published, {params:.3f} ours')
    print(f'{len(every) - len(wrong)} of {len(every)} rows agree')
    return FAILED if wrong else 0


def main():
    args = flags.parse(__doc__, OPTIONS)
    if args.check:
        return check()
    if args.download:
        folder = args.cache or download.cache_folder()
        print(download.fetch(published.PUBLISHED[args.download], folder, mirror=args.mirror))
    else:
        print_zoo()
    return 0


if __name__ == '__main__':
    run(main)
