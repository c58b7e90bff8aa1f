"""benchmarks/trainers.py: one turn of what is here, and what it says where something is missing."""

import sys

import pytest

from r2plus1d.backends.installed import has

FLAGS = ('--rounds=1', '--iterations=1', '--widths=0.125')


@pytest.fixture
def database(make_video, make_database):
    return make_database([(make_video(14 + i).read_bytes(), i) for i in range(2)])


def cells_of(done):
    assert done.returncode == 0, done.stderr
    return [line.strip('| ').split(' | ') for line in done.stdout.splitlines()[3:]]


@pytest.mark.skipif(not has('torch'), reason='needs PyTorch 2')
def test_precisions_take_turns(run_tool, database):
    from r2plus1d.backends.pytorch.device import cpu_has_bf16

    done = run_tool(
        'benchmarks/trainers.py', *FLAGS, f'--test_data={database}', '--caffe2_python=gone'
    )
    rows = cells_of(done)
    precisions = ['fp32', 'bf16'] if cpu_has_bf16() else ['fp32']
    assert [row[:2] for row in rows] == [['0.125', f'torch {each}'] for each in precisions]
    assert ('without bf16' in done.stderr) is not cpu_has_bf16()
    assert rows[0][3] == '1.00'
    assert all(float(row[2]) > 0 and 0 <= float(row[4].rstrip('%')) <= 100 for row in rows)
    assert 'no gone: without Caffe2' in done.stderr


def test_a_turn_that_fails_is_one_line(run_tool, tmp_path):
    done = run_tool(
        'benchmarks/trainers.py', *FLAGS, '--test_data=nothing',
        f'--caffe2_python={sys.executable}', f'--torch_python={sys.executable}',
    )  # fmt: skip
    assert done.returncode == 1
    assert 'caffe2 fp32: exit status 1: ' in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


def test_an_interpreter_without_pytorch_is_not_taken_for_a_processor_without_bfloat16(
    run_tool, tmp_path
):
    python = tmp_path / 'python'
    python.write_text('#!/bin/sh\necho no PyTorch >&2\nexit 1\n')
    python.chmod(0o755)
    done = run_tool(
        'benchmarks/trainers.py', *FLAGS, '--test_data=nothing', '--caffe2_python=gone',
        f'--torch_python={python}',
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.endswith('torch fp32: exit status 1: no PyTorch\n')
    assert 'bfloat16' not in done.stderr
