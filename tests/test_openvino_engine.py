"""The OpenVINO engine against Caffe2, and how an engine is chosen."""

import importlib
import inspect
import subprocess
import sys

import numpy as np
import pytest

from r2plus1d.backends import choose, installed
from r2plus1d.backends.base import Engine, EngineSettings
from r2plus1d.backends.choose import CAFFE2, chosen, open_engine, require
from r2plus1d.backends.installed import has
from r2plus1d.backends.table import BACKENDS
from r2plus1d.cli import command_line, flags
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import normalize_rgb
from r2plus1d.networks.network import Network

needs_openvino = pytest.mark.skipif(not has('openvino'), reason='needs OpenVINO')
needs_caffe2 = pytest.mark.skipif(not has('caffe2'), reason='needs Caffe2')

NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=7, width=0.25)
OUTPUTS = ('softmax', 'final_avg', 'comp_1_sum_2', 'conv1')
FP32, BF16 = EngineSettings('openvino'), EngineSettings('openvino', 'bf16')
PIXELS = np.random.default_rng(0).integers(0, 256, (5, *NETWORK.data_shape), np.uint8)


def run(settings, pixels=PIXELS, *, devices=None, network=NETWORK, outputs=OUTPUTS, seed=0):
    devices = devices or Devices()
    with open_engine(network, devices=devices, outputs=outputs, settings=settings) as engine:
        engine.load(random_parameters(network, seed))
        return engine.run(pixels)


@pytest.fixture(scope='module')
def fp32():
    return run(FP32)


@needs_caffe2
@needs_openvino
@pytest.mark.parametrize(
    'network',
    [
        NETWORK,
        Network('mc4', 10, clip_length=8, num_labels=7, width=0.25),
        Network('r2d', 10, clip_length=16, num_labels=7, width=0.25, num_channels=2),
        Network('r3d', 10, clip_length=8, num_labels=7, width=0.25, multi_label=True),
    ],
    ids=lambda network: network.name,
)
def test_outputs_are_those_of_caffe2(network):
    outputs = (network.prediction, network.logits, 'final_avg')
    shape = (3, *network.data_shape)
    data = np.random.default_rng(1).standard_normal(shape, np.float32)
    expected = run(CAFFE2, data, network=network, outputs=outputs)
    found = run(FP32, data, network=network, outputs=outputs)
    for name in outputs:
        assert found[name].dtype == np.float32
        assert found[name].shape == expected[name].shape
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4 * scale, rtol=0)


@needs_openvino
def test_bytes_are_normalized_as_video_input_does(fp32):
    floats = run(FP32, normalize_rgb(PIXELS))
    for name in OUTPUTS:
        scale = np.abs(floats[name]).max()
        np.testing.assert_allclose(fp32[name], floats[name], atol=1e-5 * scale, rtol=0)


@needs_openvino
@pytest.mark.parametrize('devices', [Devices(), Devices('cpu', (0, 1))], ids=str)
@pytest.mark.parametrize('rows', [1, 3])
def test_a_clip_gives_the_same_bits_in_whatever_batch(fp32, rows, devices):
    some = run(FP32, PIXELS[:rows], devices=devices)
    for name in OUTPUTS:
        np.testing.assert_array_equal(some[name], fp32[name][:rows])


@needs_openvino
def test_bf16_is_close(fp32):
    from r2plus1d.backends.openvino.core import core

    capabilities = core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    if 'BF16' not in capabilities:
        with pytest.raises(InputError, match='precision is bf16, which this processor lacks'):
            run(BF16)
        return
    found = run(BF16)
    for name in ('softmax', 'final_avg'):
        scale = np.abs(fp32[name]).max()
        np.testing.assert_allclose(found[name], fp32[name], atol=2e-2 * scale, rtol=0)
    assert not np.array_equal(found['final_avg'], fp32['final_avg']), 'this was fp32'
    assert (found['softmax'].argmax(1) == fp32['softmax'].argmax(1)).all()


# One engine is made before the one in its place goes, as where a name is bound again.
INTERRUPTED = """
import signal
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.devices import Devices
from r2plus1d.networks.network import Network

network = Network('r2d', 10, clip_length=8, num_labels=7, width=0.0625)
for _ in range(3):
    engine = open_engine(
        network, devices=Devices(), outputs=('softmax',), settings=EngineSettings('openvino')
    )
del engine
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print('interrupted')
"""


@needs_openvino
def test_a_process_that_had_several_can_be_interrupted():
    done = subprocess.run([sys.executable, '-c', INTERRUPTED], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'interrupted\n'), done.stderr


@needs_openvino
def test_new_weights_replace_the_old(fp32):
    with open_engine(NETWORK, devices=Devices(), outputs=OUTPUTS, settings=FP32) as engine:
        engine.load(random_parameters(NETWORK, 1))
        other = engine.run(PIXELS)
        engine.load(random_parameters(NETWORK, 0))
        np.testing.assert_array_equal(engine.run(PIXELS)['softmax'], fp32['softmax'])
    assert not np.allclose(other['softmax'], fp32['softmax'])


@needs_openvino
def test_a_cache_is_filled_and_changes_nothing(fp32, tmp_path):
    settings = EngineSettings('openvino', cache=tmp_path / 'cache')
    for _ in range(2):
        np.testing.assert_array_equal(run(settings)['softmax'], fp32['softmax'])
    assert list((tmp_path / 'cache').iterdir())
    other = run(settings, seed=1)
    assert not np.allclose(other['softmax'], fp32['softmax']), 'another network from the cache'


@needs_openvino
@pytest.mark.parametrize(
    ('settings', 'devices', 'message'),
    [
        (FP32, Devices('gpu', (0,)), 'engine is openvino, which is for the CPU'),
        (EngineSettings('caffe2', threads=2), Devices(), 'engine_threads is 2; the engine caffe2'),
        (EngineSettings('caffe2', cache='x'), Devices(), 'engine_cache is for the engine openvino'),
        (EngineSettings('caffe2', 'bf16'), Devices(), 'precision is bf16; .* caffe2 has fp32 only'),
    ],
)
def test_what_an_engine_lacks(settings, devices, message):
    if settings.engine == 'caffe2' and not has('caffe2'):
        message = 'engine is caffe2, which is not installed'
    with pytest.raises(InputError, match=message):
        open_engine(NETWORK, devices=devices, outputs=OUTPUTS, settings=settings)


@needs_openvino
def test_a_blob_that_is_not_there():
    with pytest.raises(InputError, match='comp_99_sum_2'):
        open_engine(NETWORK, devices=Devices(), outputs=['comp_99_sum_2'], settings=FP32)


GPU = Devices('gpu', (0,))


@pytest.mark.parametrize(
    ('installed', 'devices', 'from_onnx', 'expected'),
    [
        ({'caffe2', 'openvino', 'torch'}, Devices(), False, 'openvino'),
        ({'caffe2', 'openvino', 'torch'}, Devices(), True, 'openvino'),
        ({'caffe2', 'torch'}, Devices(), False, 'caffe2'),
        ({'caffe2', 'torch'}, Devices(), True, 'torch'),
        ({'torch'}, Devices(), False, 'torch'),
        (set(), Devices(), False, 'openvino'),
        ({'caffe2', 'torch', 'openvino'}, GPU, False, 'caffe2'),
        ({'caffe2', 'torch', 'openvino'}, GPU, True, 'torch'),
        ({'torch', 'openvino'}, GPU, False, 'torch'),
        ({'caffe2', 'openvino'}, GPU, False, 'caffe2'),
    ],
)
def test_auto(monkeypatch, installed, devices, from_onnx, expected):
    monkeypatch.setattr(choose, 'has', lambda name: name in installed)
    monkeypatch.setattr(choose, '_caffe2_runs_on', lambda _: 'caffe2' in installed)
    assert chosen(EngineSettings(), devices, from_onnx=from_onnx) == expected


@pytest.mark.parametrize('name', ['caffe2', 'openvino', 'torch'])
def test_an_engine_that_is_not_installed(monkeypatch, name):
    monkeypatch.setattr(choose, 'has', lambda _: False)
    with pytest.raises(InputError, match=f'engine is {name}, which is not installed here: '):
        require(name)


def test_an_engine_that_nobody_knows():
    with pytest.raises(InputError, match='engine is tpu; known: auto, caffe2, openvino, torch'):
        open_engine(NETWORK, devices=Devices(), outputs=OUTPUTS, settings=EngineSettings('tpu'))


def test_every_engine_has_what_the_protocol_says():
    """Each that is installed; the table names no class that is not there."""
    for name in filter(has, BACKENDS):
        module, _, made = BACKENDS[name].engine.partition(':')
        engine = getattr(importlib.import_module(module), made)
        for method in ('load', 'run', '__enter__', '__exit__'):
            asked, has_it = (inspect.signature(getattr(c, method)) for c in (Engine, engine))
            assert len(asked.parameters) == len(has_it.parameters), (name, method)
        assert engine.name == name


def test_help_is_read_from_the_table(capsys):
    with pytest.raises(SystemExit):
        command_line.parse('', flags.ENGINE, argv=['--help'])
    text = ' '.join(capsys.readouterr().out.split())
    assert 'caffe2: fp32; openvino: fp32, bf16, fp16, int8; torch: fp32, tf32, bf16, fp16' in text
    assert 'on a CPU the first of openvino, caffe2, torch that is installed' in text


def test_torch_does_not_do_without_cudnn(monkeypatch):
    monkeypatch.setattr(choose, 'has', lambda _: True)
    settings = EngineSettings('torch', use_cudnn=False)
    with pytest.raises(InputError, match='use_cudnn=0 is for the engine caffe2'):
        open_engine(NETWORK, devices=GPU, outputs=OUTPUTS, settings=settings)


def test_caffe2_does_not_run_onnx_files(monkeypatch):
    monkeypatch.setattr(choose, 'has', lambda _: True)
    with pytest.raises(InputError, match='caffe2, which does not run .onnx files'):
        require('caffe2', from_onnx=True)


def test_a_torch_that_is_too_old(monkeypatch):
    monkeypatch.setattr(installed, '_torch_release', lambda: 1)
    assert not has('torch')
