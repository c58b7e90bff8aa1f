r"""Show what a network is made of: every blob of a clip, its shape and its cost.

Example:
    .venv/bin/python tools/show_net.py --model_name=r2plus1d \
        --model_depth=18 --clip_length_rgb=8
"""

import _start  # noqa: F401

# isort: split

import json

from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError
from r2plus1d.networks import cost

SHOW = {
    'json': (flag_types.bit, False, '1, or --json alone: the graph and its parameters as JSON'),
    'training': (flag_types.bit, False, '1: the graph as it is trained (with --json)'),
}
HEADER = ('blob', 'operator', 'clip', 'parameters', 'multiply-adds')
LAYOUT = '{:<32} {:<16} {:>15} {:>12} {:>15}'


def as_json(network, training):
    """The graph as one JSON object, the settings it was built from first."""
    from r2plus1d.backends.caffe2.schema import schema  # where there is Caffe2

    settings = {
        'model_name': network.architecture,
        'model_depth': network.depth,
        'clip_length': network.clip_length,
        'crop_size': network.crop_size,
        **{
            name: True for name in ('use_pool1', 'use_convolutional_pred') if getattr(network, name)
        },
        'num_channels': network.num_channels,
        'num_labels': network.num_labels,
    }
    return json.dumps({**settings, **schema(network, training=training)})


def print_table(network):
    print(LAYOUT.format(*HEADER))
    for row in cost.rows(network):
        shape = 'x'.join(map(str, row.shape)) or '-'
        costs = [f'{n:,}' if n else '' for n in (row.parameters, row.multiply_adds)]
        print(LAYOUT.format(row.blob, row.operator, shape, *costs).rstrip())
    multiply_adds, parameters = cost.totals(network)
    print(f'FLOPs: {multiply_adds / 1e9:.3f}, params: {parameters / 1e6:.3f}')


def main():
    args = command_line.parse(__doc__, flags.NETWORK, SHOW)
    if args.training and not args.json:
        raise InputError('training is 1 without --json; the table is of the inference network')
    network = from_flags.network(args)
    if args.json:
        print(as_json(network, args.training))
    else:
        print_table(network)


if __name__ == '__main__':
    run(main)
