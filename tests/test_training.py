"""Training: the same steps as an independent implementation, on one device or two, and resumed."""

import dataclasses
import os
import resource
import signal
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.backends.choose import open_engine
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import save_pickle

pytest.importorskip('caffe2.python', reason='needs Caffe2')

from r2plus1d.backends.caffe2.schema import schema  # noqa: E402
from r2plus1d.training import checkpoints  # noqa: E402
from r2plus1d.training.start import fine_tune  # noqa: E402
from r2plus1d.weights.stored import open_weights  # noqa: E402
from small_training import SMALL  # noqa: E402
from training_nets import (  # noqa: E402
    DECAY,
    NETWORK,
    RATE,
    open_net,
    parameters_of,
    set_iteration,
    set_parameters,
)

DATA = np.random.default_rng(1).standard_normal((4, *NETWORK.data_shape)).astype(np.float32)
LABEL = np.array([0, 1, 2, 3], np.int32)
ROUNDING = 1e-4  # of values that a batch norm made, in float32


def relative(a, b):
    return np.linalg.norm(a.astype(float) - b) / (np.linalg.norm(b) + 1e-12)


class TorchNet:
    """The training graph, read from its schema and run by PyTorch's autograd in 64 bits.

    Where a ReLU's input is next to 0, float32's rounding decides on which side of 0 it lies, and so
    about its gradient. The side is therefore taken from the net that is compared.
    """

    def __init__(self, network, parameters):
        import torch

        self.torch = torch
        self.ops = schema(network, training=True)['ops']
        self.blobs = {name: torch.tensor(array).double() for name, array in parameters.items()}
        self.trained = [n for n in parameters if not n.endswith(('_rm', '_riv'))]
        self.momenta = {name: torch.zeros_like(self.blobs[name]) for name in self.trained}

    @property
    def relus(self):
        return [op['outputs'][0] for op in self.ops if op['type'] == 'Relu']

    def step(self, data, label, above):
        """Train on one batch; `above` is {blob of a ReLU: array, true where its output is > 0}."""
        torch = self.torch
        for name in self.trained:
            self.blobs[name] = self.blobs[name].detach().requires_grad_(True)
        blobs = {
            **self.blobs,
            'data': torch.tensor(data).double(),
            'label': torch.tensor(label).long(),
        }
        for op in self.ops:
            inputs, output = [blobs[name] for name in op['inputs']], op['outputs'][0]
            if op['type'] == 'Relu':
                blobs[output] = self.relu(*inputs, torch.tensor(above[output]))
            else:
                blobs[output] = self.run(op, inputs, blobs)
        blobs['loss'].backward()
        with torch.no_grad():
            for name in self.trained:
                gradient = self.blobs[name].grad
                if not name.endswith('_b'):  # what Caffe2's brew tags as a weight
                    gradient = gradient + DECAY * self.blobs[name]
                velocity = self.momenta[name].mul_(0.9).add_(gradient)
                self.blobs[name] = self.blobs[name] - RATE * (gradient + 0.9 * velocity)
        return float(blobs['loss'])

    def relu(self, data, above):
        doubtful = data.detach()[(data > 0) != above].abs()
        assert (doubtful < ROUNDING).all()
        return data * above

    def run(self, op, inputs, blobs):
        functional = self.torch.nn.functional
        args = op['args']
        if op['type'] == 'Conv':
            pads = tuple(args.get('pads', (0, 0, 0))[:3])
            return functional.conv3d(*inputs, stride=tuple(args['strides']), padding=pads)
        if op['type'] == 'SpatialBN':
            data, scale, shift, *_ = inputs
            return functional.batch_norm(data, None, None, scale, shift, True, 0.1, args['epsilon'])
        if op['type'] == 'SoftmaxWithLoss':
            blobs['loss'] = functional.cross_entropy(*inputs)
            return functional.softmax(inputs[0], dim=1)
        if op['type'] == 'FC':
            return functional.linear(inputs[0].flatten(1), *inputs[1:])
        simple = {
            'Sum': lambda a, b: a + b,
            'AveragePool': lambda x: functional.avg_pool3d(x, tuple(args['kernels'])),
            'Accuracy': lambda *_: None,
            'Scale': lambda x: x,
        }
        return simple[op['type']](*inputs)


def test_three_steps_equal_autograd():
    with open_net() as net:
        start = parameters_of(net)
        torch_net = TorchNet(NETWORK, start)
        for _ in range(3):
            loss, _ = net.step(DATA, LABEL, RATE)
            above = {name: net.replicas.fetch(name) > 0 for name in torch_net.relus}
            assert loss == pytest.approx(torch_net.step(DATA, LABEL, above), rel=1e-5)
        end = parameters_of(net)
    assert set(torch_net.trained) < set(end)
    for name in torch_net.trained:
        expected = torch_net.blobs[name].detach().numpy()
        assert relative(end[name], expected) < 1e-4, name
        assert not np.array_equal(end[name], start[name]), name
    changed = [n for n in end if n.endswith('_rm') and not np.array_equal(end[n], start[n])]
    assert changed, 'running statistics are not kept'


def test_replicas_average_their_gradients():
    """Two replicas with the halves move the parameters as one with each half in turn, averaged.

    Batch norm sees half a batch on each, so this is not one step with the whole batch.
    """
    with open_net() as one, open_net(2) as two:
        start, zero = parameters_of(one), one.state().momenta
        assert not any(array.any() for array in zero.values())
        set_parameters(two, start)
        moved = []
        for half in (slice(0, 2), slice(2, 4)):
            set_parameters(one, start, momenta=zero)
            one.step(DATA[half], LABEL[half], RATE)
            moved.append(parameters_of(one))
        two.step(DATA, LABEL, RATE)
        for device in range(2):
            for name in zero:
                expected = (moved[0][name] + moved[1][name]) / 2
                assert relative(two.replicas.fetch(name, device), expected) < 1e-5, name


def test_the_same_seed_begins_the_same():
    with open_net(seed=1) as a, open_net(seed=1) as b, open_net(seed=2) as c:
        first, same, other = (parameters_of(net) for net in (a, b, c))
    for name in ('comp_0_conv_1_w', 'comp_1_conv_1_w'):
        np.testing.assert_array_equal(first[name], same[name])
        assert not np.array_equal(first[name], other[name])
    assert first['comp_0_conv_1_w'].std() > 0


def test_a_checkpoint_holds_everything(tmp_path):
    path = tmp_path / 'r2plus1d_w0.0625_1.mdl'
    with open_net() as net:
        for _ in range(2):
            net.step(DATA, LABEL, RATE)
        net.save(path)
        losses = [net.step(DATA, LABEL, RATE)[0] for _ in range(2)]
        end = parameters_of(net)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    assert checkpoints.newest(tmp_path, NETWORK) == (1, path)
    with open_net(seed=9) as net:
        net.restore(checkpoints.read(path, NETWORK))
        assert net.state().iteration == 2
        assert [net.step(DATA, LABEL, RATE)[0] for _ in range(2)] == losses
        for name, array in parameters_of(net).items():
            np.testing.assert_array_equal(array, end[name])
    with pytest.raises(InputError, match='another network'):
        checkpoints.read(path, SMALL)


def test_what_a_checkpoint_holds_and_in_which_order(tmp_path, caplog):
    path = tmp_path / 'x_1.mdl'
    with open_net() as net:
        net.save(path)
    names, place, content = [], 0, path.read_bytes()
    while place < len(content):
        key, value = struct.unpack_from('<ii', content, place)
        names.append(content[place + 8 : place + 8 + key].decode())
        place += 8 + key + value
    parameters = list(schema(NETWORK, training=True)['params'])
    trained = [name for name in parameters if not name.endswith(('_rm', '_riv'))]
    assert [name.split('#')[0] for name in names] == [
        '!!META_NET_DEF', *(f'cpu_0/{name}' for name in parameters),
        *(f'cpu_0/{name}_momentum' for name in trained), 'cpu_0/training_iteration',
        'r2plus1d_card',
    ]  # fmt: skip
    assert len(open_weights(path, None).parameters(NETWORK)) == len(parameters)
    assert caplog.text == '', 'momenta are expected'


def test_caffe2s_own_loader_reads_a_checkpoint(tmp_path):
    from caffe2.python import workspace
    from caffe2.python.predictor import predictor_exporter

    path = tmp_path / 'x_1.mdl'
    with open_net() as net:
        net.step(DATA, LABEL, RATE)
        net.save(path)
        parameters = parameters_of(net)
    loaded = open_weights(path, 'minidb').parameters(NETWORK)
    assert open_weights(path).network == {**vars(NETWORK), 'pred_layer_name': None}
    for name, array in parameters.items():
        np.testing.assert_array_equal(loaded[name], array)
    with open_engine(NETWORK, devices=Devices(), outputs=['softmax']) as engine:
        engine.load(loaded)
        expected = engine.run(DATA)['softmax']
    workspace.SwitchWorkspace('own_loader', True)
    name = predictor_exporter.prepare_prediction_net(str(path), 'minidb')
    workspace.FeedBlob('cpu_0/data', DATA)
    workspace.FeedBlob('cpu_0/label', LABEL)
    workspace.RunNet(name)
    softmax = workspace.FetchBlob('cpu_0/softmax')
    workspace.SwitchWorkspace('default')
    np.testing.assert_allclose(softmax, expected, rtol=1e-5, atol=1e-7)


def test_an_interrupted_save_leaves_the_previous_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / 'r2plus1d_w0.0625_1.mdl'
    with open_net() as net:
        net.save(path)
        content = path.read_bytes()

        def cut(descriptor):
            raise KeyboardInterrupt

        monkeypatch.setattr(os, 'fsync', cut)
        with pytest.raises(KeyboardInterrupt):
            net.save(path)
        assert path.read_bytes() == content
        monkeypatch.undo()
        set_iteration(net, 3)
        net.save(path)  # what was left is no obstacle
        assert checkpoints.read(path, NETWORK).iteration == 3


WRITES_CHECKPOINTS = """
import pathlib, sys
sys.path.insert(0, {tests!r})
from training_nets import open_net, set_iteration
with open_net() as net:
    for iteration in range(1, 10**6):
        set_iteration(net, iteration)
        net.save(pathlib.Path(sys.argv[1]))
        print(iteration, flush=True)
"""


def test_killed_at_any_moment_of_a_save_a_whole_checkpoint_stays(tmp_path):
    path = tmp_path / 'r2plus1d_w0.0625_1.mdl'
    code = WRITES_CHECKPOINTS.format(tests=str(ROOT / 'tests'))
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, '-c', code, str(path)], stdout=subprocess.PIPE, text=True
        )
        saved = int(process.stdout.readline())
        time.sleep(0.003 * (2 * attempt + 1))  # some of them in the middle of the next save
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert checkpoints.read(path, NETWORK).iteration >= saved


def test_a_full_disk_is_one_line_and_the_previous_checkpoint_stays(tmp_path):
    path = tmp_path / 'r2plus1d_w0.0625_1.mdl'
    with open_net() as net:
        set_iteration(net, 1)
        net.save(path)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
        try:
            with pytest.raises(InputError, match='1.mdl cannot be written .* MB free'):
                net.save(path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        assert checkpoints.read(path, NETWORK).iteration == 1


def test_a_checkpoint_of_a_deeper_network_is_refused(tmp_path):
    deeper = Network('r2d', 18, clip_length=8, num_labels=5, width=0.0625)
    shallower = dataclasses.replace(deeper, depth=16)
    path = tmp_path / 'r2d_w0.0625_1.mdl'
    with open_net(network=deeper) as net:
        net.save(path)
    with pytest.raises(InputError, match='another network: it has comp_'):
        checkpoints.read(path, shallower)
    save_pickle(tmp_path / 'x_3.mdl', {'a': np.zeros(3)})
    with pytest.raises(InputError, match='not a minidb'):
        checkpoints.read(tmp_path / 'x_3.mdl', shallower)


def test_dropout_follows_from_the_seed():
    network = Network('r2d', 10, clip_length=8, num_labels=5, width=0.0625, use_dropout=True)
    losses = []
    for seed in (1, 1, 2):
        with open_net(network=network, seed=seed) as net:
            set_parameters(net, random_parameters(network, 0))
            losses.append([net.step(DATA, LABEL, RATE)[0] for _ in range(2)])
    assert losses[0] == losses[1] != losses[2]


def test_old_names_of_the_multi_label_head_are_taken():
    network = Network('r2d', 10, clip_length=8, num_labels=5, width=0.0625, multi_label=True)
    blobs = random_parameters(network, 0)
    blobs['pred_logit_L5_w'] = blobs.pop('pred_logit_w')
    blobs['pred_logit_L5_b'] = blobs.pop('pred_logit_b')
    assert 'pred_logit_w' in fine_tune(blobs, network, source='old.pkl')


def test_fine_tuning_starts_the_last_layer_fresh(caplog):
    other = Network('r2d', 10, clip_length=8, num_labels=9, width=0.0625)
    blobs = random_parameters(other, 5)
    caplog.set_level('INFO')
    with open_net(network=SMALL) as net:
        taken = fine_tune(blobs, SMALL, source='file.pkl')
        set_parameters(net, taken)
        now = parameters_of(net)
    np.testing.assert_array_equal(now['conv1_w'], blobs['conv1_w'])
    assert now['last_out_L5_w'].shape == (5, 32)
    assert set(now) - set(taken) == {'last_out_L5_w', 'last_out_L5_b'}
    assert f'{len(taken)} blobs from file.pkl: conv1_w' in caplog.text
    assert '2 blobs fresh: last_out_L5_w, last_out_L5_b' in caplog.text
    same = fine_tune(random_parameters(SMALL, 5), SMALL, source='file.pkl')
    assert 'last_out_L5_w' in same
    del blobs['comp_0_conv_1_w']
    with pytest.raises(InputError, match='missing .1.: comp_0_conv_1_w'):
        fine_tune(blobs, SMALL, source='file.pkl')
