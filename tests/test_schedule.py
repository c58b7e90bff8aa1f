"""Iterations of an epoch, and the learning rate of each."""

import math

import pytest

from r2plus1d.errors import InputError
from r2plus1d.training.schedule import Schedule


def test_schedule():
    schedule = Schedule(
        batch_size=64, epoch_size=1000, num_epochs=4, base_learning_rate=0.01, num_devices=2,
        step_epoch=2, gamma=0.1,
    )  # fmt: skip
    assert schedule.iterations == 15
    assert schedule.learning_rate(0) == schedule.learning_rate(29) == pytest.approx(0.02)
    assert schedule.learning_rate(30) == pytest.approx(0.002)
    assert schedule.learning_rate(61) == pytest.approx(0.0002)
    assert (
        Schedule(batch_size=4, epoch_size=4, num_epochs=1, base_learning_rate=0.1).iterations == 1
    )
    with pytest.raises(InputError, match='epoch_size is 63, less than one batch of 64'):
        Schedule(batch_size=64, epoch_size=63, num_epochs=1, base_learning_rate=0.1)


def test_rates_beyond_numbers():
    given = {'batch_size': 1, 'epoch_size': 9, 'num_epochs': 9, 'base_learning_rate': 0.1}
    assert Schedule(**given, step_epoch=1e308).learning_rate(80) == pytest.approx(0.1)
    assert Schedule(**given, step_epoch=1, gamma=1e200).learning_rate(80) == math.inf


def test_the_rates_are_those_of_caffe2s_operators():
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    from caffe2.python import brew, model_helper, workspace

    schedule = Schedule(
        batch_size=4, epoch_size=8, num_epochs=6, base_learning_rate=0.1, step_epoch=2
    )
    model = model_helper.ModelHelper('rates')
    count = brew.iter(model, 'ITER')
    model.net.LearningRate(count, 'rate', base_lr=0.1, policy='step', stepsize=4, gamma=0.1)
    workspace.RunNetOnce(model.param_init_net)
    workspace.CreateNet(model.net)
    for iteration in range(12):
        workspace.RunNet(model.net)
        expected = workspace.FetchBlob('rate').item()
        assert schedule.learning_rate(iteration) == pytest.approx(expected, rel=1e-6)
