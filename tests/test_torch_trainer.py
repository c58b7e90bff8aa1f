"""Training in PyTorch: Caffe2's steps, Caffe2's checkpoints, and the same bits after a resume."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

import training_steps
from conftest import ROOT
from r2plus1d.backends import choose
from r2plus1d.backends.base import TrainerSettings, TrainingState
from r2plus1d.backends.choose import open_trainer
from r2plus1d.backends.installed import has
from r2plus1d.devices import Devices, Shard
from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.initial import training_parameters
from r2plus1d.networks.network import Network
from r2plus1d.networks.stages import layer_rates
from r2plus1d.training import checkpoints

NETWORK = Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.0625)
DATA = np.random.default_rng(1).standard_normal((4, *NETWORK.data_shape)).astype(np.float32)
LABEL = np.array([0, 1, 2, 3], np.int32)
RATE = 0.01
needs_torch = pytest.mark.skipif(not has('torch'), reason='needs PyTorch 2')
needs_caffe2 = pytest.mark.skipif(not has('caffe2'), reason='needs Caffe2')
trainers = pytest.mark.parametrize(
    'trainer',
    [pytest.param('torch', marks=needs_torch), pytest.param('caffe2', marks=needs_caffe2)],
)


def open_net(network=NETWORK, *, trainer='torch', replicas=1, **settings):
    devices = Devices('cpu', tuple(range(replicas)))
    return open_trainer(network, devices=devices, settings=TrainerSettings(trainer, **settings))


def relative(a, b):
    return np.linalg.norm(a.astype(float) - b) / np.linalg.norm(b)


def assert_same(one, other):
    assert one.iteration == other.iteration
    for ours, theirs in ((one.parameters, other.parameters), (one.momenta, other.momenta)):
        assert list(ours) == list(theirs)
        for name, array in ours.items():
            np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@trainers
@pytest.mark.parametrize('name', training_steps.NETWORKS)
def test_five_steps_across_a_change_of_the_rate_are_caffe2s(name, trainer):
    network, expected = training_steps.NETWORKS[name], training_steps.read(name)
    begin = training_steps.first_parameters(network)
    with open_net(network, trainer=trainer) as net:
        found = training_steps.train(net, network)
    assert set(found) == set(expected)
    np.testing.assert_allclose(found['losses'], expected['losses'], rtol=1e-4)
    for blob in (*begin, 'losses'):
        assert relative(found[blob], expected[blob]) < 2e-4, blob
    for end in ('_w', '_s', '_b'):  # the gradients of some single blobs are sums that cancel out
        blobs = [blob for blob in graph.trace(network).trained if blob.endswith(end)]

        def joined(arrays, suffix='', blobs=blobs):
            return np.concatenate([arrays[blob + suffix] for blob in blobs])

        start = joined({blob: training_steps.part(begin[blob]) for blob in blobs})
        assert relative(joined(found, '_momentum'), joined(expected, '_momentum')) < 2e-4, end
        assert relative(joined(found) - start, joined(expected) - start) < 2e-3, end


@pytest.fixture
def one_thread():
    """With several, a network of this size gives other bits when clips are shared otherwise."""
    if not has('torch'):
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@trainers
def test_replicas_average_their_gradients(trainer, one_thread):
    with open_net(trainer=trainer) as one, open_net(trainer=trainer, replicas=2) as two:
        begin, moved = one.state(), []
        two.restore(begin)
        for half in (slice(0, 2), slice(2, 4)):
            one.restore(begin)
            one.step(DATA[half], LABEL[half], RATE)
            moved.append(one.state().parameters)
        two.step(DATA, LABEL, RATE)
        end = two.state()
    for name in begin.momenta:
        assert relative(end.parameters[name], (moved[0][name] + moved[1][name]) / 2) < 1e-5, name
    statistics = set(begin.parameters) - set(begin.momenta)
    for name in statistics:  # the first one's
        np.testing.assert_allclose(end.parameters[name], moved[0][name], rtol=1e-5, atol=1e-7)


@needs_torch
def test_parts_are_one_batch_that_takes_less_memory(one_thread):
    with open_net(parts=2) as parts, open_net(replicas=2) as replicas:
        replicas.restore(parts.state())
        assert parts.step(DATA, LABEL, RATE) == replicas.step(DATA, LABEL, RATE)
        one, other = parts.state(), replicas.state()
        for name in one.momenta:
            np.testing.assert_array_equal(one.parameters[name], other.parameters[name])
        with pytest.raises(InputError, match='a batch of 3 clips is not divided by 2 parts'):
            parts.step(DATA[:3], LABEL[:3], RATE)


@needs_torch
@pytest.mark.parametrize('multi_label', [False, True])
def test_a_resume_gives_the_same_bits_with_dropout_too(tmp_path, multi_label):
    network = dataclasses.replace(NETWORK, use_dropout=True, multi_label=multi_label)
    label = np.eye(4, 5, dtype=np.int32) if multi_label else LABEL
    path = tmp_path / 'x_1.mdl'
    with open_net(network, seed=3) as net:
        for _ in range(2):
            net.step(DATA, label, RATE)
        net.save(path)
        losses = [net.step(DATA, label, RATE)[0] for _ in range(2)]
        end = net.state()
    with open_net(network, seed=3) as net:
        net.restore(checkpoints.read(path, network))
        assert [net.step(DATA, label, RATE)[0] for _ in range(2)] == losses
        assert_same(net.state(), end)


@needs_torch
def test_stages_have_their_own_rates_and_a_resume_gives_the_same_bits(tmp_path):
    rates = layer_rates(NETWORK, 'stem..res3=0.1,head=10')
    path = tmp_path / 'x_1.mdl'
    with open_net() as plain, open_net(layer_rates=rates) as net:
        begin = net.state()
        plain.restore(begin)
        for each in (plain, net):
            each.step(DATA, LABEL, RATE)
        usual, moved = plain.state(), net.state()
        for name, momentum in usual.momenta.items():
            expected = rates.get(name, 1.0) * momentum
            np.testing.assert_allclose(moved.momenta[name], expected, rtol=1e-6, err_msg=name)
            if name not in rates:
                np.testing.assert_array_equal(moved.parameters[name], usual.parameters[name])
        net.save(path)
        net.step(DATA, LABEL, RATE)
        end = net.state()
    with open_net(layer_rates=rates) as net:
        net.restore(checkpoints.read(path, NETWORK))
        net.step(DATA, LABEL, RATE)
        assert_same(net.state(), end)


@needs_torch
def test_dropout_masks_follow_from_the_seed_and_the_iteration():
    network = dataclasses.replace(NETWORK, use_dropout=True)
    losses = {}
    for seed, iteration in ((1, 0), (1, 1), (2, 0)):
        with open_net(network, seed=seed) as net:
            zero = net.state().momenta
            net.restore(TrainingState(training_parameters(network, 0), zero, iteration))
            losses[seed, iteration] = net.step(DATA, LABEL, RATE)[0]
    assert len(set(losses.values())) == 3


@needs_torch
def test_the_seed_decides_the_initial_values():
    with open_net(seed=1) as a, open_net(seed=1) as b, open_net(seed=2) as c:
        assert_same(a.state(), b.state())
        ours, other = a.state().parameters, c.state().parameters
    assert not np.array_equal(ours['comp_0_conv_1_w'], other['comp_0_conv_1_w'])


@needs_caffe2
def test_initial_values_spread_as_caffe2s():
    network = Network('r2plus1d', 18, clip_length=8, num_labels=50, width=0.25)
    with open_net(network, trainer='caffe2') as net:
        theirs = net.state().parameters
    ours = training_parameters(network, 0)
    for name, array in ours.items():
        assert array.std() == pytest.approx(theirs[name].std(), rel=0.15), name
        assert np.abs(array).max() == pytest.approx(np.abs(theirs[name]).max(), rel=0.5), name


def other_python():
    """The interpreter of the other environment, where the checkout has it."""
    name = '.venv' if has('torch') else '.venv-modern'
    path = ROOT / name / 'bin' / 'python'
    if not path.is_file():
        pytest.skip(f'no {path}: it has the other framework')
    return path


CONTINUE = """
import pathlib, sys
from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import open_trainer
from r2plus1d.devices import Devices
from r2plus1d.networks.network import Network
from r2plus1d.training import checkpoints
import numpy as np
network = Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.0625)
batch = np.load(sys.argv[1])
with open_trainer(network, devices=Devices(), settings=TrainerSettings()) as net:
    net.restore(checkpoints.read(sys.argv[2], network))
    net.step(batch['data'], batch['label'], 0.001)
    net.save(pathlib.Path(sys.argv[3]))
"""


def test_a_run_of_one_framework_continues_in_the_other(tmp_path):
    python = other_python()
    np.savez(tmp_path / 'batch.npz', data=DATA, label=LABEL)
    with open_net(trainer='auto') as net:
        net.restore(TrainingState(training_steps.first_parameters(NETWORK), net.state().momenta, 0))
        net.step(DATA, LABEL, 0.01)
        net.save(tmp_path / 'a_1.mdl')
        net.step(DATA, LABEL, 0.001)
        expected = net.state()
    done = subprocess.run(
        [str(python), '-c', CONTINUE, 'batch.npz', 'a_1.mdl', 'a_2.mdl'], cwd=tmp_path,
        env={'PYTHONPATH': str(ROOT / 'lib')}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = checkpoints.read(tmp_path / 'a_2.mdl', NETWORK)
    assert found.iteration == 2
    for name, array in expected.parameters.items():
        assert relative(found.parameters[name], array) < 2e-4, name
    weights = [name for name in expected.momenta if name.endswith('_w')]
    ours, theirs = (
        np.concatenate([momenta[n].ravel() for n in weights])
        for momenta in (expected.momenta, found.momenta)
    )
    assert relative(theirs, ours) < 2e-4


@needs_torch
def test_what_a_checkpoint_holds(tmp_path):
    with open_net() as net:
        net.step(DATA, LABEL, RATE)
        net.save(tmp_path / 'x_1.mdl')
        assert_same(checkpoints.read(tmp_path / 'x_1.mdl', NETWORK), net.state())
    assert [path.name for path in tmp_path.iterdir()] == ['x_1.mdl']


@needs_torch
def test_a_checkpoint_that_cannot_be_written_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    with open_net() as net:
        monkeypatch.setattr('os.fsync', full)
        with pytest.raises(InputError, match=r'x_1.mdl cannot be written \(\d+ MB free\)'):
            net.save(tmp_path / 'x_1.mdl')
    assert not list(tmp_path.iterdir())


@needs_torch
@pytest.mark.usefixtures('torch_bf16')
def test_bf16_keeps_float32_parameters():
    with open_net() as wide, open_net(precision='bf16') as narrow:
        losses = [net.step(DATA, LABEL, RATE)[0] for net in (wide, narrow)]
        assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.02)
        assert {array.dtype for array in narrow.state().parameters.values()} == {np.dtype('f4')}


@needs_torch
@pytest.mark.parametrize('name', ['r2plus1d', 'mc3'])
def test_a_compiled_network_trains_as_the_other(monkeypatch, name):
    """Here its graph is taken and differentiated by the compiler, and run by the usual kernels."""
    import torch

    from r2plus1d.backends.pytorch import trainer

    calls, real = [], torch.compile

    def compile_without_a_gpu(module):
        calls.append(module)
        return real(module, backend='aot_eager', fullgraph=True)

    monkeypatch.setattr(trainer, '_require', lambda devices, settings: None)
    monkeypatch.setattr(torch, 'compile', compile_without_a_gpu)
    network = training_steps.NETWORKS[name]
    with open_net(network) as plain, open_net(network, compiles=True) as compiled:
        expected = training_steps.train(plain, network)
        found = training_steps.train(compiled, network)
    assert len(calls) == 1
    for blob, array in expected.items():
        np.testing.assert_allclose(found[blob], array, rtol=1e-4, atol=1e-6, err_msg=blob)


@needs_torch
def test_where_the_time_goes_and_the_norm_of_the_gradient():
    with open_net() as net:
        assert np.isnan(net.gradient_norm)
        begin = net.state()
        net.step(DATA, LABEL, RATE)
        gradients = [array / RATE for array in net.state().momenta.values()]
        assert set(net.seconds) == {'forward', 'backward', 'update'}
        assert all(seconds > 0 for seconds in net.seconds.values())
        norm, decay = net.gradient_norm, TrainerSettings().weight_decay
        plain = [
            g - decay * begin.parameters[n] * (not n.endswith('_b'))
            for n, g in zip(begin.momenta, gradients)
        ]
        assert norm == pytest.approx(np.sqrt(sum((g**2).sum() for g in plain)), rel=1e-4)
        milliseconds, operators, _ = zip(*net.profile())
    assert list(milliseconds) == sorted(milliseconds, reverse=True)
    assert 'aten::convolution_backward' in operators


@needs_torch
@pytest.mark.parametrize('kernel', [(1, 3, 3), (3, 1, 1), (1, 1, 1), (3, 3, 3), (1, 7, 7)])
@pytest.mark.parametrize('stride', [(1, 1, 1), (1, 2, 2), (2, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize('group', [1, 4])
def test_the_2d_form_of_a_convolution_is_the_3d_one(kernel, stride, group):
    import torch

    from r2plus1d.backends.pytorch.convolution import convolve

    torch.manual_seed(0)
    pad = tuple(size // 2 for size in kernel)
    data = torch.randn(2, 4, 5, 9, 8).contiguous(memory_format=torch.channels_last_3d)
    data.requires_grad_()
    weight, bias = torch.randn(4, 4 // group, *kernel, requires_grad=True), torch.randn(4)
    found = convolve(data, weight, bias, stride, pad, group)
    exact = torch.nn.functional.conv3d(
        data.double(), weight.double(), bias.double(), stride, pad, groups=group
    )
    assert found.shape == exact.shape
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    ours = torch.autograd.grad(found.square().sum(), (data, weight))
    theirs = torch.autograd.grad(exact.square().sum(), (data, weight))
    for one, other in zip(ours, theirs):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-3)


@needs_torch
@pytest.mark.usefixtures('torch_bf16')
@pytest.mark.parametrize('frames', [1, 2, 3, 4])
@pytest.mark.parametrize('kernel', [(3, 3, 3), (3, 1, 1), (3, 7, 7), (1, 3, 3), (1, 1, 1)])
@pytest.mark.parametrize('stride', [(1, 1, 1), (1, 2, 2), (2, 2, 2)])
@pytest.mark.parametrize('group', [1, 32])
def test_gradients_in_bf16_are_near_those_of_fp32(frames, kernel, stride, group):
    """Whatever lies in the memory that they are written to."""
    import torch

    from r2plus1d.backends.pytorch.convolution import convolve

    torch.manual_seed(0)
    pad = tuple(size // 2 for size in kernel)
    data = torch.randn(2, 32, frames, 8, 8).contiguous(memory_format=torch.channels_last_3d)
    weight = torch.randn(32, 32 // group, *kernel)
    found, exact = [], []
    for dtype, gradients in ((torch.bfloat16, found), (torch.float64, exact)):
        given = [tensor.to(dtype).requires_grad_() for tensor in (data, weight)]
        for number in (1000, 10_000, 40_000, 300_000):
            torch.full((number,), torch.nan)  # freed at once, for others
        result = convolve(*given, None, stride, pad, group)
        along = torch.linspace(-1, 1, result.numel(), dtype=torch.float64).view_as(result)
        gradients += torch.autograd.grad(result, given, along.to(dtype))
    for one, other in zip(found, exact):
        assert (one.double() - other).abs().max() < 0.03 * other.abs().max()


@needs_torch
@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'precision': 'fp16'}, 'the precision of training is fp16; the trainer torch has fp32'),
        ({'precision': 'tf32'}, 'precision is tf32, which the CPU lacks; it has fp32'),
        ({'sync_bn': True}, 'sync_bn is for several processes; this is one'),
        ({'compiles': True}, 'compile is for GPUs; on a CPU it makes training no faster'),
        ({'sync_bn': True, 'parts': 2, 'shard': Shard(0, 2)}, 'sync_bn does not go with'),
    ],
)
def test_what_pytorch_on_a_cpu_does_not_do_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        open_net(**settings)


@needs_torch
def test_compiling_needs_triton(monkeypatch):
    from r2plus1d.backends.pytorch import trainer

    monkeypatch.setattr(trainer, 'find_spec', lambda name: None)
    settings = TrainerSettings('torch', weight_decay=0, compiles=True)
    with pytest.raises(InputError, match='compile needs Triton, which is not installed'):
        trainer._require(Devices('gpu'), settings)


@needs_torch
def test_compiling_needs_a_compiler_and_headers(monkeypatch, tmp_path):
    from r2plus1d.backends.pytorch import trainer

    monkeypatch.setattr(trainer, 'find_spec', lambda name: 'there')
    monkeypatch.setattr(trainer.shutil, 'which', lambda name: None)
    monkeypatch.delenv('CC', raising=False)
    with pytest.raises(InputError, match='a C compiler, and there is no gcc or clang'):
        trainer._require_compiler()
    monkeypatch.setenv('CC', 'gone')
    with pytest.raises(InputError, match='a C compiler, and there is no gone'):
        trainer._require_compiler()
    monkeypatch.setattr(trainer.shutil, 'which', lambda name: name)
    monkeypatch.setattr(trainer.sysconfig, 'get_path', lambda name, scheme: str(tmp_path))
    with pytest.raises(InputError, match=r'compile needs .*Python\.h: install the headers'):
        trainer._require_compiler()
    (tmp_path / 'Python.h').touch()
    trainer._require_compiler()


@needs_torch
def test_compiling_does_not_go_with_batch_norm_over_processes(monkeypatch):
    from r2plus1d.backends.pytorch import trainer

    monkeypatch.setattr(trainer, '_require_compiler', lambda: None)
    monkeypatch.setattr(trainer.device, 'require', lambda devices, precision: None)
    settings = TrainerSettings('torch', compiles=True, sync_bn=True, shard=Shard(0, 2))
    with pytest.raises(InputError, match='sync_bn does not go with compile'):
        trainer._require(Devices('gpu'), settings)


@needs_torch
def test_a_gpu_gives_back_what_is_unused_before_a_test(monkeypatch):
    import torch

    emptied = []
    monkeypatch.setattr(torch.cuda, 'empty_cache', lambda: emptied.append(1))
    with open_net() as net:
        net.state()
        assert not emptied
        net._device = torch.device('cuda', 0)
        net.state()
    assert emptied == [1]


@needs_caffe2
@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'precision': 'bf16'}, 'training is bf16; the trainer caffe2 has fp32 only'),
        ({'parts': 2}, 'accumulate is for the trainer torch; this one is caffe2'),
        ({'sync_bn': True}, 'sync_bn is for the trainer torch'),
        ({'compiles': True}, 'compile is for the trainer torch'),
        ({'frozen': ('conv1_w',)}, 'freeze is for the trainer torch'),
        ({'layer_rates': {'conv1_w': 0.5}}, 'layer_rates is for the trainer torch'),
    ],
)
def test_what_caffe2_does_not_do_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        open_net(trainer='caffe2', **settings)


@needs_torch
@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'use_cudnn': False}, 'use_cudnn is for the trainer caffe2'),
        ({'cudnn_workspace_limit_mb': 1}, 'cudnn_workspace_limit_mb is for the trainer caffe2'),
    ],
)
def test_what_torch_does_not_read_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        open_net(trainer='torch', **settings)


@pytest.mark.parametrize(
    ('there', 'expected'),
    [(('caffe2', 'torch'), 'torch'), (('caffe2',), 'caffe2'), ((), 'caffe2')],
)
def test_auto_is_pytorch_where_it_is_there(monkeypatch, there, expected):
    monkeypatch.setattr(choose, 'has', lambda name: name in there)
    assert choose.chosen_trainer('auto') == expected
    assert choose.chosen_trainer('caffe2') == 'caffe2'


def test_a_trainer_that_is_not_installed_is_one_line(monkeypatch):
    monkeypatch.setattr(choose, 'has', lambda name: False)
    with pytest.raises(InputError, match='trainer is torch, which is not installed here: PyTorch'):
        choose.find_trainer('torch')


SYNCHRONIZED = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import numpy as np
import training_steps
from r2plus1d.backends.base import TrainerSettings, TrainingState
from r2plus1d.backends.choose import open_trainer
from r2plus1d.devices import Devices, Shard
index, network = int(sys.argv[1]), training_steps.NETWORKS['r2plus1d']
settings = TrainerSettings(shard=Shard(index, 2), sync_bn=True)
with open_trainer(network, devices=Devices(), settings=settings) as net:
    begin = training_steps.first_parameters(network)
    net.restore(TrainingState(begin, net.state().momenta, 0))
    data, label, rate = next(training_steps.batches(network))
    net.step(data[2 * index : 2 * index + 2], label[2 * index : 2 * index + 2], rate)
    np.savez(f'{{index}}.npz', **net.state().parameters)
"""


@needs_torch
def test_two_processes_with_one_batch_norm_are_one_process_with_the_whole_batch(tmp_path):
    network = training_steps.NETWORKS['r2plus1d']
    code = SYNCHRONIZED.format(tests=str(ROOT / 'tests'))
    local = {**os.environ, 'GLOO_SOCKET_IFNAME': 'lo'}
    both = [
        subprocess.Popen([sys.executable, '-c', code, str(i)], cwd=tmp_path, env=local)
        for i in range(2)
    ]
    assert [process.wait(300) for process in both] == [0, 0]
    begin = training_steps.first_parameters(network)
    with open_net(network) as net:
        net.restore(TrainingState(begin, net.state().momenta, 0))
        net.step(*next(training_steps.batches(network)))
        expected = net.state().parameters
    for index in range(2):
        with np.load(tmp_path / f'{index}.npz') as found:
            for name, array in expected.items():
                assert relative(found[name], array) < 2e-5, name
                assert name.endswith('_b') or not np.array_equal(array, begin[name]), name
