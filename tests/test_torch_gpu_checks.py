"""What is refused of GPUs before they compute, on a stand-in for torch.cuda."""

import os

import numpy as np
import pytest

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.choose import open_engine
from r2plus1d.backends.pytorch import engine as torch_engine
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network

try:
    torch_engine.require()
except InputError as lacking:
    pytest.skip(str(lacking), allow_module_level=True)

import torch

from late_cuda import LateCuda
from r2plus1d.backends.pytorch import about, gpu_checks, worker
from r2plus1d.backends.pytorch.gpu import GpuDevice


@pytest.fixture
def cuda(monkeypatch):
    LateCuda().put_in_place(monkeypatch)
    return lambda name, value: monkeypatch.setattr(torch.cuda, name, value)


def raises(text):
    def init():
        raise RuntimeError(text)

    return init


TOO_OLD = 'The NVIDIA driver on your system is too old (found version 11040). Please update it'
CHECKS = [
    ('init', raises(TOO_OLD), 'fp32', 'gpus is 0; the driver of NVIDIA is too old for'),
    ('is_available', lambda: False, 'fp32', 'gpus is 0; PyTorch sees no GPUs here'),
    ('device_count', lambda: 0, 'fp32', 'gpus is 0; PyTorch sees no GPUs here'),
    ('get_arch_list', lambda: ['sm_75', 'sm_80'], 'fp32',
     r'GPU 0 \(stand-in\) has compute capability 9.0; this PyTorch was built for sm_75, sm_80'),
    ('get_device_capability', lambda i=0: (7, 5), 'bf16',
     r'precision is bf16, which GPU 0 \(stand-in\) lacks; it has fp32, fp16'),
    ('get_device_capability', lambda i=0: (7, 5), 'tf32', 'precision is tf32, which GPU 0'),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'value', 'precision', 'message'), CHECKS)
def test_checks_are_one_line(cuda, name, value, precision, message):
    cuda('get_arch_list', lambda: ['sm_75', 'sm_80', 'sm_90'])
    gpu_checks.require_gpus([0], precision)
    cuda(name, value)
    with pytest.raises(InputError, match=message) as caught:
        gpu_checks.require_gpus([0], precision)
    assert '\n' not in str(caught.value)


def test_no_driver_at_all_is_no_gpu(cuda):
    cuda('init', raises('Found no NVIDIA driver on your system.'))
    cuda('is_available', lambda: False)
    with pytest.raises(InputError, match='gpus is MIG-7; PyTorch sees no GPUs here'):
        gpu_checks.require_gpus([0], 'fp32', ['MIG-7'])


@pytest.mark.parametrize(
    ('capability', 'built', 'runs'),
    [
        ((8, 0), ['sm_80'], True),
        ((8, 9), ['sm_86'], True),
        ((8, 0), ['sm_86'], False),
        ((9, 0), ['sm_86'], False),
        ((9, 0), ['compute_86'], True),
        ((7, 5), ['compute_86'], False),
        ((9, 0), ['sm_90a'], True),
        ((9, 1), ['sm_90a', 'compute_90a'], False),
        ((12, 0), ['sm_120'], True),
        ((10, 3), ['sm_100', 'gfx90a'], True),
        ((9, 0), ['gfx90a'], False),
    ],
)
def test_which_kernels_run_where(capability, built, runs):
    assert gpu_checks.runs_on(capability, built) is runs


@pytest.mark.parametrize(
    ('version', 'precision', 'has_3d', 'warns'),
    [
        (90800, 'bf16', True, True),
        (91400, 'fp16', True, True),
        (91500, 'bf16', True, False),
        (90701, 'bf16', True, False),
        (91000, 'fp32', True, False),
        (91000, 'bf16', False, False),
        (None, 'bf16', True, False),
    ],
)
def test_releases_of_cudnn(monkeypatch, caplog, version, precision, has_3d, warns):
    monkeypatch.setattr(torch.backends.cudnn, 'version', lambda: version)
    gpu_checks.warn_of_cudnn(precision, has_3d)
    assert ('install nvidia-cudnn 9.15' in caplog.text) is warns


def test_cudnn_that_is_too_new_for_another_gpu(monkeypatch, caplog):
    def version():
        raise RuntimeError('cuDNN 9.11 does not support the GPU 0')

    monkeypatch.setattr(torch.backends.cudnn, 'version', version)
    gpu_checks.warn_of_cudnn('bf16', has_3d=True)
    assert not caplog.text


def test_what_is_said_of_gpus(cuda):
    cuda('get_device_capability', lambda i=0: (7, 5))
    assert about.devices()[1] == ('GPU 0, stand-in', ['fp32', 'fp16'])
    cuda('get_device_capability', lambda i=0: (8, 0))
    assert about.devices()[1] == ('GPU 0, stand-in', ['fp32', 'tf32', 'bf16', 'fp16'])


def opened_here(monkeypatch, place, **options):
    """What a process of its own does for a GPU."""
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', 'all')
    monkeypatch.setenv('CUBLAS_WORKSPACE_CONFIG', '')
    asked = []
    monkeypatch.setattr(torch, 'use_deterministic_algorithms', asked.append)
    given = {'precision': 'fp32', 'clips': 2, 'deterministic': False, **options}
    with LateCuda() as cuda:
        cuda.put_in_place(monkeypatch)
        device = worker._open_here(place, np.zeros(8, np.uint8), given)
    assert isinstance(device, GpuDevice)
    return os.environ['CUDA_VISIBLE_DEVICES'], asked, os.environ['CUBLAS_WORKSPACE_CONFIG']


def test_a_process_sees_the_gpu_that_is_named(monkeypatch):
    assert opened_here(monkeypatch, worker.Place('gpu', 1, 'MIG-7'))[0] == 'MIG-7'
    assert opened_here(monkeypatch, worker.Place('gpu', 0)) == ('all', [], '')


def test_a_deterministic_process(monkeypatch):
    found = opened_here(monkeypatch, worker.Place('gpu', 0), deterministic=True)
    assert found == ('all', [True], ':4096:8')


SMALL = Network('r2d', 10, clip_length=8, num_labels=5, width=0.125)
NAMED = Devices('gpu', (0,), ('GPU-1',))


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_one_gpu_too_is_opened_in_a_process():
    settings = EngineSettings('torch')
    with pytest.raises(InputError, match='gpus is GPU-1; PyTorch sees no GPUs here'):
        open_engine(SMALL, devices=NAMED, outputs=['softmax'], settings=settings)
