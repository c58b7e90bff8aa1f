r"""The parameters of a trained model (minidb) as a pickle of blobs by name.

Example:
    .venv/bin/python tools/minidb_to_pickle.py \
        --load_model_path=output/trial/r2plus1d_1.mdl \
        --save_model_path=r2plus1d.pkl
"""

import _start  # noqa: F401

# isort: split

import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.results.hold import holding
from r2plus1d.weights.files import halved, read_weights, save_pickle, without_solver

OPTIONS = {
    'load_model_path': (pathlib.Path, flags.REQUIRED, 'model that training saved'),
    'save_model_path': (flag_types.written, flags.REQUIRED, 'pickle to write'),
    'db_type': (flag_types.one_of('minidb'), 'minidb', 'kind of model file'),
    'half': (flag_types.bit, False, '1: store floats in 16 bits, half the size'),
}


def main():
    args = command_line.parse(__doc__, OPTIONS)
    stored = read_weights(args.load_model_path, args.db_type)
    blobs = without_solver(stored.blobs)
    if args.half:
        blobs = halved(blobs)
    with holding(args.save_model_path):
        save_pickle(args.save_model_path, blobs, stored.card)
    print(f'{len(blobs)} blobs in {args.save_model_path}')


if __name__ == '__main__':
    run(main)
