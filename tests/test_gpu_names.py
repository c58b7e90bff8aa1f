"""GPUs by their numbers or their UUIDs, and who takes which."""

import argparse
import types

import pytest

from r2plus1d.backends.base import EngineSettings, TrainerSettings
from r2plus1d.backends.choose import open_engine, open_trainer
from r2plus1d.cli import flag_types, from_flags
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network

SMALL = Network('r2d', 10, clip_length=8, num_labels=5, width=0.125)


def test_gpus_by_number_and_by_uuid():
    assert flag_types.gpus('') == []
    assert flag_types.gpus('2,0') == [2, 0]
    names = ['GPU-8932f937-d72c', 'MIG-GPU-8932f937/1/0']
    assert flag_types.gpus(','.join(names)) == names
    args = types.SimpleNamespace(gpus=names, num_gpus=0, cpu_replicas=1)
    assert from_flags.devices(args) == Devices('gpu', (0, 1), tuple(names))
    assert str(from_flags.devices(args)) == f'GPU {", ".join(names)}'


@pytest.mark.parametrize(
    ('text', 'message'),
    [('GPU-1,0', "'0' is not a UUID"), ('GPU-', 'is not an integer'), ('gpu', 'not an integer')],
)
def test_names_that_are_refused(text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        flag_types.gpus(text)


NAMED = Devices('gpu', (0,), ('GPU-1',))


def test_training_takes_numbers():
    with pytest.raises(InputError, match='gpus is GPU-1; training takes numbers: set CUDA_VISIBLE'):
        open_trainer(SMALL, devices=NAMED, settings=TrainerSettings())


def test_caffe2_takes_numbers(monkeypatch):
    monkeypatch.setattr('r2plus1d.backends.choose.has', lambda name: True)
    with pytest.raises(InputError, match='gpus is GPU-1; the engine caffe2 takes numbers, torch'):
        open_engine(SMALL, devices=NAMED, outputs=['softmax'], settings=EngineSettings('caffe2'))


def test_deterministic_is_for_gpus(monkeypatch):
    monkeypatch.setattr('r2plus1d.backends.choose.has', lambda name: True)
    settings = EngineSettings('torch', deterministic=True)
    with pytest.raises(InputError, match='deterministic is for the engine torch on GPUs; this one'):
        open_engine(SMALL, devices=Devices(), outputs=['softmax'], settings=settings)
