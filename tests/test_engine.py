"""The Caffe2 engine: the same rows on one device or several."""

import subprocess
import sys
import types

import numpy as np
import pytest

from r2plus1d.backends.choose import open_engine
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network

pytest.importorskip('caffe2.python', reason='needs Caffe2')

from caffe2.proto import caffe2_pb2  # noqa: E402

NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=7, width=0.125)
OUTPUTS = ('softmax', 'final_avg')
PARAMETERS = random_parameters(NETWORK, 0)
CLIPS = np.random.default_rng(0).standard_normal((7, *NETWORK.data_shape), np.float32)


def run(replicas, clips=CLIPS):
    devices = Devices('cpu', tuple(range(replicas)))
    with open_engine(NETWORK, devices=devices, outputs=OUTPUTS) as engine:
        engine.load(PARAMETERS)
        return engine.run(clips)


@pytest.fixture(scope='module')
def alone():
    return run(1)


def test_shapes(alone):
    assert alone['softmax'].shape == (7, 7)
    assert alone['final_avg'].shape == (7, 64, 1, 1, 1)
    np.testing.assert_allclose(alone['softmax'].sum(axis=1), 1, rtol=1e-5)
    assert len(np.unique(alone['softmax'].round(4), axis=0)) == 7, 'clips are not told apart'


@pytest.mark.parametrize('replicas', [2, 3])
@pytest.mark.parametrize('clips', [1, 2, 5, 7])
def test_replicas_give_the_rows_of_one(alone, replicas, clips):
    several = run(replicas, CLIPS[:clips])
    for name in OUTPUTS:
        assert several[name].shape == alone[name][:clips].shape
        np.testing.assert_allclose(several[name], alone[name][:clips], rtol=1e-5, atol=1e-6)


def test_two_engines_do_not_meet(alone):
    other = random_parameters(NETWORK, 1)
    with (
        open_engine(NETWORK, devices=Devices(), outputs=OUTPUTS) as first,
        open_engine(NETWORK, devices=Devices(), outputs=OUTPUTS) as second,
    ):
        first.load(PARAMETERS)
        second.load(other)
        np.testing.assert_array_equal(first.run(CLIPS)['softmax'], alone['softmax'])
        assert not np.allclose(second.run(CLIPS)['softmax'], alone['softmax'])


def test_multi_label():
    network = Network('r2d', 10, clip_length=8, num_labels=4, width=0.125, multi_label=True)
    with open_engine(network, devices=Devices(), outputs=['prob']) as engine:
        engine.load(random_parameters(network, 0))
        prob = engine.run(CLIPS)['prob']
    assert prob.shape == (7, 4)
    assert ((prob > 0) & (prob < 1)).all()


def test_only_several_machines_wait_longer(monkeypatch):
    """Importing changes nothing of Caffe2's, nor does one machine."""
    from caffe2.python import data_parallel_model

    from r2plus1d.backends.caffe2 import replicas

    monkeypatch.setattr(data_parallel_model, '_DEFAULT_TIMEOUT_SEC', 30)
    monkeypatch.setattr(data_parallel_model, 'Parallelize', lambda *_, **__: None)
    one = types.SimpleNamespace(net=types.SimpleNamespace(Proto=caffe2_pb2.NetDef))
    replicas.Replicas(Devices()).parallelize(one, None)
    assert data_parallel_model._DEFAULT_TIMEOUT_SEC == 30
    replicas.Replicas(Devices()).parallelize(one, None, rendezvous={'num_shards': 2})
    assert data_parallel_model._DEFAULT_TIMEOUT_SEC == replicas.PATIENCE_SECONDS


def test_importing_leaves_caffe2_and_matplotlib_as_they_are():
    code = (
        'import matplotlib; matplotlib.use("svg")\n'
        'import r2plus1d.backends.caffe2.replicas, r2plus1d.pictures.plots\n'
        'from caffe2.python import data_parallel_model\n'
        'print(matplotlib.get_backend(), data_parallel_model._DEFAULT_TIMEOUT_SEC)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == 'svg 30'


def test_an_unknown_output_is_refused():
    with pytest.raises(InputError, match='no blob comp_99_sum_2; tools/show_net.py'):
        open_engine(NETWORK, devices=Devices(), outputs=['comp_99_sum_2'])


def test_a_gpu_that_is_not_there_is_refused():
    from caffe2.python import workspace

    absent = workspace.NumGpuDevices() if workspace.has_gpu_support else 0
    with pytest.raises(InputError, match=f'gpus is {absent}; Caffe2 sees (no|{absent}) GPUs here'):
        open_engine(NETWORK, devices=Devices('gpu', (absent,)), outputs=OUTPUTS)
