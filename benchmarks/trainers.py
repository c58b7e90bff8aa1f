"""Clips per second of training: Caffe2, PyTorch in float32 and in bfloat16, in the same run.

They take turns, a process for each turn, with decoding. Caffe2 runs in the environment of its own,
where that is there.

sh scripts/create_kinetics_lmdb.sh
.venv-modern/bin/python benchmarks/trainers.py
"""

import json
import pathlib
import statistics
import subprocess
import sys

import machine

from r2plus1d.backends.installed import has
from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[1]
WIDTHS = {'1': 4, '0.125': 8}  # width of an R(2+1)D-18 on clips of 8 frames: clips of a batch
CONTENDERS = (('caffe2', 'fp32'), ('torch', 'fp32'), ('torch', 'bf16'))
HAS_BF16 = """
from r2plus1d.backends.pytorch.device import cpu_has_bf16
print(cpu_has_bf16())
"""
OPTIONS = {
    'rounds': (flag_types.integer(1), 3, 'turns of each trainer'),
    'iterations': (flag_types.integer(1), 6, 'batches of a turn'),
    'caffe2_python': (
        pathlib.Path,
        ROOT / '.venv' / 'bin' / 'python',
        'interpreter of the environment with Caffe2',
    ),
    'torch_python': (pathlib.Path, None, 'interpreter with PyTorch 2; this one when left out'),
    'widths': (flag_types.one_of('both', *WIDTHS), 'both', 'of the networks'),
    'test_data': flags.DATABASE['test_data'],
}


def main():
    database = ROOT / 'data' / 'sample' / 'test_lmdb'
    args = command_line.parse(__doc__, OPTIONS, test_data=database)
    contenders = [pair for pair in CONTENDERS if is_there(*pair, args)]
    print(machine.description())
    print('| R(2+1)D-18, width | trainer | clips per second | times the first | waiting for data |')
    print('| --- | --- | --- | --- | --- |')
    for width in WIDTHS if args.widths == 'both' else [args.widths]:
        turns = [[measured(*pair, width, args) for pair in contenders] for _ in range(args.rounds)]
        for number, (trainer, precision) in enumerate(contenders):
            own = [turn[number] for turn in turns]
            speed = statistics.median(each['clips_per_second'] for each in own)
            ratio = statistics.median(
                turn[number]['clips_per_second'] / turn[0]['clips_per_second'] for turn in turns
            )
            waiting = statistics.median(each['waiting'] for each in own)
            print(
                f'| {width} | {trainer} {precision} | {speed:.2f} | {ratio:.2f} | '
                f'{100 * waiting:.1f}% |',
                flush=True,
            )


def is_there(trainer, precision, args):
    """Whether the environment of a trainer and the precision are; what is not is named."""
    if trainer == 'caffe2':
        found, missing = args.caffe2_python.is_file(), f'no {args.caffe2_python}: without Caffe2'
    elif not (args.torch_python or has('torch')):
        raise InputError('torch_python is this interpreter, which has no PyTorch 2')
    else:
        found = precision != 'bf16' or not lacks_bf16(torch_python(args))
        missing = 'this processor has no bfloat16: without bf16'
    if not found:
        print(missing, file=sys.stderr)
    return found


def lacks_bf16(python):
    """Whether PyTorch says so; what is wrong with `python` itself is for the turns to tell."""
    asked = subprocess.run([python, '-c', HAS_BF16], capture_output=True, text=True, check=False)
    return asked.stdout == 'False\n'


def torch_python(args):
    return args.torch_python or sys.executable


def measured(trainer, precision, width, args):
    """What benchmarks/training.py measures in one turn."""
    python = args.caffe2_python if trainer == 'caffe2' else torch_python(args)
    command = [
        python, ROOT / 'benchmarks' / 'training.py', '--json=1', '--repeats=1',
        f'--trainer={trainer}', f'--train_precision={precision}', f'--test_data={args.test_data}',
        f'--width={width}', f'--batch_size={WIDTHS[width]}', f'--iterations={args.iterations}',
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ['it said nothing']
        raise InputError(f'{trainer} {precision}: exit status {done.returncode}: {said[-1]}')
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == '__main__':
    run(main)
