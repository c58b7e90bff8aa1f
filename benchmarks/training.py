"""Training: decoding alone, network alone, and both, to see whether decoding is hidden.

benchmarks/trainers.py compares trainers with it.

sh scripts/create_kinetics_lmdb.sh
.venv/bin/python benchmarks/training.py --width=0.125 --cpu_replicas=2 --batch_size=8
"""

import json
import pathlib
import statistics

import machine

from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import open_trainer
from r2plus1d.backends.table import TRAINERS, TRAINING_PRECISIONS
from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError
from r2plus1d.sources.shuffled import TrainingData

ROOT = pathlib.Path(__file__).resolve().parents[1]
RATE = 1e-4
BENCHMARK = {
    'repeats': (flag_types.integer(1), 3, 'rounds'),
    'iterations': (flag_types.integer(1), 6, 'batches of a round'),
    'trainer': (flag_types.one_of(*TRAINERS), 'auto', 'what trains, as in tools/train_net.py'),
    'train_precision': (flag_types.one_of(*TRAINING_PRECISIONS), 'fp32', 'what it computes in'),
    'json': (flag_types.bit, False, '1: print the medians as one line of JSON'),
}
GROUPS = (flags.DATABASE, flags.NETWORK, flags.CLIPS, flags.DEVICES, BENCHMARK)


def main():
    database = ROOT / 'data' / 'sample' / 'test_lmdb'
    args = command_line.parse(
        __doc__, *GROUPS, test_data=database, clip_length_rgb=8, random_crop=True
    )
    if not args.test_data.is_dir():
        raise InputError(
            f'{args.test_data} is missing: sh scripts/create_kinetics_lmdb.sh makes it'
        )
    network, devices = from_flags.network(args), from_flags.devices(args)
    settings = TrainerSettings(args.trainer, weight_decay=0, precision=args.train_precision)
    with (
        TrainingData(
            args.test_data,
            from_flags.training_clips(args),
            from_flags.record_needs(args),
            batch_size=args.batch_size * len(devices.ids),
            threads=args.num_decode_threads,
        ) as data,
        open_trainer(network, devices=devices, settings=settings) as trainer,
    ):
        batches = list(data.batches(0, args.iterations))
        trainer.step(batches[0].data, batches[0].label, RATE)  # the first one is slower
        rounds = [measure(data, trainer, batches) for _ in range(args.repeats)]
        name = trainer.name
    decoding, running, both, waiting = (statistics.median(times) for times in zip(*rounds))
    clips = args.iterations * data.batch_size
    if args.json:
        print(json.dumps({'trainer': name, 'clips_per_second': clips / both, 'waiting': waiting}))
        return
    print(machine.description())
    print(f'{network.name}, {clips} clips a round, {devices}, {args.num_decode_threads} threads')
    print(f'decoding alone {decoding:.2f} s, network alone {running:.2f} s, together {both:.2f} s')
    share = statistics.median(times[1] / times[2] for times in rounds)
    print(f'network alone / together: {share:.3f}; {clips / both:.2f} clips per second')
    print(f'trainer {name}, {args.train_precision}; waiting for data {100 * waiting:.1f}%')


def measure(data, trainer, batches):
    """Seconds of decoding the batches, of training, and of both; the share of waiting in both."""

    def decode():
        return data.batches(0, len(batches))

    def train(given):
        return [trainer.step(batch.data, batch.label, RATE) for batch in given]

    decoding = machine.seconds(lambda: list(decode()))
    running = machine.seconds(lambda: train(batches))
    waits = []
    both = machine.seconds(lambda: train(waited_for(decode(), waits)))
    return decoding, running, both, sum(waits) / both


def waited_for(batches, waits):
    """Yield the batches; how many seconds each was waited for is added to `waits`."""
    batches = iter(batches)
    while True:
        batch, waited = machine.timed(lambda: next(batches, None))
        waits.append(waited)
        if batch is None:
            return
        yield batch


if __name__ == '__main__':
    run(main)
