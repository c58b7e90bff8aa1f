"""tools/train_net.py and the scripts of fine-tuning, with the trainer that is there."""

import csv
import dataclasses
import io
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has
from r2plus1d.model import Model
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.training import checkpoints
from r2plus1d.weights.files import read_minidb, save_pickle
from shell_scripts import run_script
from small_training import FLAGS, SMALL
from tool_here import run_here

if not (has('caffe2') or has('torch')):
    pytest.skip('needs Caffe2 or PyTorch 2', allow_module_level=True)


@pytest.fixture
def train(run_tool, database):
    def run(*arguments):
        return run_tool('tools/train_net.py', f'--train_data={database}', *FLAGS, *arguments)

    return run


def log_of(folder):
    return (folder / 'r2d_w0.0625_log.csv').read_text().splitlines()


def test_the_tool_trains_tests_and_continues(train, database, tmp_path):
    whole = train(
        '--num_epochs=3', f'--test_data={database}', '--file_store_path=a', '--plot=a.png'
    )
    assert whole.returncode == 0, whole.stderr
    assert whole.stdout == 'a/r2d_w0.0625_3.mdl\n'
    assert (tmp_path / 'a.png').stat().st_size > 5000
    assert train('--num_epochs=2', '--file_store_path=b').returncode == 0
    continued = train('--num_epochs=3', '--file_store_path=b')
    assert 'continuing from b/r2d_w0.0625_2.mdl, after 4 iterations' in continued.stderr
    a, b = (read_minidb(tmp_path / f / 'r2d_w0.0625_3.mdl') for f in 'ab')
    assert set(a) == set(b)
    for name, array in a.items():
        np.testing.assert_array_equal(array, b[name], err_msg=name)
    assert len(log_of(tmp_path / 'a')) == len(log_of(tmp_path / 'b')) == 4
    header, *rows = (line.split(',') for line in log_of(tmp_path / 'a'))
    assert [row[0] for row in rows] == ['1', '2', '3']
    clip = [float(row[header.index('test_clip')]) for row in rows]
    assert all(round(value * 6, 3) in range(7) for value in clip)  # six videos, a clip each


def test_a_killed_run_continues(train, database, tmp_path):
    command = [sys.executable, str(ROOT / 'tools/train_net.py'), f'--train_data={database}', *FLAGS]
    command += ['--num_epochs=500', '--file_store_path=c']
    folder = tmp_path / 'c'
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    while checkpoints.newest(folder, SMALL)[0] < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    epoch, path = checkpoints.newest(folder, SMALL)
    result = train(f'--num_epochs={epoch + 1}', '--file_store_path=c')
    assert result.returncode == 0, result.stderr
    assert f'continuing from c/{path.name}, after {2 * epoch} iterations' in result.stderr
    assert [line.split(',')[0] for line in log_of(folder)[1:]] == [
        str(n) for n in range(1, epoch + 2)
    ]


def test_profiling_lists_the_operators(train):
    result = train('--num_epochs=1', '--file_store_path=p', '--profiling=1')
    assert result.returncode == 0, result.stderr
    times = re.findall(r'^ *([\d.]+) ms +(\S+)', result.stderr, re.MULTILINE)
    of_caffe2 = {'Conv', 'ConvGradient', 'SpatialBN', 'MomentumSGDUpdate'}
    of_torch = {'aten::convolution_backward', 'aten::native_batch_norm'}
    assert (of_torch if has('torch') else of_caffe2) <= {kind for _, kind in times}
    milliseconds = [float(time) for time, _ in times]
    assert milliseconds == sorted(milliseconds, reverse=True)
    assert milliseconds[0] > 0


def test_several_labels_a_video(train, make_video, make_database, tmp_path):
    several = make_database([(make_video(14 + i).read_bytes(), (0, 1 + i)) for i in range(4)], 'm')
    result = train(
        f'--train_data={several}', f'--test_data={several}', '--multi_label=1', '--num_epochs=1',
        '--file_store_path=m', '--crop_per_clip=3', '--weight_decay=0',
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert 'test mean average precision: 0.' in result.stderr
    assert float(log_of(tmp_path / 'm')[1].split(',')[6]) > 0


def test_a_log_row_that_a_kill_cost_is_written_by_the_next_run(train, database, tmp_path):
    flags = (f'--test_data={database}', '--file_store_path=d')
    assert train('--num_epochs=2', *flags).returncode == 0
    path = tmp_path / 'd' / 'r2d_w0.0625_log.csv'
    whole = log_of(path.parent)
    path.write_text('\n'.join(whole[:2]) + '\n')
    assert train('--num_epochs=3', *flags).returncode == 0
    rows = [line.split(',') for line in log_of(path.parent)]
    assert [row[0] for row in rows] == ['epoch', '1', '2', '3']
    assert rows[2][5:8] == whole[2].split(',')[5:8]  # the test's figures are the same
    assert rows[2][3] == 'nan'


def test_the_later_of_two_checkpoints_is_continued_from(train, tmp_path):
    assert train('--num_epochs=2', '--file_store_path=e').returncode == 0
    given = '--pretrained_model=e/r2d_w0.0625_1.mdl'
    result = train('--num_epochs=3', '--file_store_path=e', given)
    assert 'continuing from e/r2d_w0.0625_2.mdl' in result.stderr
    result = train('--num_epochs=2', '--file_store_path=f', given)
    assert 'continuing from e/r2d_w0.0625_1.mdl' in result.stderr
    result = train('--num_epochs=2', '--file_store_path=f', '--profiling=1')
    assert 'nothing was left to train: num_epochs is 2' in result.stderr
    assert result.stdout == 'f/r2d_w0.0625_2.mdl\n'
    result = train('--num_epochs=1', '--file_store_path=f')
    assert 'f/r2d_w0.0625_1.mdl is not there; the newest checkpoint is f/r2d_w' in result.stderr
    result = train('--num_epochs=4', '--file_store_path=e', '--epoch_size=12')
    assert result.returncode == 1
    assert 'is after 6 iterations; 3 epochs are now 9: epoch_size' in result.stderr


def test_a_run_keeps_saying_of_which_weights_it_began(train, tmp_path):
    for seed in (0, 1):
        save_pickle(tmp_path / f'{seed}.pkl', random_parameters(SMALL, seed))
    folder, weights = '--file_store_path=g', ('--is_checkpoint=0', '--resume=1')
    assert train('--num_epochs=1', folder, *weights, '--pretrained_model=0.pkl').returncode == 0
    others = train(
        '--num_epochs=2', folder, '--pretrained_model=g/r2d_w0.0625_1.mdl', '--scale_h=132'
    )
    assert others.returncode == 0, others.stderr
    assert 'scale_h is 132; the weights were trained with 128' in others.stderr
    same = train('--num_epochs=3', folder, *weights, '--pretrained_model=0.pkl')
    assert same.returncode == 0, same.stderr
    assert 'scale_h is 128; g/r2d_w0.0625_2.mdl was trained with 132' in same.stderr
    refused = train('--num_epochs=4', folder, *weights, '--pretrained_model=1.pkl')
    assert (refused.returncode, refused.stdout) == (1, '')
    assert 'g/r2d_w0.0625_3.mdl began from other weights than 1.pkl' in refused.stderr


def test_what_is_given_beside_weights(train, tmp_path):
    """Their layers are theirs; clips may be others, and somebody has to say how long they are."""
    plain = dataclasses.replace(SMALL, architecture='r3d')
    save_pickle(tmp_path / 'plain.pkl', random_parameters(plain, 0))
    csn = Network('ir-csn', 50, clip_length=8, num_labels=5, width=0.0625)
    save_pickle(tmp_path / 'csn.pkl', random_parameters(csn, 0))
    model = Model(SMALL, Input(length=8, rate=4), random_parameters(SMALL, 0))
    model.save(tmp_path / 'carded.pkl')
    begin = ('--num_epochs=1', '--is_checkpoint=0', '--file_store_path=w')
    other = train(*begin, '--pretrained_model=plain.pkl')
    assert 'model_name is r2d, and plain.pkl is of r3d; leave the flag out' in other.stderr
    own = ('--num_labels=5', '--batch_size=4', '--epoch_size=8')
    database = next(iter(tmp_path.glob('database')))
    silent = run_here_with(database, tmp_path, *own, *begin, '--pretrained_model=plain.pkl')
    assert 'plain.pkl does not say how long its clips are: give --clip_length_rgb' in silent.stderr
    pooled = run_here_with(
        database, tmp_path, *own, *begin, '--pretrained_model=csn.pkl', '--clip_length_rgb=8'
    )
    assert 'csn.pkl does not say whether its network has a pool1: give use_pool1' in pooled.stderr
    told = train(*begin, '--pretrained_model=carded.pkl', '--sampling_rate_rgb=1')
    assert told.returncode == 0, told.stderr
    assert 'sampling_rate_rgb is 1; the weights were trained with 4' in told.stderr


def run_here_with(database, folder, *arguments):
    return run_here('tools/train_net.py', f'--train_data={database}', *arguments, cwd=folder)


def test_two_machines_train_together(database, tmp_path):
    command = [sys.executable, str(ROOT / 'tools/train_net.py'), f'--train_data={database}', *FLAGS]
    command += ['--num_epochs=2', '--num_shards=2', '--batch_size=2', '--file_store_path=s']
    machines = [
        subprocess.Popen([*command, f'--shard_id={i}'], cwd=tmp_path, stderr=subprocess.PIPE)
        for i in range(2)
    ]
    errors = [machine.communicate(timeout=120)[1].decode() for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], errors
    assert checkpoints.newest(tmp_path / 's', SMALL)[0] == 2
    assert len(log_of(tmp_path / 's')) == 3
    assert not list((tmp_path / 's').glob('*_rendezvous'))
    (tmp_path / 's' / 'r2plus1d_rendezvous').mkdir()
    (tmp_path / 's' / 'r2plus1d_rendezvous' / 'machine_0').touch()
    refused = subprocess.run([*command, '--shard_id=0'], cwd=tmp_path, stderr=subprocess.PIPE)
    assert refused.returncode == 1
    assert b'r2plus1d_rendezvous is of an earlier run' in refused.stderr


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('--epoch_size=2',), 'epoch_size is 2, less than one batch of 4 clips'),
        (('--num_shards=2', '--shard_id=2'), 'shard_id is 2; with 2 shards 0 to 1'),
        (('--pretrained_model=none.pkl',), 'none.pkl: no such weight file'),
        (('--test_data=none',), 'none does not exist'),
        (('--max_loss=0.001',), 'above 0.001: training diverges; no checkpoint yet'),
        (
            ('--base_learning_rate=1e39', '--epoch_size=4', '--max_loss=1e30'),
            'is not finite after epoch 1: training diverges; no checkpoint yet',
        ),
        (('--weight_decay=1e39', '--epoch_size=4'), 'is not finite after epoch 1: training'),
        (('--num_labels=2',), 'is out of range: 0 to 1'),
        (
            ('--model_name=r3d', '--use_convolutional_pred=1'),
            'use_convolutional_pred is 1, which has no loss',
        ),
    ],
)
def test_mistakes_get_one_line(train, arguments, message):
    result = train('--num_epochs=1', *arguments)
    assert result.returncode == 1
    assert message in result.stderr.splitlines()[-1]
    assert 'Traceback' not in result.stderr


def test_the_scripts_fine_tune_from_the_data_sets_own_files(make_video, tmp_path):
    """UCF101 in miniature: its split files and folders to databases to a fine-tuned network."""
    names = ('Archery', 'Biking')
    lists = {'train': [], 'test': []}
    for label, name in enumerate(names, 1):
        folder = tmp_path / 'videos' / name
        folder.mkdir(parents=True)
        for number, subset in enumerate(('train', 'train', 'test')):
            shutil.copy(make_video(12 + number, 'avi'), folder / f'v_{number}.avi')
            lists[subset].append(f'{name}/v_{number}.avi {label}\n')
    splits = tmp_path / 'splits'
    splits.mkdir()
    (splits / 'classInd.txt').write_text(''.join(f'{i} {n}\n' for i, n in enumerate(names, 1)))
    for subset, lines in lists.items():
        (splits / f'{subset}list01.txt').write_text(''.join(lines))
    refused = run_script('create_ucf101_lmdb.sh', cwd=tmp_path, VIDEOS='x', ANNOTATIONS='')
    assert refused.returncode == 2
    assert "set VIDEOS (the folder of ucf101's videos) and ANNOTATIONS" in refused.stderr
    made = run_script(
        'create_ucf101_lmdb.sh', cwd=tmp_path, VIDEOS='videos', ANNOTATIONS='splits', OUTPUT='out'
    )
    assert made.returncode == 0, made.stderr
    assert (tmp_path / 'out' / 'labels.txt').read_text() == 'Archery\nBiking\n'
    pretrained = Network('r2plus1d', 10, clip_length=8, num_labels=9, width=0.0625)
    save_pickle(tmp_path / 'p.pkl', random_parameters(pretrained, 0))
    settings = {
        'TRAIN_DATA': 'out/train_split1_lmdb', 'TEST_DATA': 'out/test_split1_lmdb',
        'PRETRAINED': 'p.pkl', 'MODEL_DEPTH': '10', 'CLIP_LENGTH': '8', 'NUM_LABELS': '2',
        'BATCH_SIZE': '2', 'EPOCH_SIZE': '4', 'NUM_EPOCHS': '1', 'OUTPUT': 'tuned',
    }  # fmt: skip
    tuned = run_script('finetune_ucf101.sh', '--width=0.0625', cwd=tmp_path, **settings)
    assert tuned.returncode == 0, tuned.stderr
    assert '2 blobs fresh: last_out_L2_w, last_out_L2_b' in tuned.stderr
    assert tuned.stdout == 'tuned/r2plus1d_w0.0625_1.mdl\n'
    again = run_script('finetune_ucf101.sh', '--width=0.0625', cwd=tmp_path, **settings)
    assert again.returncode == 1
    assert 'r2plus1d_w0.0625_1.mdl would be overwritten' in again.stderr


@pytest.mark.parametrize('half', [False, True])
def test_a_trained_model_as_a_pickle_predicts_the_same(run_tool, train, database, tmp_path, half):
    assert train('--num_epochs=1', '--file_store_path=m').returncode == 0
    arguments = ['--load_model_path=m/r2d_w0.0625_1.mdl', '--save_model_path=m.pkl']
    result = run_tool('tools/minidb_to_pickle.py', *arguments, *(['--half'] if half else []))
    assert result.stdout.endswith('blobs in m.pkl\n'), result.stderr
    with (tmp_path / 'm.pkl').open('rb') as file:
        blobs = pickle.load(file)['blobs']
    assert not [name for name in blobs if 'momentum' in name or 'iteration' in name]
    assert {array.dtype.itemsize for array in blobs.values()} == {2 if half else 4}
    predictions = []
    for path, db_type in (('m/r2d_w0.0625_1.mdl', 'minidb'), ('m.pkl', 'pickle')):
        flags = [f for f in FLAGS if not f.startswith(('--epoch', '--base', '--batch'))]
        result = run_tool(
            'tools/test_net.py', f'--test_data={database}', f'--load_model_path={path}',
            f'--db_type={db_type}', '--output=p.csv', *flags,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        predictions.append((tmp_path / 'p.csv').read_text())
    if half:
        best = [[row['top1'] for row in csv.DictReader(io.StringIO(p))] for p in predictions]
        assert best[0] == best[1]
    else:
        assert predictions[0] == predictions[1]
