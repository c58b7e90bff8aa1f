"""The parameters of a trained model (minidb) as a pickle of blobs by name."""

import pathlib

from r2plus1d import cli, options
from r2plus1d.models import weights

OPTIONS = {
    'load_model_path': (pathlib.Path, options.REQUIRED, 'model that training saved'),
    'save_model_path': (pathlib.Path, options.REQUIRED, 'pickle to write'),
    'db_type': (options.one_of('minidb'), 'minidb', 'kind of model file'),
    'half': (options.bit, False, '1: store floats in 16 bits, half the size'),
}


def main():
    args = options.parse(__doc__, OPTIONS)
    blobs = weights.without_solver(weights.read_file(args.load_model_path, args.db_type))
    if args.half:
        blobs = weights.halved(blobs)
    weights.save_pickle(args.save_model_path, blobs)
    print(f'{len(blobs)} blobs in {args.save_model_path}')


if __name__ == '__main__':
    cli.run(main)
