"""Peak memory of a tool over more and more records, to see that it does not grow with them.

    .venv/bin/python benchmarks/memory.py --tool=test_net --records=100,1000 \\
        --model_name=r2d --model_depth=10 --width=0.125 --clip_per_video=2 --engine=caffe2
    .venv/bin/python benchmarks/memory.py --tool=extract_features --records=2000,20000 \\
        --model_name=r2d --model_depth=10 --width=0.0625

Each run of the tool is a process of its own, with random weights. test_net reads whole videos;
extract_features writes the softmax of clips that begin anywhere as .npy files. The videos are small
ones, 40 at most, again and again, and a little longer than a clip needs. Flags of the tool's
network, clips and engine are passed on.
"""

import itertools
import os
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import machine
import videos

from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.weights.files import save_pickle

TOOLS = pathlib.Path(__file__).resolve().parents[1] / 'tools'
BENCHMARK = {
    'tool': (flag_types.one_of('test_net', 'extract_features'), 'test_net', 'what is measured'),
    'records': (flag_types.integers, [100, 1000], 'numbers of records, between commas'),
}
GROUPS = (flags.NETWORK, flags.CLIPS, flags.ENGINE, flags.DEVICES, BENCHMARK)
NETWORK = {'num_labels': 400, 'clip_length_rgb': 8}
VIDEOS, MORE_FRAMES = 40, 50
EXTRACTION = ('--output_format=npy', '--features=softmax', '--use_local_file=1')


def main():
    args = command_line.parse(__doc__, *GROUPS, **NETWORK)
    own = re.compile(f'--({"|".join(BENCHMARK)})=')
    passed = [f'--{name}={value}' for name, value in NETWORK.items()]
    passed += [word for word in sys.argv[1:] if not own.match(word)]
    print(machine.description())
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        numbers = args.records or [100, 1000]
        count = min(VIDEOS, max(numbers))
        network = from_flags.network(args)
        required = from_flags.clip_settings(args, decode_type='start', clips=1).required
        paths = videos.write_videos(
            folder, count, size=(160, 120), num_frames=required + MORE_FRAMES, fps=25
        )
        save_pickle(folder / 'weights.pkl', random_parameters(network, 0))
        passed += [f'--load_model_path={folder / "weights.pkl"}']
        first = None
        for records in numbers:
            peak = peak_of(command(args, paths, records, folder), passed)
            first = first or peak
            print(f'{records} records: peak {peak / 1e6:.0f} MB, {peak / first:.3f} of the first')


def command(args, paths, records, folder):
    """The tool with the flags that say what it reads and writes; makes its database."""
    database, output = folder / f'{records}_lmdb', folder / f'{records}_output'
    some = list(itertools.islice(itertools.cycle(paths), records))
    tool = [sys.executable, str(TOOLS / f'{args.tool}.py'), f'--test_data={database}']
    if args.tool == 'test_net':
        videos.write_database(database, some)
        return [*tool, f'--output={output}.csv']
    starts = random.Random(0)
    clips = [(path, starts.randint(0, MORE_FRAMES), i % len(paths)) for i, path in enumerate(some)]
    videos.write_clip_database(database, clips)
    return [*tool, *EXTRACTION, f'--output_path={output}']


def peak_of(tool, passed):
    """Peak resident bytes of one run of a tool."""
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen([*tool, *passed], stdout=subprocess.DEVNULL, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            log.seek(0)
            raise InputError(f'{tool[1]} failed: {log.read().splitlines()[-1]}')
    return usage.ru_maxrss * 1024


if __name__ == '__main__':
    run(main)
