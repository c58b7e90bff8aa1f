"""What shards and Ray cost beside one process that does the same on the same cores.

    .venv-modern/bin/python benchmarks/shards.py
    .venv-modern/bin/python benchmarks/shards.py --videos=400 --shards=8 --engine=openvino

tools/extract_features.py extracts final_avg of generated videos: in one process; in shards, each a
process, one after another; on a cluster of Ray that is started for it, with one actor that has all
cores, and with an actor for each core. The ways take turns, and of each the shortest time counts.
Starting the processes, the cluster and the networks is in all times. The outputs are compared.
"""

import os
import pathlib
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

TOOL = pathlib.Path(__file__).resolve().parents[1] / 'tools' / 'extract_features.py'
BENCHMARK = {
    'videos': (flag_types.integer(1), 200, 'number of videos'),
    'num_frames': (flag_types.integer(8), 60, 'frames of each'),
    'shards': (flag_types.integer(1), 8, 'number of shards'),
    'repeats': (flag_types.integer(1), 3, 'runs of each way'),
}
GROUPS = (flags.NETWORK, flags.CLIPS, flags.ENGINE, BENCHMARK)
NETWORK = {'num_labels': 400, 'clip_length_rgb': 8, 'clip_per_video': 2, 'decode_type': 'uniform'}


def main():
    args = command_line.parse(__doc__, *GROUPS, **NETWORK)
    args.gpus, args.num_gpus, args.cpu_replicas = [], 0, 1
    print(machine.description())
    with tempfile.TemporaryDirectory() as folder:
        ways = commands(args, pathlib.Path(folder))
        times = {name: [] for name in ways}
        for _ in range(args.repeats):
            for name, words in ways.items():
                times[name].append(machine.seconds(lambda words=words: run_all(words)))
        require_same(pathlib.Path(folder), ways)
    first = min(times['one process'])
    for name, seconds in times.items():
        print(f'{name}: {min(seconds):.1f} s, {min(seconds) / first:.2f} of one process')


def commands(args, folder):
    """{way: its command lines, one after another}; makes the videos, the database and weights."""
    size = (320, 240)
    paths = videos.write_videos(folder, args.videos, size=size, num_frames=args.num_frames, fps=25)
    database = videos.write_database(folder / 'lmdb', paths)
    save_pickle(folder / 'weights.pkl', random_parameters(from_flags.network(args), 0))
    own = re.compile(f'--({"|".join(BENCHMARK)})=')
    passed = [f'--{name}={value}' for name, value in NETWORK.items()]
    passed += [word for word in sys.argv[1:] if not own.match(word)]
    tool = [sys.executable, str(TOOL), f'--test_data={database}', *passed, '--overwrite=1',
            f'--load_model_path={folder / "weights.pkl"}', '--output_format=npy']  # fmt: skip
    cores = len(os.sched_getaffinity(0))
    all_cores = [f'--engine_threads={cores}', f'--num_decode_threads={cores}']
    parts = [f'--shard={i}/{args.shards}' for i in range(args.shards)]
    ray = ['--ray=auto', f'--ray_shards={args.shards}']
    return {
        'one process': [[*tool, *all_cores, f'--output_path={folder}/one']],
        f'{args.shards} shards': [
            [*tool, *all_cores, part, f'--output_path={folder}/shards'] for part in parts
        ],
        'Ray, one actor': [[*tool, *ray, f'--ray_cores={cores}', f'--output_path={folder}/ray']],
        f'Ray, {cores} actors': [[*tool, *ray, f'--output_path={folder}/actors']],
    }


def run_all(words):
    for each in words:
        done = subprocess.run(each, capture_output=True, text=True, check=False)
        if done.returncode:
            raise InputError(f'{" ".join(each)} failed: {done.stderr.strip()}')


def require_same(folder, ways):
    """Compare the arrays, where no engine's sums depend on its threads."""
    arrays = [folder / name / 'final_avg.npy' for name in ('one', 'shards', 'ray')]
    if len({path.read_bytes() for path in arrays}) > 1:
        raise InputError(f'{", ".join(ways)}: the outputs differ')


if __name__ == '__main__':
    run(main)
