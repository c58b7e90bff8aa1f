"""How often one record changes from file to file of lib/r2plus1d on its way to a score or a row.

A change of file is a call of a function, or a generator that goes on, from a function of another
file. What other processes decode is decoded in this one, so that it counts. What is there before
the first record is left out: twice as many records are gone through too.

sh scripts/create_kinetics_lmdb.sh
.venv/bin/python benchmarks/way_of_a_record.py
"""

import collections
import contextlib
import io
import logging
import pathlib
import runpy
import sys
import tempfile
import threading

from decoders import MODULES, InThreads

from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import run
from r2plus1d.datasets.database import Database
from r2plus1d.datasets.record import decode, holds_path
from r2plus1d.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[1]
TOOLS = ROOT / 'tools'
ROOMS = f'{ROOT}/lib/r2plus1d/'
SAMPLE = ROOT / 'data' / 'sample'
COUNTING = {
    'test_data': (pathlib.Path, SAMPLE / 'test_lmdb', 'LMDB of videos, or of their paths'),
    'records': (flag_types.integer(1), 4, 'records of the shorter run; the longer one has twice'),
    'pairs': (flag_types.integer(0), 0, 'pairs of files to list, the most frequent first'),
}
NETWORK = (
    f'--load_model_path={SAMPLE / "r2plus1d_18_8_w0.125.pkl"}', '--model_depth=18',
    '--width=0.125', '--num_labels=8', '--clip_length_rgb=8',
)  # fmt: skip
COMMON = (*NETWORK, '--engine=openvino', '--num_decode_threads=1')
CLIPS = ('--decode_type=uniform', '--clip_per_video=10', '--batch_size=1')
WAYS = {
    'evaluation': ('test_net.py', '--num_iter={}', '--failures={}/failures.csv'),
    'extraction': ('extract_features.py', '--num_iterations={}', '--output_path={}/f.pkl'),
}


def main():
    args = command_line.parse(__doc__, COUNTING)
    if not args.test_data.is_dir():
        raise InputError(
            f'{args.test_data} is missing: sh scripts/create_kinetics_lmdb.sh makes it'
        )
    decode_here()
    for name in WAYS:
        changes(name, args.test_data, 1)  # what is imported is then there in both runs
        once, twice = (changes(name, args.test_data, n * args.records) for n in (1, 2))
        twice.subtract(once)
        print(f'{name}: {sum(twice.values()) / args.records:.0f} changes of file for a record')
        for (caller, callee), count in twice.most_common(args.pairs):
            print(f'{count / args.records:6.1f}  {caller} -> {callee}')


def decode_here():
    """Let the sources decode in this process."""
    for module in MODULES:
        module.DECODERS = InThreads()


def holds_paths(database):
    with Database(database) as records:
        return holds_path(decode(records.first()))


def changes(name, database, records):
    """Return a Counter of (file, file called) of a whole run of a tool."""
    tool, count, place = WAYS[name]
    calls = []  # appending is safe in several threads; counting is not

    def watch(frame, event, _):
        if event != 'call' or frame.f_back is None:
            return
        callee, caller = frame.f_code.co_filename, frame.f_back.f_code.co_filename
        if callee != caller and callee.startswith(ROOMS) and caller.startswith(ROOMS):
            calls.append((caller[len(ROOMS) :], callee[len(ROOMS) :]))

    with tempfile.TemporaryDirectory() as folder:
        places = [count.format(records), place.format(folder)]
        kind = f'--use_local_file={int(holds_paths(database))}'
        argv = [tool, f'--test_data={database}', kind, *COMMON, *CLIPS, *places]
        threading.setprofile(watch)
        sys.setprofile(watch)
        try:
            run_tool(tool, argv)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return collections.Counter(calls)


def run_tool(tool, argv):
    """Run a tool in this process, without what it prints; InputError if it fails."""
    before, sys.argv, said = sys.argv, argv, io.StringIO()
    sys.path.insert(0, str(TOOLS))  # where a program finds what lies beside it
    try:
        with contextlib.redirect_stdout(said):
            runpy.run_path(str(TOOLS / tool), run_name='__main__')
    except SystemExit as end:
        if end.code:
            raise InputError(f'{tool} ended with status {end.code}') from None
    finally:
        sys.argv = before
        sys.path.remove(str(TOOLS))


if __name__ == '__main__':
    logging.getLogger().setLevel(logging.WARNING)
    run(main)
