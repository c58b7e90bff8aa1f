"""Decoding and network, each alone and together: how well they overlap, and how memory grows.

    .venv/bin/python benchmarks/pipeline.py --width=0.125          # overlap, two minutes
    .venv/bin/python benchmarks/pipeline.py --records=100,1000     # peak memory, in fresh processes

At full width, the default, the network takes twelve seconds a video of ten clips on two cores.

Times are medians over --repeats rounds, in each of which the three take turns.
"""

import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.datasets.database import Database
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import decode
from r2plus1d.errors import InputError
from r2plus1d.inference.prediction import predict
from r2plus1d.networks.initial import random_parameters
from r2plus1d.weights.files import save_pickle

ROOT = pathlib.Path(__file__).resolve().parents[1]
BENCHMARK = {
    'repeats': (flag_types.integer(1), 3, 'rounds'),
    'records': (
        flag_types.integers,
        [],
        'measure memory over so many records instead of the overlap',
    ),
}
GROUPS = (
    flags.DATABASE,
    flags.NETWORK,
    flags.CLIPS,
    flags.ENGINE,
    flags.DEVICES,
    BENCHMARK,
)


def main():
    database = ROOT / 'data' / 'sample' / 'test_lmdb'
    args = flags.parse(__doc__, *GROUPS, test_data=database, num_labels=400, clip_length_rgb=8)
    if not args.test_data.is_dir():
        raise InputError(
            f'{args.test_data} is missing: sh scripts/create_kinetics_lmdb.sh makes it'
        )
    print(machine())
    return memory(args) if args.records else overlap(args)


def overlap(args):
    """Print the seconds of decoding alone, network alone and both, and their ratio."""
    network = from_flags.network(args)
    with (
        from_flags.open_reader(args, args.batch_size) as reader,
        from_flags.engine(args, network, [network.prediction]) as engine,
    ):
        engine.load(random_parameters(network, 0))
        batches = list(batches_of(reader, args.batch_size))
        rounds = [
            (
                seconds(lambda: list(reader)),
                seconds(lambda: [engine.run(batch) for batch in batches]),
                seconds(lambda: list(predict(reader, engine, batch_size=args.batch_size))),
            )
            for _ in range(args.repeats)
        ]
    decoding, running, both = (statistics.median(times) for times in zip(*rounds))
    ratio = statistics.median(t[2] / max(t[:2]) for t in rounds)
    print(f'{network.name}, {len(reader)} videos, {engine.name} in {engine.precision}')
    print(f'on {from_flags.devices(args)}, {args.num_decode_threads} threads decode')
    print(f'decoding alone {decoding:.2f} s, network alone {running:.2f} s, together {both:.2f} s')
    print(f'together / the slower alone: {ratio:.3f} (median of {args.repeats})')


def batches_of(reader, size):
    """What the engine gets: [pixels]."""
    samples = [sample for sample in reader if sample.failure is None]
    for first in range(0, len(samples), size):
        part = samples[first : first + size]
        yield np.concatenate([s.clips.pixels for s in part])


def memory(args):
    """Print the peak memory of test_net over each number of records, the same videos again."""
    peaks = []
    for records in args.records:
        with tempfile.TemporaryDirectory() as folder:
            peaks.append(peak_of(args, records, pathlib.Path(folder)))
        share = peaks[-1] / peaks[0]
        print(f'{records} records: peak {peaks[-1] / 1e6:.0f} MB, {share:.3f} of the first')


def peak_of(args, records, folder):
    """Peak resident bytes of one run of test_net over `records` records."""
    repeat_database(args.test_data, folder / 'lmdb', records)
    network = from_flags.network(args)
    save_pickle(folder / 'weights.pkl', random_parameters(network, 0))
    passed = [a for a in sys.argv[1:] if not re.match('--(records|repeats|test_data)=', a)]
    command = [
        sys.executable, str(ROOT / 'tools' / 'test_net.py'), '--num_labels=400',
        '--clip_length_rgb=8', *passed, f'--test_data={folder / "lmdb"}',
        f'--load_model_path={folder / "weights.pkl"}', f'--output={folder / "p.csv"}',
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise InputError(f'test_net failed; run it: {" ".join(command)}')
    return usage.ru_maxrss * 1024


def repeat_database(source, target, records):
    with Database(source) as database:
        videos = [decode(value) for _, _, value in database.records()]
    with DatabaseWriter(target, records) as writer:
        for index in range(records):
            writer.add(videos[index % len(videos)])


def seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def machine():
    """The processor, its cores and the date: what the figures hold for."""
    text = (
        pathlib.Path('/proc/cpuinfo').read_text() if pathlib.Path('/proc/cpuinfo').exists() else ''
    )
    name = re.search(r'model name\s*: (.*)', text)
    processor = name.group(1) if name else 'unknown processor'
    return f'{processor}, {len(os.sched_getaffinity(0))} cores, {time.strftime("%Y-%m-%d")}'


if __name__ == '__main__':
    run(main)
