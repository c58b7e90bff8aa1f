"""Whether the engine and the trainer torch are right and fast on this machine's GPU.

    .venv-modern/bin/python benchmarks/gpu_acceptance.py --stage=correctness
    .venv-modern/bin/python benchmarks/gpu_acceptance.py --stage=inference
    .venv-modern/bin/python benchmarks/gpu_acceptance.py --stage=training

Weights and clips are random; nothing is downloaded. Each step prints one line of JSON when it ends:
its name, its seconds, what it found, and `ok` where something can be wrong. A step that fails says
`error`, and the next one begins. After 8 minutes no new step begins; --only=PART runs the steps
whose names have PART in them, such as those that were skipped. The last line counts the steps. The
exit status is 1 if a step was not ok or was skipped for lack of time.
"""

import contextlib
import json
import math
import time

import gpu_correctness
import gpu_inference
import gpu_training
from gpu_steps import Setting, describe

from r2plus1d.backends import choose
from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run

SECONDS = 480
STAGES = {
    'correctness': gpu_correctness.steps,
    'inference': gpu_inference.steps,
    'training': gpu_training.steps,
}
OPTIONS = {
    'stage': (flag_types.one_of(*STAGES), flags.REQUIRED, 'what is tried'),
    'device': (flag_types.one_of('gpu', 'cpu'), 'gpu', 'cpu: try the program without a GPU'),
    'tiny': (flag_types.bit, False, '1: a small network, few clips and few variants'),
    'only': (str, '', 'run the steps with this in their names'),
}


def main():
    args = command_line.parse(__doc__, OPTIONS)
    choose.require('torch')
    if args.device == 'gpu':
        from r2plus1d.backends.pytorch.gpu_checks import require_gpus

        require_gpus([0], 'fp32')
    setting = Setting(args.device, args.tiny)
    began, counts = time.monotonic(), {'ok': 0, 'wrong': 0, 'too late': 0}
    for name, step in (('machine', describe), *STAGES[args.stage](setting)):
        if args.only not in name and step is not describe:
            continue
        if time.monotonic() - began > SECONDS:
            found, kind = {'skipped': f'{SECONDS} seconds are over'}, 'too late'
        else:
            found = tried(step, setting)
            kind = 'ok' if found.get('ok', True) else 'wrong'
        counts[kind] += 1
        print(json.dumps(plain({'step': name, **found}), allow_nan=False), flush=True)
    print(json.dumps({'step': 'end', **counts}))
    return 1 if counts['wrong'] or counts['too late'] else 0


def tried(step, setting):
    """What a step found, or how it failed, and how long it took."""
    began = time.monotonic()
    try:
        found = step(setting)
    except Exception as error:  # of whatever kind: the next step is another question
        text = str(error).strip().partition('\n')[0]
        found = {'ok': False, 'error': f'{type(error).__name__}: {text}'}
    with contextlib.suppress(RuntimeError):  # the GPU is lost, and the step has said so
        setting.clean()
    return {'seconds': round(time.monotonic() - began, 2), **found}


def plain(found):
    """`found` with words for the numbers that JSON lacks."""
    if isinstance(found, dict):
        return {name: plain(value) for name, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [plain(value) for value in found]
    return found if not isinstance(found, float) or math.isfinite(found) else str(found)


if __name__ == '__main__':
    run(main)
