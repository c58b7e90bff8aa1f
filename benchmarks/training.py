"""Training: decoding alone, network alone, and both, to see whether decoding is hidden.

sh scripts/create_kinetics_lmdb.sh
.venv/bin/python benchmarks/training.py --width=0.125 --cpu_replicas=2 --batch_size=8
"""

import pathlib
import statistics

import machine

from r2plus1d.backends.caffe2.trainer import TrainingNet
from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError
from r2plus1d.sources.shuffled import TrainingData

ROOT = pathlib.Path(__file__).resolve().parents[1]
RATE = 1e-4
BENCHMARK = {
    'repeats': (flag_types.integer(1), 3, 'rounds'),
    'iterations': (flag_types.integer(1), 6, 'batches of a round'),
}
GROUPS = (flags.DATABASE, flags.NETWORK, flags.CLIPS, flags.DEVICES, BENCHMARK)


def main():
    database = ROOT / 'data' / 'sample' / 'test_lmdb'
    args = flags.parse(__doc__, *GROUPS, test_data=database, clip_length_rgb=8, random_crop=True)
    if not args.test_data.is_dir():
        raise InputError(
            f'{args.test_data} is missing: sh scripts/create_kinetics_lmdb.sh makes it'
        )
    network, devices = from_flags.network(args), from_flags.devices(args)
    with (
        TrainingData(
            args.test_data,
            from_flags.training_clips(args),
            from_flags.record_needs(args),
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
    print(machine.description())
    print(f'{network.name}, {clips} clips a round, {devices}, {args.num_decode_threads} threads')
    print(f'decoding alone {decoding:.2f} s, network alone {running:.2f} s, together {both:.2f} s')
    share = statistics.median(times[1] / times[2] for times in rounds)
    print(f'network alone / together: {share:.3f}; {clips / both:.2f} clips per second')


def measure(data, net, batches):
    """Seconds of decoding the batches, of training on them, and of both at once."""
    count = len(batches)
    return (
        machine.seconds(lambda: list(data.batches(0, count))),
        machine.seconds(lambda: [net.step(b.data, b.label, RATE) for b in batches]),
        machine.seconds(lambda: [net.step(b.data, b.label, RATE) for b in data.batches(0, count)]),
    )


if __name__ == '__main__':
    run(main)
