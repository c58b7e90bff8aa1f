r"""Several networks that were trained in the same way, in one table: cost and accuracy.

Example:
    .venv/bin/python tools/compare_training.py --runs=output/sample_study \
        --clip_length_rgb=8 --num_labels=8 --width=0.125
"""

import _start  # noqa: F401

# isort: split

import pathlib

from r2plus1d.cli import flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.evaluation.compare import compare_runs

COMPARISON = {
    'runs': (pathlib.Path, flags.REQUIRED, 'folder with a folder named after each network'),
}
# All flags of a network but its name, which is the folder's
SAME = {name: option for name, option in flags.NETWORK.items() if name != 'model_name'}


def main():
    args = flags.parse(__doc__, COMPARISON, SAME)

    def network_of(name):
        args.model_name = name
        return from_flags.network(args)

    header, *rows = compare_runs(args.runs, network_of)
    for line in (header, ['---'] * len(header), *rows):
        print(f'| {" | ".join(line)} |')


if __name__ == '__main__':
    run(main)
