"""The training loop with a trainer of no framework: what it asks of one, and what it writes."""

import csv
import dataclasses
import re
import subprocess
import sys

import numpy as np
import pytest

from r2plus1d.backends import choose
from r2plus1d.backends.base import TrainerSettings, TrainingState
from r2plus1d.devices import Devices, Shard
from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.sources.sample import Sample
from r2plus1d.sources.shuffled import Batch
from r2plus1d.training import checkpoints
from r2plus1d.training.loop import LoopSettings, train
from r2plus1d.training.schedule import Schedule
from r2plus1d.training.start import of_run, start
from r2plus1d.weights.card import of_network
from r2plus1d.weights.files import read_minidb, save_minidb, save_pickle
from r2plus1d.weights.match import ITERATION, MOMENTUM_SUFFIX

NETWORK = Network('r2d', 10, clip_length=8, num_labels=5, width=0.0625)
BIAS = 'last_out_L5_b'
SCHEDULE = Schedule(batch_size=2, epoch_size=6, num_epochs=2, base_learning_rate=0.5)
POOLED = {'architecture': 'r3d', 'depth': 18, 'crop_size': 224}
SIZES = {'batch_size', 'epoch_size', 'num_devices'}


class PlainTrainer:
    """Adds the learning rate to every trained parameter in each step."""

    name, gradient_norm = 'plain', 2.5

    def __init__(self, network=NETWORK, loss=1.5, card=None):
        self.card = card
        self.network, self.loss, self.rates, self.seconds = network, loss, [], {}
        parameters = random_parameters(network, 0)
        trained = graph.trace(network).trained
        momenta = {name: np.zeros_like(parameters[name]) for name in trained}
        self._state = TrainingState(parameters, momenta, 0)

    def step(self, data, label, learning_rate):
        assert (len(data), len(label)) == (2, 2)
        self.rates.append(learning_rate)
        self.seconds['forward'] = self.seconds.get('forward', 0.0) + 1.0
        state = self._state
        for name in state.momenta:
            state.parameters[name] += np.float32(learning_rate)
        self._state = TrainingState(state.parameters, state.momenta, state.iteration + 1)
        return self.loss, 0.25

    def state(self):
        return self._state

    def restore(self, state):
        self._state = state

    def save(self, path):
        momenta = {name + MOMENTUM_SUFFIX: array for name, array in self._state.momenta.items()}
        count = np.array([self._state.iteration], np.int64)
        save_minidb(path, {**self._state.parameters, **momenta, ITERATION: count}, self.card)


class PlainData:
    batch_size, shard = 2, Shard()

    def batches(self, first, last):
        for _ in range(first, last):
            yield Batch(np.zeros((2, *NETWORK.data_shape), np.float32), np.zeros(2, np.int32), ())


def run(trainer, folder, *, num_epochs=2, test=None, **begin):
    schedule = Schedule(batch_size=2, epoch_size=6, num_epochs=num_epochs, base_learning_rate=0.5)
    first = start(trainer, schedule, folder=folder, **begin)
    train(trainer, PlainData(), schedule, LoopSettings(folder), first_epoch=first, test=test)


def test_a_trainer_of_no_framework_is_all_that_the_loop_needs(tmp_path):
    tested = []

    def test(parameters):
        tested.append(float(parameters['last_out_L5_b'][0]))
        return 0.125, 0.5, 0.75

    trainer = PlainTrainer()
    run(trainer, tmp_path, test=test)
    assert trainer.rates == [0.5] * 6
    assert tested == [1.5, 3.0]
    state = checkpoints.read(checkpoints.checkpoint_path(tmp_path, NETWORK, 1), NETWORK)
    assert state.iteration == 3
    assert state.parameters['last_out_L5_b'].tolist() == [1.5] * 5
    with checkpoints.log_path(tmp_path, NETWORK).open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [(row['epoch'], row['iterations'], row['test_top1']) for row in rows] == [
        ('1', '3', '0.50000'), ('2', '6', '0.50000'),
    ]  # fmt: skip


def test_the_log_says_how_fast_and_where_the_time_goes(tmp_path, caplog):
    caplog.set_level('INFO')
    run(PlainTrainer(), tmp_path)
    with checkpoints.log_path(tmp_path, NETWORK).open(newline='') as file:
        rows = list(csv.DictReader(file))
    assert [float(row['gradient_norm']) for row in rows] == [2.5, 2.5]
    for row in rows:
        assert 0 < float(row['waiting_share']) < 1
        assert float(row['waiting_share']) + float(row['network_share']) <= 1.00001
    lines = re.findall(
        r'([\d.]+) clips per second; waiting for data \d+%, forward \d+%', caplog.text
    )
    assert len(lines) == 2


class FailingData(PlainData):
    """One record fails in the first batch of each epoch, and two in the second."""

    def batches(self, first, last):
        for iteration, batch in enumerate(super().batches(first, last)):
            count = iteration + 1 if iteration < 2 else 0
            failed = tuple(Sample(i, str(i), failure='bad') for i in range(count))
            yield dataclasses.replace(batch, failed=failed)


def test_the_log_says_how_many_records_failed_and_where_they_are_listed(tmp_path, caplog):
    caplog.set_level('INFO')
    settings = LoopSettings(tmp_path, max_failures=3, display_iter=1)
    schedule = Schedule(batch_size=2, epoch_size=6, num_epochs=2, base_learning_rate=0.5)
    train(PlainTrainer(), FailingData(), schedule, settings, first_epoch=0)
    path = tmp_path / 'failures.csv'
    said = [record.getMessage() for record in caplog.records if record.levelname == 'WARNING']
    assert said == [
        f'record 0 failed: bad; such records are listed in {path}',
        f'failed so far: 3, listed in {path}',
        f'failed so far: 6, listed in {path}',
    ]
    assert len(path.read_text().splitlines()) == 7
    assert 'epoch 1: 2 of 6 clips, loss: 1.5000, accuracy: 0.2500, failed: 1, ' in caplog.text
    assert 'epoch 2 of 2: loss: 1.5000, accuracy: 0.2500, failed: 3 -> ' in caplog.text


def test_nothing_is_said_of_failures_where_there_are_none(tmp_path, caplog):
    caplog.set_level('INFO')
    run(PlainTrainer(), tmp_path)
    assert 'failed' not in caplog.text


def test_too_many_failures_end_the_run_with_the_list(tmp_path, caplog):
    settings = LoopSettings(tmp_path, max_failures=2)
    listed = re.escape(str(tmp_path / 'failures.csv'))
    said = rf'3 records failed, 2 may \(max_failures\), listed in {listed}; the last one, record 1'
    with pytest.raises(InputError, match=said):
        train(PlainTrainer(), FailingData(), SCHEDULE, settings, first_epoch=0)


def test_it_continues_from_the_checkpoint(tmp_path):
    run(PlainTrainer(), tmp_path, num_epochs=1)
    again = PlainTrainer()
    run(again, tmp_path, num_epochs=3)
    assert len(again.rates) == 6
    assert again.state().iteration == 9
    assert again.state().parameters['last_out_L5_b'].tolist() == [4.5] * 5


@pytest.mark.parametrize('tear', [
    lambda row: row[:6],
    lambda row: row[:-4],  # within the last figure
    lambda row: row.replace('1.50000', '1.5x'),
    lambda row: '\0\0\0\n',  # as after a power cut
], ids=['early', 'late', 'no figure', 'zeros'])  # fmt: skip
def test_a_torn_row_of_the_log_is_written_again(tmp_path, tear):
    """A disk that is full at the end of an epoch takes a part of the row, and the run ends."""

    def test(parameters):
        return 0.125, 0.5, 0.75

    run(PlainTrainer(), tmp_path, test=test)
    path = checkpoints.log_path(tmp_path, NETWORK)
    header, first, second = path.read_bytes().decode().splitlines(keepends=True)
    path.write_bytes(f'{header}{first}{tear(second)}'.encode())
    run(PlainTrainer(), tmp_path, num_epochs=3, test=test)
    lines = path.read_bytes().decode().splitlines(keepends=True)
    assert lines[:2] == [header, first]
    assert lines[2].startswith('2,6,0.5,nan,nan,0.12500,0.50000,0.75000,nan,')
    assert lines[3].startswith('3,9,')
    assert len(lines) == 4


def test_a_log_without_a_later_column_keeps_its_rows(tmp_path):
    run(PlainTrainer(), tmp_path)
    path = checkpoints.log_path(tmp_path, NETWORK)
    with path.open(newline='') as file:
        rows = list(csv.reader(file))
    path.write_text(''.join(','.join(row[:-1]) + '\n' for row in rows))
    for epochs in (3, 4):
        run(PlainTrainer(), tmp_path, num_epochs=epochs)
        with path.open(newline='') as file:
            assert [row[:-1] for row in csv.reader(file)][:3] == [row[:-1] for row in rows]


def test_weights_to_begin_from_keep_what_the_trainer_has_for_the_rest(tmp_path):
    other = Network('r2d', 10, clip_length=8, num_labels=9, width=0.0625)
    save_pickle(tmp_path / 'w.pkl', random_parameters(other, 7))
    trainer, fresh = PlainTrainer(), random_parameters(NETWORK, 0)
    given = tmp_path / 'w.pkl'
    assert start(trainer, SCHEDULE, folder=tmp_path, pretrained=given, proceed=False) == 0
    parameters = trainer.state().parameters
    assert set(parameters) == set(fresh)
    np.testing.assert_array_equal(parameters['last_out_L5_w'], fresh['last_out_L5_w'])
    np.testing.assert_array_equal(parameters['conv1_w'], random_parameters(other, 7)['conv1_w'])


def test_a_run_that_began_from_other_weights_is_not_continued(tmp_path):
    trainer = PlainTrainer(card={'weights_sha256': 'a'})
    given = {'pretrained': tmp_path / 'w.pkl', 'proceed': False, 'resume': True}
    save_pickle(given['pretrained'], random_parameters(NETWORK, 7))
    run(trainer, tmp_path, num_epochs=1, **given, pretrained_sha256='a')
    run(trainer, tmp_path, num_epochs=2, **given, pretrained_sha256='a')
    with pytest.raises(
        InputError, match=r'r2d_w0.0625_2.mdl began from other weights than .*w.pkl'
    ):
        run(trainer, tmp_path, num_epochs=3, **given, pretrained_sha256='b')
    run(PlainTrainer(), tmp_path / 'of_before', num_epochs=1)  # it does not say
    run(trainer, tmp_path / 'of_before', num_epochs=2, **given, pretrained_sha256='b')


def test_a_run_from_scratch_is_not_continued_with_weights(tmp_path):
    given = {'pretrained': tmp_path / 'w.pkl', 'proceed': False, 'resume': True}
    save_pickle(given['pretrained'], random_parameters(NETWORK, 7))
    run(PlainTrainer(card=of_run(SCHEDULE, 0)), tmp_path, num_epochs=1)
    with pytest.raises(InputError, match=r'2d_w0.0625_1.mdl began from scratch, not from .*w.pkl'):
        run(PlainTrainer(), tmp_path, **given, pretrained_sha256='b')
    run(PlainTrainer(), tmp_path)  # without weights it goes on


@pytest.mark.parametrize(
    ('before', 'now', 'message'),
    [
        ({}, {'batch_size': 4, 'epoch_size': 12}, 'the shuffle would no longer fit'),
        ({}, {'num_devices': 2}, 'num_devices 2, seed 0: the shuffle would no longer fit'),
        ({}, {'seed': 1}, 'this run has batch_size 2, epoch_size 6, num_devices 1, seed 1'),
        ({**POOLED, 'use_pool1': True}, POOLED, 'trained with use_pool1 1, and use_pool1 is 0'),
        ({}, {'bn_epsilon': 0.1}, 'trained with bn_epsilon 0.001, and bn_epsilon is 0.1'),
    ],
)
def test_a_run_of_other_batches_or_of_another_network_is_not_continued(
    tmp_path, before, now, message
):
    def card(**changed):
        seed = changed.pop('seed', 0)
        of_schedule = {k: changed.pop(k) for k in SIZES & set(changed)}
        network = dataclasses.replace(NETWORK, **changed)
        schedule = dataclasses.replace(SCHEDULE, **of_schedule)
        return {**of_network(network, batch_norm_folded=False), **of_run(schedule, seed)}

    run(PlainTrainer(card=card(**before)), tmp_path, num_epochs=1)
    with pytest.raises(InputError, match=message):
        run(PlainTrainer(), tmp_path, card=card(**now))
    run(PlainTrainer(), tmp_path, card=card(**before))


def test_a_run_that_is_there_is_overwritten_by_none(tmp_path):
    run(PlainTrainer(card={'weights_sha256': 'a'}), tmp_path)
    with pytest.raises(InputError, match=r'2d_w0.0625_2.mdl would be overwritten: --resume=1'):
        start(PlainTrainer(), SCHEDULE, folder=tmp_path, proceed=False)
    assert start(PlainTrainer(), SCHEDULE, folder=tmp_path) == 2  # nothing is left to do
    weights = tmp_path / 'w.pkl'
    save_pickle(weights, random_parameters(NETWORK, 7))
    with pytest.raises(InputError, match='began from other weights than'):
        start(PlainTrainer(), SCHEDULE, folder=tmp_path, pretrained=weights, pretrained_sha256='b')


def test_a_last_layer_of_another_shape_starts_fresh(tmp_path, caplog):
    caplog.set_level('INFO')
    other = dataclasses.replace(NETWORK, num_labels=9, pred_layer_name='last_out_L5')
    save_pickle(tmp_path / 'w.pkl', random_parameters(other, 7))
    trainer, fresh = PlainTrainer(), random_parameters(NETWORK, 0)
    start(trainer, SCHEDULE, folder=tmp_path, pretrained=tmp_path / 'w.pkl', proceed=False)
    np.testing.assert_array_equal(
        trainer.state().parameters['last_out_L5_w'], fresh['last_out_L5_w']
    )
    assert '2 blobs fresh: last_out_L5_w, last_out_L5_b' in caplog.text
    assert start(PlainTrainer(), SCHEDULE, folder=tmp_path / 'new') == 0
    assert f'{NETWORK.name} from scratch' in caplog.text


def test_of_two_checkpoints_of_an_epoch_the_runs_own_is_continued(tmp_path, caplog):
    caplog.set_level('INFO')
    for folder in ('own', 'other'):
        run(PlainTrainer(), tmp_path / folder, num_epochs=1)
    other = checkpoints.checkpoint_path(tmp_path / 'other', NETWORK, 1)
    assert start(PlainTrainer(), SCHEDULE, folder=tmp_path / 'own', pretrained=other) == 1
    assert f'continuing from {tmp_path / "own"}' in caplog.text


def test_a_checkpoint_of_another_run_is_told_from_weights(tmp_path):
    run(PlainTrainer(), tmp_path / 'a', num_epochs=2)
    given = {'pretrained': checkpoints.checkpoint_path(tmp_path / 'a', NETWORK, 2)}
    hint = '; --is_checkpoint=0 takes only its weights'
    with pytest.raises(InputError, match=f'2 epochs behind it, and num_epochs is 2{hint}'):
        run(PlainTrainer(), tmp_path / 'b', num_epochs=2, **given)
    with pytest.raises(InputError, match=f'number of devices differ{hint}'):
        longer = dataclasses.replace(SCHEDULE, epoch_size=12, num_epochs=3)
        start(PlainTrainer(), longer, folder=tmp_path / 'b', **given)
    other = dataclasses.replace(NETWORK, num_labels=9)
    with pytest.raises(InputError, match=f'it lacks last_out_L9_w{hint}'):
        start(PlainTrainer(network=other), SCHEDULE, folder=tmp_path / 'b', **given)


@pytest.mark.parametrize('loss', [float('nan'), 1e5])
def test_divergence_is_one_line(tmp_path, loss):
    with pytest.raises(InputError, match='training diverges; no checkpoint yet'):
        run(PlainTrainer(loss=loss), tmp_path)
    trainer = PlainTrainer()
    trainer.state().parameters['conv1_w'][0] = np.inf
    with pytest.raises(InputError, match='conv1_w is not finite after epoch 1'):
        run(trainer, tmp_path)
    trainer = PlainTrainer()
    trainer.state().momenta['conv1_w'][0] = np.inf
    with pytest.raises(InputError, match='conv1_w_momentum is not finite after epoch 1'):
        run(trainer, tmp_path)
    assert checkpoints.newest(tmp_path, NETWORK) == (0, None)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'conv1_w_momentum': None}, 'no checkpoint to continue from: it lacks conv1_w_momentum'),
        ({ITERATION: None}, 'no checkpoint to continue from: it lacks training_iteration'),
        ({'more': np.zeros(2, np.float32)}, 'of another network: it has more too'),
        ({'conv1_w': np.zeros(2, np.float32)}, r'conv1_w is \(2,\), not \(4, 3, 8, 7, 7\)'),
        ({ITERATION: np.zeros(2, np.int64)}, 'training_iteration is not one number'),
        ({ITERATION: np.array([np.nan])}, 'training_iteration is nan, no number of iterations'),
        ({ITERATION: np.array([np.inf])}, 'training_iteration is inf, no number of iterations'),
        ({ITERATION: np.array([2.5])}, 'training_iteration is 2.5, no number of iterations'),
        ({ITERATION: np.array([-1])}, 'training_iteration is -1, no number of iterations'),
        ({BIAS: np.full(5, np.nan, np.float32)}, f'NaN or infinite values in {BIAS}$'),
        ({BIAS: np.full(5, 1e300)}, f'NaN or infinite values in {BIAS}$'),
        (
            {f'{BIAS}_momentum': np.full(5, np.inf, np.float32)},
            f'NaN or infinite values in {BIAS}_momentum$',
        ),
    ],
)
def test_what_is_no_checkpoint_of_the_network(tmp_path, change, message):
    path = tmp_path / 'x_1.mdl'
    PlainTrainer().save(path)
    blobs = {**read_minidb(path), **change}
    save_minidb(path, {name: array for name, array in blobs.items() if array is not None})
    with pytest.raises(InputError, match=f'^{path}.*{message}'):
        checkpoints.read(path, NETWORK)


def test_an_iteration_may_be_a_whole_number_in_floats(tmp_path):
    path = tmp_path / 'x_1.mdl'
    PlainTrainer().save(path)
    save_minidb(path, {**read_minidb(path), ITERATION: np.array([3.0], np.float32)})
    assert checkpoints.read(path, NETWORK).iteration == 3


def test_the_loop_imports_no_framework():
    code = (
        'import sys, r2plus1d.training.loop, r2plus1d.training.start, r2plus1d.training.testing;'
        'sys.exit(", ".join({"caffe2", "torch", "openvino"} & set(sys.modules)) or 0)'
    )
    done = subprocess.run([sys.executable, '-c', code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize('name', ['openvino', 'theano'])
def test_a_backend_without_a_trainer_is_refused(name):
    settings = TrainerSettings(trainer=name)
    with pytest.raises(InputError, match=f'trainer is {name}; known: auto, caffe2, torch'):
        choose.open_trainer(NETWORK, devices=Devices(), settings=settings)
