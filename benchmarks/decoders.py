"""Decoding in processes against decoding in threads of the program: speed, and processor time.

    .venv/bin/python benchmarks/decoders.py                    # a minute; a narrow network
    .venv/bin/python benchmarks/decoders.py --width=1 --videos=4

The videos are generated: 10 s of 340 x 256 H.264. In each round both ways take turns in one
program, with decoding alone and with a network behind it; figures are medians over the rounds.
Processor time is that of the program and of all processes that it started.
"""

import contextlib
import pathlib
import statistics
import tempfile

import machine
import videos

from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.inference.prediction import predict
from r2plus1d.networks.initial import random_parameters
from r2plus1d.sources import database_source, grouped, sample
from r2plus1d.video import prefetch
from r2plus1d.video.decoders import DECODERS

BENCHMARK = {
    'videos': (flag_types.integer(1), 24, 'how many are generated'),
    'repeats': (flag_types.integer(1), 5, 'rounds'),
}
GROUPS = (
    BENCHMARK, flags.DATABASE, flags.NETWORK, flags.CLIPS, flags.ENGINE, flags.DEVICES,
)  # fmt: skip
DEFAULTS = {
    'num_labels': 400, 'clip_length_rgb': 8, 'width': 0.25, 'test_data': None, 'batch_size': 4,
}  # fmt: skip
MODULES = (database_source, grouped, prefetch, sample)


class InThreads:
    """Does in the thread that calls what Decoders does in another process."""

    def prepare(self):
        pass

    def call(self, budget, function, *args, **keywords):
        return function(*args, **keywords)

    def stream(self, budget, function, *args):
        yield from function(*args)

    def ending_calls(self, threads):
        return contextlib.nullcontext()


WAYS = {'threads': InThreads(), 'processes': DECODERS}


def main():
    args = command_line.parse(__doc__, *GROUPS, **DEFAULTS)
    network = from_flags.network(args)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        paths = videos.write_videos(folder, args.videos, size=(340, 256), num_frames=300, fps=30)
        args.test_data = videos.write_database(folder / 'lmdb', paths)
        with from_flags.engine(args, network, [network.prediction]) as engine:
            engine.load(random_parameters(network, 0))
            works = {'decoding alone': decode, 'with the network': with_network}
            rounds = [
                {
                    (work, way): measured(works[work], way, args, engine)
                    for work in works
                    for way in WAYS
                }
                for number in range(1 + args.repeats)
            ][1:]  # in the first one everything is met for the first time
    print(machine.description())
    print(f'{args.videos} videos of 10 s, {network.name}, {args.num_decode_threads} at a time')
    print(f'{"":<18} {"":<10} {"videos/s":>9} {"CPU-s/video":>12}')
    for work in works:
        for way in WAYS:
            seconds, cpu = (statistics.median(r[work, way][i] for r in rounds) for i in (0, 1))
            print(f'{work:<18} {way:<10} {args.videos / seconds:>9.2f} {cpu / args.videos:>12.3f}')
        speed, cost = (
            statistics.median(r[work, 'threads'][i] / r[work, 'processes'][i] for r in rounds)
            for i in (0, 1)
        )  # fmt: skip
        print(f'{work}: speed {speed:.3f} of threads, processor time {1 / cost:.3f} times theirs')


def measured(work, way, args, engine):
    """(seconds, processor seconds) of going through the database once."""
    for module in MODULES:
        module.DECODERS = WAYS[way]
    before = machine.cpu_seconds()
    with from_flags.open_reader(args, args.batch_size) as reader:
        seconds = machine.seconds(lambda: work(reader, engine, args))
    return seconds, machine.cpu_seconds() - before


def decode(reader, engine, args):
    for made in reader:
        assert made.failure is None, made.failure


def with_network(reader, engine, args):
    for made, _ in predict(reader, engine, batch_size=args.batch_size):
        assert made.failure is None, made.failure


if __name__ == '__main__':
    run(main)
