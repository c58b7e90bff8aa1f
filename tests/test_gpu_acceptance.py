"""benchmarks/gpu_acceptance.py on a CPU, with little to compute; its figures are not tested."""

import itertools
import json
import sys

import pytest

from conftest import ROOT
from r2plus1d.backends.pytorch import engine as torch_engine
from r2plus1d.errors import InputError
from tool_here import run_here

try:
    torch_engine.require()
except InputError as lacking:
    pytest.skip(str(lacking), allow_module_level=True)

sys.path.insert(0, str(ROOT / 'benchmarks'))

import gpu_acceptance  # noqa: E402
import gpu_correctness  # noqa: E402
import gpu_inference  # noqa: E402
import gpu_training  # noqa: E402
from gpu_steps import Setting  # noqa: E402

from r2plus1d.backends.pytorch.gradients import Gradients  # noqa: E402


def lines_of(capsys_text):
    return {line.pop('step'): line for line in map(json.loads, capsys_text.splitlines())}


@pytest.mark.parametrize('stage', ['correctness', 'inference', 'training'])
def test_each_stage_on_a_cpu(stage):
    done = run_here('benchmarks/gpu_acceptance.py', f'--stage={stage}', '--device=cpu', '--tiny=1')
    found = lines_of(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert next(iter(found)) == 'machine'
    assert all('error' not in line for line in found.values())
    results = {
        'correctness': ('fp32: order and chunks', 'backwards'),
        'inference': ('fp32, 1 clips, 2D, padded', 'clips_per_second'),
        'training': ('fp32, batch of 2', 'clips_per_second'),
    }
    step, key = results[stage]
    assert found[step][key] >= 0
    if stage == 'correctness':
        assert 'ended with status -9' in found['a process that is killed']['message']


def test_no_gpu_is_one_line():
    import torch

    if torch.cuda.is_available():
        pytest.skip('there is a GPU')
    done = run_here('benchmarks/gpu_acceptance.py', '--stage=training')
    assert (done.returncode, done.stdout) == (1, '')
    assert 'gpus is 0; PyTorch sees no GPUs here' in done.stderr
    assert 'Traceback' not in done.stderr


def test_what_is_wrong_is_seen(monkeypatch):
    """Rows that differ from float64's by more than a precision allows are not ok."""
    setting = Setting('cpu', tiny=True)
    monkeypatch.setattr(gpu_correctness, 'ALLOWED', {'fp32': 1e-12})
    name = ('r2plus1d', 10, 0.125)
    assert not gpu_correctness.compare(setting, name=name, precision='fp32')['ok']


def test_a_step_that_fails_is_a_line(monkeypatch, capsys):
    def fail(setting):
        raise RuntimeError('CUDA error: lost\nmore')

    monkeypatch.setattr(gpu_acceptance, 'describe', lambda setting: {})
    monkeypatch.setitem(
        gpu_acceptance.STAGES, 'training', lambda setting: [('bad', fail), ('next', lambda s: {})]
    )
    monkeypatch.setattr(sys, 'argv', ['x', '--stage=training', '--device=cpu'])
    assert gpu_acceptance.main() == 1
    found = lines_of(capsys.readouterr().out)
    assert found['bad']['error'] == 'RuntimeError: CUDA error: lost'
    assert found['next'] == {'seconds': found['next']['seconds']}


def test_no_step_begins_too_late(monkeypatch, capsys):
    monkeypatch.setattr(gpu_acceptance, 'SECONDS', -1)
    monkeypatch.setattr(sys, 'argv', ['x', '--stage=training', '--device=cpu'])
    assert gpu_acceptance.main() == 1
    found = lines_of(capsys.readouterr().out)
    end = found.pop('end')
    assert all('skipped' in line for line in found.values())
    assert end == {'ok': 0, 'wrong': 0, 'too late': len(found)}


def test_some_steps_alone(monkeypatch, capsys):
    steps = [(name, lambda setting: {'ok': True}) for name in ('fp32, one', 'bf16, one')]
    monkeypatch.setattr(gpu_acceptance, 'describe', lambda setting: {})
    monkeypatch.setitem(gpu_acceptance.STAGES, 'training', lambda setting: steps)
    monkeypatch.setattr(sys, 'argv', ['x', '--stage=training', '--device=cpu', '--only=bf16'])
    assert gpu_acceptance.main() == 0
    found = lines_of(capsys.readouterr().out)
    assert list(found) == ['machine', 'bf16, one', 'end']
    assert found['end'] == {'ok': 2, 'wrong': 0, 'too late': 0}


def test_what_the_engine_does_is_measured_first(monkeypatch):
    monkeypatch.setattr(Setting, 'precisions', ('fp32', 'bf16'))
    names = [name for name, _ in gpu_inference.steps(Setting('gpu', tiny=False))]
    assert names[2:6] == [
        'fp32, 32 clips, 2D, padded, graphs', 'bf16, 32 clips, 2D, padded, graphs',
        'fp32: with decoding', 'bf16: with decoding',
    ]  # fmt: skip
    assert len(names) == len(set(names)) == 2 + 2 + 2 * (5 * 2 + 3)
    assert all(name.endswith('compiled') for name in names[-2:])


def precisions(*names):
    from r2plus1d.backends.pytorch.device import cpu_has_bf16

    return [name for name in names if cpu_has_bf16() or not name.startswith('b') for _ in range(4)]


def test_convolution_forms():
    flags = ('--model_name=r2plus1d', '--model_depth=10', '--width=0.0625', '--repeats=1')
    done = run_here('benchmarks/convolution_forms.py', *flags)
    assert done.returncode == 0, done.stderr
    rows = [line.strip('|').split('|') for line in done.stdout.splitlines() if '|' in line][2:]
    assert [row[0].strip() for row in rows] == precisions('fp32', 'bf16')
    assert all(float(row[3]) > 0 for row in rows)
    assert all(float(row[4]) < 1e-5 for row in rows[:4])


def test_depthwise_convolutions():
    done = run_here('benchmarks/depthwise.py', '--repeats=1')
    assert done.returncode == 0, done.stderr
    rows = [line.strip('|').split('|') for line in done.stdout.splitlines() if '|' in line][2:]
    assert [row[0].strip() for row in rows] == precisions('float32', 'bfloat16')
    assert all(float(number) > 0 for row in rows for number in row[2:])


def test_wrong_gradients_are_seen(monkeypatch):
    """Such as are of other labels, in the second of the two runs."""
    setting, right, batches = Setting('cpu', tiny=True), Gradients.add, itertools.count()

    def add(self, data, label, iteration):
        is_first = next(batches) < gpu_training.STEPS
        return right(self, data, label if is_first else label + 1, iteration)

    assert gpu_training.compare(setting, precision='fp32')['ok']
    monkeypatch.setattr(Gradients, 'add', add)
    found = gpu_training.compare(setting, precision='fp32')
    assert found['weights'] > gpu_training.ALLOWED['bf16']
    assert not found['ok']


def test_what_json_lacks_is_a_word():
    assert gpu_acceptance.plain({'a': [float('inf')], 'b': (1.5, 2)}) == {
        'a': ['inf'],
        'b': [1.5, 2],
    }
