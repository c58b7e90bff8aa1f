r"""Several networks that were trained in the same way, in one table: cost and accuracy.

Runs of one network with several seeds are averaged: seed0/r2plus1d, seed1/r2plus1d.

Example:
    .venv/bin/python tools/compare_training.py --runs=output/sample_study \
        --clip_length_rgb=8 --num_labels=8 --width=0.125
"""

import _start  # noqa: F401

# isort: split

import pathlib

from r2plus1d.cli import command_line, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.evaluation.runs import compare_runs

COMPARISON = {
    'runs': (
        pathlib.Path,
        flags.REQUIRED,
        'folder with a folder for each network, r2plus1d or ir-csn-50; or with folders of those',
    ),
}
# All flags of a network but its name, which is the folder's
SAME = {name: option for name, option in flags.NETWORK.items() if name != 'model_name'}


def main():
    args = command_line.parse(__doc__, COMPARISON, SAME)
    depth = args.model_depth

    def network_of(name, its_depth):
        args.model_name, args.model_depth = name, its_depth or depth
        return from_flags.network(args)

    header, *rows = compare_runs(args.runs, network_of)
    for line in (header, ['---'] * len(header), *rows):
        print(f'| {" | ".join(line)} |')


if __name__ == '__main__':
    run(main)
