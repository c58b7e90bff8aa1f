"""The tests after each epoch: which engine they run on, what they say, and what is refused."""

import csv
import itertools
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has
from r2plus1d.weights.files import read_minidb
from tool_here import run_here

pytest.importorskip('openvino', reason='needs OpenVINO')
pytest.importorskip('onnx', reason='needs ONNX')

NETWORK = (
    '--model_name=r2d', '--model_depth=10', '--width=0.0625', '--clip_length_rgb=8',
    '--num_labels=9', '--clip_per_video=3',
)  # fmt: skip
TRAINING = ('--batch_size=4', '--epoch_size=24', '--base_learning_rate=0.03')
OTHER, MISSING = ('torch', 'caffe2') if has('torch') else ('caffe2', 'torch')
OF_CAFFE2 = [
    (['--engine=caffe2', '--precision=bf16'], 'precision is bf16; the engine caffe2 has fp32'),
    (['--engine=caffe2', '--engine_threads=1'], 'engine_threads is 1; the engine caffe2'),
]
STEM = 'r2d_w0.0625'


@pytest.fixture
def database(make_video, make_database):
    """Of the last classes only: a network that has learned nothing has none in its best five."""
    return make_database([(make_video(14 + i, seed=i).read_bytes(), 5 + i % 4) for i in range(9)])


@pytest.fixture
def train(run_tool, database):
    def run(*arguments, test=True):
        data = (f'--train_data={database}', *([f'--test_data={database}'] if test else []))
        return run_tool('tools/train_net.py', *data, *NETWORK, *TRAINING, *arguments)

    return run


def accuracies(folder):
    """(clip, top-1, top-5 accuracy) as the log has them, of each epoch."""
    with (folder / f'{STEM}_log.csv').open(newline='') as file:
        return [
            (row['test_clip'], row['test_top1'], row['test_topk']) for row in csv.DictReader(file)
        ]


def has_bf16():
    from r2plus1d.backends.openvino.core import core

    return 'BF16' in core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


@pytest.mark.parametrize(
    ('engines', 'more'), [(('openvino', OTHER), ()), ((OTHER,), ('--cpu_replicas=2',))]
)
def test_the_log_says_what_test_net_says_of_the_checkpoints(
    train, database, run_tool, tmp_path, engines, more
):
    found = {}
    for name in engines:
        flags = () if name == 'openvino' else (f'--engine={name}',)
        done = train('--num_epochs=2', f'--file_store_path={name}', *more, *flags)
        assert done.returncode == 0, done.stderr
        where = '2 replicas on the CPU' if more else 'the CPU'
        assert done.stderr.count(f'tests: engine {name}, fp32, on {where}\n') == 1
        assert done.stderr.count('tests: ') == 1
        found[name] = accuracies(tmp_path / name)
        for epoch, (clip, top1, top5) in enumerate(found[name], 1):
            alone = run_tool(
                'tools/test_net.py', f'--test_data={database}', '--db_type=minidb', *NETWORK,
                f'--load_model_path={name}/{STEM}_{epoch}.mdl', f'--engine={name}', *more,
            )  # fmt: skip
            assert f'Test accuracy: clip: {clip}, top 1: {top1}, top5: {top5}' in alone.stdout
    assert all(accuracy == found[OTHER] for accuracy in found.values())
    assert len(found[OTHER]) == 2
    assert found[OTHER][-1] > ('0.00000',) * 3, 'of a network that has learned nothing'
    one, *others = (read_minidb(tmp_path / name / f'{STEM}_2.mdl') for name in found)
    for other, (name, array) in itertools.product(others, one.items()):
        np.testing.assert_array_equal(array, other[name], err_msg=name)


@pytest.mark.skipif(not has_bf16(), reason='a processor without bfloat16')
def test_bf16(train, tmp_path):
    done = train('--num_epochs=1', '--file_store_path=b', '--precision=bf16', '--engine_threads=1')
    assert done.returncode == 0, done.stderr
    assert 'tests: engine openvino, bf16, on the CPU\n' in done.stderr
    assert len(accuracies(tmp_path / 'b')) == 1


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        ([f'--engine={OTHER}', '--precision=tf32'], 'precision is tf32'),
        ([f'--engine={MISSING}'], f'engine is {MISSING}, which is not installed here'),
        (['--engine=openvino', '--gpus=0'], 'engine is openvino, which is for the CPU'),
        (['--engine=openvino', '--precision=tf32'], 'precision is tf32; the engine openvino has'),
        *(OF_CAFFE2 if has('caffe2') else ()),
        (['--pred_layer_name=a/b'], 'pred_layer_name is a/b; only the engine caffe2 takes a /'),
    ],
)
def test_refused_before_anything_is_trained(train, tmp_path, flags, message):
    done = train('--num_epochs=1', '--file_store_path=r', *flags)
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.startswith(f'train_net.py: {message}')
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / 'r').exists()


def test_int8_is_no_precision_of_a_network_that_changes(train, tmp_path):
    done = train('--num_epochs=1', '--file_store_path=r', '--precision=int8')
    assert (done.returncode, done.stdout) == (2, '')
    assert 'int8' in done.stderr
    assert 'fp32, tf32, bf16, fp16' in done.stderr
    assert not (tmp_path / 'r').exists()


def test_a_precision_that_this_processor_lacks(database, tmp_path, monkeypatch):
    from r2plus1d.backends.openvino import engine

    monkeypatch.setitem(engine.CAPABILITIES, 'bf16', 'no processor has it')
    arguments = (
        f'--train_data={database}', f'--test_data={database}', *NETWORK, *TRAINING,
        f'--file_store_path={tmp_path / "r"}', '--precision=bf16',
    )  # fmt: skip
    done = run_here('tools/train_net.py', *arguments)
    assert done.returncode == 1
    assert 'precision is bf16, which this processor lacks' in done.stderr
    assert not (tmp_path / 'r').exists()


@pytest.mark.parametrize('flag', ['--engine=openvino', '--engine_threads=2'])
def test_an_engine_without_a_test(train, tmp_path, flag):
    clips = '--clip_per_video=1'  # more are refused for the same reason
    done = train('--num_epochs=1', '--file_store_path=r', clips, flag, test=False)
    name = flag[2:].split('=')[0]
    assert done.stderr == (
        f'train_net.py: {name} is for the tests after each epoch: give test_data\n'
    )
    assert done.returncode == 1
    assert not (tmp_path / 'r').exists()


def test_the_default_engine_without_a_test_is_no_mistake(train):
    clips = '--clip_per_video=1'
    done = train(
        '--num_epochs=1', '--file_store_path=r', clips, '--engine=auto', '--precision=fp32',
        test=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_of_two_machines_the_first_tests_and_names_the_checkpoint(database, tmp_path):
    command = [
        sys.executable, str(ROOT / 'tools/train_net.py'), f'--train_data={database}', *NETWORK,
        *TRAINING, f'--test_data={database}', '--num_epochs=1', '--num_shards=2',
        '--file_store_path=s',
    ]  # fmt: skip
    machines = [
        subprocess.Popen(
            [*command, f'--shard_id={i}'], cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for i in range(2)
    ]  # fmt: skip
    (first, log), (second, other_log) = (m.communicate(timeout=120) for m in machines)
    assert [m.returncode for m in machines] == [0, 0], log + other_log
    assert (first, second) == (f's/{STEM}_1.mdl\n', '')
    assert 'tests: engine openvino' in log
    assert 'tests: ' not in other_log
