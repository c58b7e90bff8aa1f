"""Channels filled up with zeros, and factored convolutions as images: the same numbers."""

import numpy as np
import pytest

from r2plus1d.backends.pytorch import engine as torch_engine
from r2plus1d.errors import InputError
from r2plus1d.networks import folding, graph
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network

try:
    torch_engine.require()
except InputError as lacking:
    pytest.skip(str(lacking), allow_module_level=True)

import torch

from onnx_models import distance
from r2plus1d.backends.pytorch import padding
from r2plus1d.backends.pytorch.module import PlanModule

SMALL = {'clip_length': 8, 'num_labels': 7, 'width': 0.125}
R2PLUS1D = Network('r2plus1d', 10, **SMALL)
GROUPED = Network('ir-csn', 50, **SMALL)
NETWORKS = [
    R2PLUS1D,
    Network('r2plus1d', 50, **SMALL),
    Network('r3d', 10, **SMALL, multi_label=True),
    Network('r3d', 10, **SMALL, use_convolutional_pred=True),
    Network('c3d', clip_length=16, num_labels=7, width=0.125),
    GROUPED,
]


def parameters_of(network):
    rng = np.random.default_rng(0)
    parameters = random_parameters(network, 0)
    for name, values in parameters.items():
        if name.endswith(('_s', '_riv', '_rm', '_b')):
            values += rng.uniform(-0.4, 0.4, values.shape).astype(np.float32)
    return parameters


def run(network, outputs, *, fold=True, **form):
    plan = folding.plan(network, outputs, fold_batch_norm=fold)
    values = folding.initial_values(plan, parameters_of(network))
    clips = np.random.default_rng(1).standard_normal((1, *network.data_shape), np.float32)
    with torch.inference_mode():
        found = PlanModule(plan, values, **form)(torch.from_numpy(clips))
    return {name: value.numpy() for name, value in found.items()}, plan


def blobs_of(network):
    """Every fourth blob, and the last ones."""
    names = list(dict.fromkeys(node.blob for node in graph.trace(network).nodes))
    return sorted({*names[::4], *names[-3:]})


@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
@pytest.mark.parametrize(
    ('form', 'allowed'),
    [({'channels': 8}, 1e-6), ({'as_images': True}, 1e-5)],
    ids=['padded', 'images'],
)
def test_outputs_are_the_same(network, form, allowed):
    outputs = blobs_of(network)
    expected, plan = run(network, outputs)
    found, _ = run(network, outputs, **form)
    for name in outputs:
        assert found[name].shape == (1, *plan.outputs[name]), name
        assert distance(found[name], expected[name]) < allowed, name


def test_batch_norms_that_are_not_folded():
    outputs = blobs_of(R2PLUS1D)
    expected, _ = run(R2PLUS1D, outputs, fold=False)
    found, _ = run(R2PLUS1D, outputs, fold=False, channels=8)
    for name in outputs:
        assert np.isfinite(found[name]).all()
        assert distance(found[name], expected[name]) < 1e-6, name


def padded_of(network, channels=8):
    plan = folding.plan(network, ['softmax'], fold_batch_norm=True)
    values = folding.initial_values(plan, parameters_of(network))
    widths = padding.find_widths(plan, channels)
    return plan, values, padding.pad_values(plan, values, widths)


def test_every_convolution_gets_channels_by_eights():
    plan, values, padded = padded_of(R2PLUS1D)
    changed = 0
    for node in plan.nodes:
        if node.kind != 'Conv':
            continue
        weight, bias = (padded[name] for name in node.parameters)
        assert weight.shape[0] % 8 == 0 == bias.shape[0] % 8
        assert weight.shape[1] % 8 == 0 or node.inputs == ('data',)
        true = values[node.parameters[0]].shape
        np.testing.assert_array_equal(weight[: true[0], : true[1]], values[node.parameters[0]])
        assert not weight[true[0] :].any()
        assert not weight[:, true[1] :].any()
        assert not bias[true[0] :].any()
        changed += weight.shape != true
    assert changed >= 8


def test_groups_and_a_multiple_of_1_change_nothing():
    for network, channels in ((GROUPED, 8), (R2PLUS1D, 1)):
        _, values, padded = padded_of(network, channels)
        for name, array in values.items():
            assert padded[name] is array
