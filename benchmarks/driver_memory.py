"""Peak memory of the driver of Ray over more and more records, to see how it grows.

    .venv-modern/bin/python benchmarks/driver_memory.py --records=10000,1000000

The driver is a process of its own for each number, with a cluster that is started for it. Its
actors open no network and no video: they only say that a shard is done, as after any work. What a
tool knows of its records comes on top: 110 bytes of each (docs/cluster.md).
"""

import contextlib
import functools
import pathlib
import resource
import subprocess
import sys
import tempfile

import machine

from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import run
from r2plus1d.cluster.actor import Counts, Worker
from r2plus1d.cluster.connection import connected
from r2plus1d.cluster.driver import ShardJob, run_shards
from r2plus1d.cluster.needs import Needs
from r2plus1d.cluster.run import shard_count
from r2plus1d.errors import InputError
from r2plus1d.results.shards import ShardFolder

BENCHMARK = {
    'records': (flag_types.integers, [10_000, 1_000_000], 'numbers of records, between commas'),
    'drive': (flag_types.integer(1), None, 'be the driver of so many records'),
}


def main():
    args = command_line.parse(__doc__, BENCHMARK)
    if args.drive:
        return drive(args.drive)
    print(machine.description())
    for records in args.records or [10_000, 1_000_000]:
        command = [sys.executable, __file__, f'--drive={records}']
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f'{" ".join(command)} failed: {done.stderr.strip()}')
        print(done.stdout, end='', flush=True)
    return 0


def drive(records):
    """Be a driver, and print the most memory that it had."""
    with tempfile.TemporaryDirectory() as folder, connected('auto', Needs()):
        shards = ShardFolder(pathlib.Path(folder) / 'x')
        count = shard_count(Needs(), records)
        open_worker = functools.partial(say_done, shards, records)
        given_up = run_shards(ShardJob(open_worker, shards, count, records, {}), Needs())
    if given_up:
        raise InputError(f'{len(given_up)} of {count} shards were given up')
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f'{records} records in {count} shards: peak {peak:.0f} MiB')
    return 0


@contextlib.contextmanager
def say_done(shards, records):
    """Give a Worker that only writes the notes of its shards."""

    def run_one(shard):
        begin, end = shard.part(records)
        shards.finish(shard, begin, end, {}, failed=0)
        return Counts(end - begin, 0)

    yield Worker({}, run_one)


if __name__ == '__main__':
    run(main)
