"""Show what a network is made of: every blob of a clip, its shape and its cost.

Example:
    python tools/show_net.py --model_name=r2plus1d --model_depth=18 --clip_length_rgb=8
"""

import json

from r2plus1d import cli, from_options, options
from r2plus1d.errors import InputError
from r2plus1d.models import summary

SHOW = {
    'json': (options.bit, False, '1, or --json alone: the graph and its parameters as JSON'),
    'training': (options.bit, False, '1: the graph as it is trained (with --json)'),
}
HEADER = ('blob', 'operator', 'clip', 'parameters', 'multiply-adds')
LAYOUT = '{:<32} {:<16} {:>15} {:>12} {:>15}'


def as_json(network, training):
    """The graph as one JSON object, the settings it was built from first."""
    settings = {
        'model_name': network.architecture,
        'model_depth': network.depth,
        'clip_length': network.clip_length,
        'crop_size': network.crop_size,
        'num_channels': network.num_channels,
        'num_labels': network.num_labels,
    }
    return json.dumps({**settings, **summary.schema(network, training=training)})


def print_table(network):
    print(LAYOUT.format(*HEADER))
    for row in summary.rows(network):
        shape = 'x'.join(map(str, row.shape)) or '-'
        costs = [f'{n:,}' if n else '' for n in (row.parameters, row.multiply_adds)]
        print(LAYOUT.format(row.blob, row.operator, shape, *costs).rstrip())
    multiply_adds, parameters = summary.totals(network)
    print(f'FLOPs: {multiply_adds / 1e9:.3f}, params: {parameters / 1e6:.3f}')


def main():
    args = options.parse(__doc__.splitlines()[0], options.NETWORK, SHOW)
    if args.training and not args.json:
        raise InputError('training is 1 without --json; the table is of the inference network')
    network = from_options.network(args)
    if args.json:
        print(as_json(network, args.training))
    else:
        print_table(network)


if __name__ == '__main__':
    cli.run(main)
