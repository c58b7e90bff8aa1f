"""Training: decoding alone, network alone, and both, to see whether decoding is hidden.

sh scripts/create_kinetics_lmdb.sh
.venv/bin/python benchmarks/training.py --width=0.125 --cpu_replicas=2 --batch_size=8
"""

import pathlib
import statistics

from pipeline import machine, seconds

from r2plus1d import cli, from_options, options
from r2plus1d.errors import InputError
from r2plus1d.training.data import TrainingData
from r2plus1d.training.net import TrainingNet

ROOT = pathlib.Path(__file__).resolve().parents[1]
RATE = 1e-4
BENCHMARK = {
    'repeats': (options.integer(1), 3, 'rounds'),
    'iterations': (options.integer(1), 6, 'batches a round'),
}
GROUPS = (options.DATABASE, options.NETWORK, options.CLIPS, options.DEVICES, BENCHMARK)


def main():
    database = ROOT / 'data' / 'sample' / 'test_lmdb'
    args = options.parse(__doc__, *GROUPS, test_data=database, clip_length_rgb=8, random_crop=True)
    if not args.test_data.is_dir():
        raise InputError(
            f'{args.test_data} is missing: sh scripts/create_kinetics_lmdb.sh makes it'
        )
    network, devices = from_options.network(args), from_options.devices(args)
    with (
        TrainingData(
            args.test_data,
            from_options.training_clips(args),
            from_options.record_needs(args),
            batch_size=args.batch_size * len(devices.ids),
            threads=args.num_decode_threads,
        ) as data,
        TrainingNet(network, devices=devices, weight_decay=0) as net,
    ):
        batches = list(data.batches(0, args.iterations))
        net.step(batches[0].data, batches[0].label, RATE)  # the first one is slower
        rounds = [measure(data, net, batches) for _ in range(args.repeats)]
    decoding, running, both = (statistics.median(times) for times in zip(*rounds))
    clips = args.iterations * data.batch_size
    print(machine())
    print(f'{network.name}, {clips} clips a round, {devices}, {args.num_decode_threads} threads')
    print(f'decoding alone {decoding:.2f} s, network alone {running:.2f} s, together {both:.2f} s')
    share = statistics.median(times[1] / times[2] for times in rounds)
    print(f'network alone / together: {share:.3f}; {clips / both:.2f} clips a second')


def measure(data, net, batches):
    """Seconds of decoding the batches, of training on them, and of both at once."""
    count = len(batches)
    return (
        seconds(lambda: list(data.batches(0, count))),
        seconds(lambda: [net.step(b.data, b.label, RATE) for b in batches]),
        seconds(lambda: [net.step(b.data, b.label, RATE) for b in data.batches(0, count)]),
    )


if __name__ == '__main__':
    cli.run(main)
