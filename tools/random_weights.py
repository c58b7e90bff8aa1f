"""Seeded random weights of a network, to try the other tools without trained ones."""

import pathlib

from r2plus1d import cli, from_options, options
from r2plus1d.models import weights

OUTPUT = {
    'save_model_path': (pathlib.Path, options.REQUIRED, 'pickle to write'),
    'seed': (options.integer(0), 0, 'of the random numbers'),
}


def main():
    args = options.parse(__doc__, options.NETWORK, OUTPUT)
    network = from_options.network(args)
    parameters = weights.random_parameters(network, args.seed)
    weights.save_pickle(args.save_model_path, parameters)
    print(f'{network.name}: {len(parameters)} random blobs in {args.save_model_path}')


if __name__ == '__main__':
    cli.run(main)
