r"""Seeded random weights of a network, to try the other tools without trained ones.

Example:
    .venv/bin/python tools/random_weights.py --save_model_path=random.pkl \
        --model_depth=18 --clip_length_rgb=8
"""

import _start  # noqa: F401

# isort: split

from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.networks.initial import random_parameters
from r2plus1d.results.complete import require_new
from r2plus1d.results.hold import holding
from r2plus1d.weights.card import of_network
from r2plus1d.weights.files import save_pickle

OUTPUT = {
    'save_model_path': (flag_types.written, flags.REQUIRED, 'pickle to write'),
    'seed': (flag_types.integer(0, flag_types.LARGEST_SEED), 0, 'of the random numbers'),
    'overwrite': (flag_types.bit, False, '1: replace the file that is there'),
}


def main():
    args = command_line.parse(__doc__, flags.NETWORK, OUTPUT)
    require_new(args.save_model_path, args.overwrite)
    network = from_flags.network(args)
    parameters = random_parameters(network, args.seed)
    card = of_network(network, batch_norm_folded=False)
    with holding(args.save_model_path):
        save_pickle(args.save_model_path, parameters, card)
    print(f'{network.name}: {len(parameters)} random blobs in {args.save_model_path}')


if __name__ == '__main__':
    run(main)
