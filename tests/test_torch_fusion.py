"""Sums and ReLUs inside the convolutions before them: which are, and the same results."""

import numpy as np
import pytest

from r2plus1d.backends.installed import has
from r2plus1d.networks import folding
from r2plus1d.networks.folding import Plan
from r2plus1d.networks.graph import Node, Window
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network

if not has('torch'):
    pytest.skip('needs PyTorch 2', allow_module_level=True)

import torch  # noqa: E402

from r2plus1d.backends.pytorch import fusion  # noqa: E402
from r2plus1d.backends.pytorch.device import CpuDevice, cpu_has_bf16  # noqa: E402
from r2plus1d.backends.pytorch.module import PlanModule  # noqa: E402

if not fusion.is_there():
    pytest.skip('needs oneDNN in PyTorch', allow_module_level=True)

needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason='a processor without bfloat16')
POINT = Window((1, 1, 1), (1, 1, 1), (0, 0, 0))
SMALL = {'clip_length': 8, 'num_labels': 5, 'width': 0.0625}
NETWORKS = {
    'r2plus1d': Network('r2plus1d', 10, **SMALL),
    'r2plus1d-50': Network('r2plus1d', 50, **SMALL),
    'mc3': Network('mc3', 18, **SMALL),
    'ir-csn': Network('ir-csn', 50, use_pool1=True, crop_size=224, **SMALL),
    'c3d': Network('c3d', None, clip_length=16, num_labels=5, width=0.0625),
}


def conv(source, output):
    return Node('Conv', (source,), output, output, (f'{output}_w',), window=POINT)


def relu(source, output):
    return Node('Relu', (source,), output, output)


def add(*terms, output):
    return Node('Sum', terms, output, output)


def fused(*nodes, kept=('out',)):
    """The nodes as [(kind, inputs, output)], and the endings."""
    left, endings = fusion.fuse(nodes, kept)
    return [(node.kind, node.inputs, node.output) for node in left], endings


def test_a_relu_and_a_sum_go_into_the_convolution_before_them():
    nodes = [conv('data', 'a'), relu('a', 'b'), conv('b', 'c'), add('c', 'b', output='d')]
    left, endings = fused(*nodes, relu('d', 'out'))
    assert left == [('Conv', ('data',), 'b'), ('Conv', ('b', 'b'), 'out')]
    # The convolution itself reads what it adds, so the sum needs memory of its own.
    assert endings == {'b': False, 'out': False}


def test_the_sum_goes_into_memory_that_nothing_else_reads():
    nodes = [conv('data', 'a'), conv('data', 'b'), add('a', 'b', output='c'), relu('c', 'out')]
    left, endings = fused(*nodes)
    assert left == [('Conv', ('data',), 'a'), ('Conv', ('data', 'a'), 'out')]
    assert endings == {'out': True}


def test_nor_does_what_was_read_before_need_its_memory():
    """A block whose shortcut is its input."""
    nodes = [conv('data', 'a'), relu('a', 'b'), conv('b', 'c'), conv('c', 'd')]
    left, endings = fused(*nodes, add('d', 'b', output='e'), relu('e', 'out'))
    assert left[-1] == ('Conv', ('c', 'b'), 'out')
    assert endings['out'] is True


@pytest.mark.parametrize('kept', [('a', 'out'), ('b', 'out'), ('c', 'out')])
def test_what_is_asked_for_stays(kept):
    nodes = [conv('data', 'a'), conv('data', 'b'), add('a', 'b', output='c'), relu('c', 'out')]
    left, endings = fused(*nodes, kept=kept)
    assert set(kept) <= {output for *_, output in left}
    assert not any(endings.values())


@pytest.mark.parametrize(
    'nodes',
    [
        [conv('data', 'a'), relu('a', 'b'), add('a', 'b', output='out')],
        [conv('data', 'a'), add('a', 'a', output='b'), relu('b', 'out')],
        [conv('data', 'a'), conv('a', 'b'), add('a', 'data', output='c'), relu('c', 'out')],
        [relu('data', 'out')],
        [add('data', 'data', output='a'), relu('a', 'out')],
    ],
)
def test_what_others_read_stays(nodes):
    assert fused(*nodes) == ([(n.kind, n.inputs, n.output) for n in nodes], {})


def test_the_callers_clips_are_not_added_to():
    nodes = (conv('data', 'a'), add('data', 'a', output='b'), relu('b', 'out'))
    weight = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1, 1)
    plan = Plan(nodes, {}, {'a_w': folding.Tensor(weight.shape)}, {'out': (3, 2, 4, 4)})
    given = torch.ones(1, 3, 2, 4, 4)
    with torch.inference_mode():
        (found,) = PlanModule(plan, {'a_w': weight}, fused=True)(given).values()
    np.testing.assert_array_equal(found, np.full((1, 3, 2, 4, 4), 2))
    np.testing.assert_array_equal(given, np.ones((1, 3, 2, 4, 4)))


@needs_bf16
@pytest.mark.parametrize('shape', [(1, 3, 2, 4, 4), (1, 1, 2, 4, 4), (1, 4, 1, 1, 1)])
@pytest.mark.parametrize('in_place', [False, True])
def test_sums_of_any_shape_in_bf16(shape, in_place):
    rng = np.random.default_rng(0)
    data, other = (
        torch.from_numpy(rng.standard_normal(shape, np.float32))
        .bfloat16()
        .contiguous(memory_format=torch.channels_last_3d)
        for _ in range(2)
    )
    weight = torch.eye(shape[1]).reshape(shape[1], shape[1], 1, 1, 1).bfloat16()
    before, expected = other.clone(), torch.relu(data.float() + other.float())
    with torch.inference_mode():
        found = fusion.convolve_to(in_place, data, weight, None, (1, 1, 1), (0, 0, 0), 1, other)
    np.testing.assert_allclose(found.float(), expected, rtol=2**-7)
    assert in_place or torch.equal(other, before)


@pytest.mark.parametrize('as_images', [False, True])
@pytest.mark.parametrize('dtype', ['float32', pytest.param('bfloat16', marks=needs_bf16)])
@pytest.mark.parametrize('name', NETWORKS)
def test_a_network_gives_the_same(name, dtype, as_images):
    network = NETWORKS[name]
    dtype = getattr(torch, dtype)
    outputs = [network.prediction, 'final_avg' if name != 'c3d' else 'fc7']
    plan = folding.plan(network, outputs, fold_batch_norm=True)
    values = folding.initial_values(plan, random_parameters(network, 0))
    clips = np.random.default_rng(0).standard_normal((1, *network.data_shape), np.float32)
    given = torch.from_numpy(clips).contiguous(memory_format=torch.channels_last_3d)
    modules = [PlanModule(plan, values, dtype, as_images=as_images, fused=f) for f in (False, True)]
    counts = [[step.function for step in module._steps] for module in modules]
    assert len(counts[1]) < len(counts[0])
    with torch.inference_mode():
        expected, found = (module(given) for module in modules)
    allowed = 2e-2 if dtype is torch.bfloat16 else 1e-5
    for output in outputs:
        error = (found[output] - expected[output]).norm() / expected[output].norm()
        assert error < allowed, output


def test_the_engine_of_a_cpu_has_them():
    network = NETWORKS['r2plus1d']
    plan = folding.plan(network, [network.prediction], fold_batch_norm=True)
    values = folding.initial_values(plan, random_parameters(network, 0))
    device = CpuDevice(torch.device('cpu'), precision='fp32', clips=1)
    device.load(plan, values)
    assert len(device._module._steps) < len(plan.nodes)
