"""tools/train_net.py in PyTorch, without Caffe2: resumed, killed, frozen, and what it refuses."""

import functools
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import small_training
from conftest import ROOT
from r2plus1d.backends.installed import has
from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.networks.stages import frozen_names, layer_rates, stages
from r2plus1d.training import checkpoints
from r2plus1d.weights.files import read_minidb, save_pickle
from r2plus1d.weights.stored import open_weights
from small_training import SMALL

needs_torch = pytest.mark.skipif(not has('torch'), reason='needs PyTorch 2')
FLAGS = (*small_training.FLAGS, '--use_dropout=1', '--trainer=torch')


@pytest.fixture
def train(run_tool, database):
    def run(*arguments):
        return run_tool('tools/train_net.py', f'--train_data={database}', *FLAGS, *arguments)

    return run


@needs_torch
def test_a_killed_run_ends_with_the_same_bits(start_tool, database, tmp_path):
    """In processes of their own: the bits are those of one number of threads."""
    train = functools.partial(start_tool, 'tools/train_net.py', f'--train_data={database}', *FLAGS)
    command = [sys.executable, str(ROOT / 'tools/train_net.py'), f'--train_data={database}', *FLAGS]
    command += ['--num_epochs=500', '--file_store_path=killed']
    folder = tmp_path / 'killed'
    log = tmp_path / 'log.txt'
    with log.open('w') as file:
        process = subprocess.Popen(command, cwd=tmp_path, stderr=file)
    while not checkpoints.newest(folder, SMALL)[0]:
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    epoch, path = checkpoints.newest(folder, SMALL)
    last = f'--num_epochs={epoch + 1}'
    continued = train(last, '--file_store_path=killed', '--plot=p.png')
    assert continued.returncode == 0, continued.stderr
    assert f'continuing from killed/{path.name}, after {2 * epoch} iterations' in continued.stderr
    assert continued.stdout == f'killed/r2d_w0.0625_{epoch + 1}.mdl\n'
    assert (tmp_path / 'p.png').stat().st_size > 5000
    whole = train(last, '--file_store_path=whole')
    assert whole.returncode == 0, whole.stderr
    a, b = (read_minidb(tmp_path / f / f'r2d_w0.0625_{epoch + 1}.mdl') for f in ('whole', 'killed'))
    assert set(a) == set(b)
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)


@needs_torch
def test_training_continues_from_a_safetensors_file(train, tmp_path):
    """It has all that the minidb has: the run ends with the same bits, dropout and momenta too."""
    done = train('--num_epochs=1', '--file_store_path=a', '--safetensors=1')
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / 'a').iterdir() if 'w0.0625_1' in path.name)
    assert names == ['r2d_w0.0625_1.mdl', 'r2d_w0.0625_1.safetensors']
    assert checkpoints.newest(tmp_path / 'a', SMALL) == (1, tmp_path / 'a' / 'r2d_w0.0625_1.mdl')
    (tmp_path / 'a' / names[1]).unlink()  # as after SIGKILL before it was written
    again = train('--num_epochs=1', '--file_store_path=a', '--safetensors=1')
    assert again.returncode == 0, again.stderr
    assert train('--num_epochs=2', '--file_store_path=a').returncode == 0
    (tmp_path / 'b').mkdir()
    (tmp_path / 'a' / names[1]).rename(tmp_path / 'b' / names[1])
    continued = train('--num_epochs=2', '--file_store_path=b')
    assert 'continuing from b/r2d_w0.0625_1.safetensors, after 2 it' in continued.stderr
    ours, theirs = (read_minidb(tmp_path / f / 'r2d_w0.0625_2.mdl') for f in 'ab')
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)
    stored = open_weights(tmp_path / 'b' / names[1])
    assert set(stored.parameters(Network(**stored.network))) == set(parameter_shapes(SMALL))


@needs_torch
def test_rates_and_freezing_do_not_overlap(train):
    done = train('--num_epochs=1', '--layer_rates=res2=0.5', '--freeze=stem..res3')
    assert done.returncode == 1
    assert 'layer_rates is res2=0.5, and freeze stem..res3: they overlap' in done.stderr


@needs_torch
def test_frozen_stages_stay_as_they_are(train, tmp_path):
    given = random_parameters(Network('r2d', 10, clip_length=8, num_labels=9, width=0.0625), 3)
    save_pickle(tmp_path / 'w.pkl', given)
    done = train(
        '--pretrained_model=w.pkl', '--is_checkpoint=0', '--num_epochs=1', '--file_store_path=f',
        '--freeze=stem..res4',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = read_minidb(tmp_path / 'f' / 'r2d_w0.0625_1.mdl')
    by_stage = stages(SMALL)
    for stage in ('stem', 'res2', 'res3', 'res4'):
        for name in by_stage[stage]:
            np.testing.assert_array_equal(found[name], given[name], err_msg=name)
            assert not found[f'{name}_momentum'].any()
    for name in by_stage['res5']:
        assert not np.array_equal(found[name], given[name]), name
    for name in given:
        if name.endswith(('_rm', '_riv')):
            is_frozen = name.rpartition('_')[0] + '_s' not in by_stage['res5']
            assert np.array_equal(found[name], given[name]) == is_frozen, name


def test_the_stages_have_each_trained_parameter_once():
    for network in (SMALL, Network('c3d', multi_label=True), Network('r2plus1d', 34)):
        names = [name for group in stages(network).values() for name in group]
        assert len(names) == len(set(names))
        assert list(stages(network))[-1] == 'head'
    assert list(stages(SMALL)) == ['stem', 'res2', 'res3', 'res4', 'res5', 'head']
    assert frozen_names(SMALL, None) == ()
    assert frozen_names(SMALL, 'stem') == ('conv1_w', 'conv1_spatbn_relu_s', 'conv1_spatbn_relu_b')


def test_the_rates_of_stages():
    rates = layer_rates(SMALL, 'stem..res2=0, res4=0.1,head=10')
    by_stage = stages(SMALL)
    expected = {'stem': 0, 'res2': 0, 'res4': 0.1, 'head': 10}
    assert rates == {n: rate for stage, rate in expected.items() for n in by_stage[stage]}
    assert layer_rates(SMALL, None) == {}


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('res9=1', 'layer_rates is res9; a stage of stem, res2'),
        ('', 'layer_rates is ; a stage of stem'),
        ('res2', "after each = is a number from 0 on, and '' is none"),
        ('res2=-1', "and '-1' is none"),
        ('res2=nan', "and 'nan' is none"),
        ('res2=1,stem..res3=2', 'layer_rates is res2=1,stem..res3=2; res2 is in it twice'),
        ('head=0', 'the last layer is what is trained'),
    ],
)
def test_rates_of_stages_that_are_refused(text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        layer_rates(SMALL, text)


@needs_torch
def test_a_rate_of_0_is_as_a_frozen_stage(train, tmp_path):
    ends = []
    for flag in ('--layer_rates=stem..res4=0', '--freeze=stem..res4'):
        done = train('--num_epochs=1', f'--file_store_path=f{len(ends)}', flag)
        assert done.returncode == 0, done.stderr
        ends.append(read_minidb(tmp_path / f'f{len(ends)}' / 'r2d_w0.0625_1.mdl'))
    for name, array in ends[0].items():
        np.testing.assert_array_equal(array, ends[1][name], err_msg=name)


@pytest.mark.parametrize('text', ['res6', 'res3..stem', '', 'stem..', 'stem-res4'])
def test_unknown_stages_are_refused(text):
    with pytest.raises(InputError, match=f'freeze is {text}; a stage of stem, res2, res3, res4'):
        frozen_names(SMALL, text)
    with pytest.raises(InputError, match='the last layer is what is trained'):
        frozen_names(SMALL, 'stem..head')


@needs_torch
@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--train_precision=tf32',), 'precision is tf32, which the CPU lacks; it has fp32'),
        (('--accumulate=3',), 'accumulate is 3, and batch_size 4 is no multiple of it'),
        (('--sync_bn=1',), 'sync_bn is for several processes; this is one'),
        (('--gpus=0',), 'gpus is 0; PyTorch sees no GPUs here'),
        (
            ('--gpus=GPU-1',),
            'gpus is GPU-1; training takes numbers: set CUDA_VISIBLE_DEVICES=GPU-1',
        ),
        (('--gpus=MIG-1,MIG-2',), 'gpus is MIG-1,MIG-2; training takes one part of a GPU (MIG)'),
        (('--gpus=GPU-1,GPU-2',), 'CUDA_VISIBLE_DEVICES=GPU-1,GPU-2 and give --gpus=0,1'),
        (('--trainer=caffe2',), 'this needs Caffe2, which is not installed here'),
        (('--freeze=res9',), 'freeze is res9; a stage of stem, res2'),
    ],
)
def test_mistakes_get_one_line(train, arguments, message):
    done = train('--num_epochs=1', *arguments)
    assert (done.returncode, done.stdout) == (1, '')
    assert message in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


@needs_torch
def test_two_processes_train_together(start_tool, database, tmp_path, monkeypatch):
    """Each takes its half of every batch, as two replicas in one process do.

    Each with one thread, so that all sums are made in the same order.
    """
    command = [sys.executable, str(ROOT / 'tools/train_net.py'), f'--train_data={database}', *FLAGS]
    command += ['--num_epochs=1', '--num_shards=2', '--batch_size=2', '--file_store_path=s']
    command += ['--use_dropout=0']
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    local = {**os.environ, 'GLOO_SOCKET_IFNAME': 'lo'}
    both = [
        subprocess.Popen(
            [*command, f'--shard_id={i}'], cwd=tmp_path, text=True, env=local,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for i in range(2)
    ]  # fmt: skip
    (first, log), (second, other_log) = (process.communicate(timeout=300) for process in both)
    assert [process.returncode for process in both] == [0, 0], log + other_log
    assert (first, second) == ('s/r2d_w0.0625_1.mdl\n', '')
    assert not list((tmp_path / 's').glob('*_rendezvous'))
    alone = start_tool(
        'tools/train_net.py', f'--train_data={database}', *FLAGS, '--num_epochs=1',
        '--batch_size=2', '--cpu_replicas=2', '--use_dropout=0', '--file_store_path=a',
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    ours, theirs = (read_minidb(tmp_path / f / 'r2d_w0.0625_1.mdl') for f in 'sa')
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-5, err_msg=name)
