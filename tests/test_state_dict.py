"""PyTorch's names of parameters and Caffe2's, there and back."""

import json
import re

import numpy as np
import pytest

from onnx_models import parameters_of
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.backends.installed import has
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES
from r2plus1d.weights import torch_file
from r2plus1d.weights.state_dict import (
    COUNTER,
    epsilon_of,
    from_state_dict,
    is_state_dict,
    names_of,
    to_state_dict,
)
from torch_entries import GOLDEN_NAMES, assert_same, entries_of, golden_entries, golden_outputs

NETWORKS = [
    *(Network(name, 10, num_labels=5, width=0.0625) for name in ARCHITECTURES if 'csn' not in name),
    Network('r2plus1d', 34, num_labels=7, width=0.0625),
    Network('c3d', num_labels=5, width=0.0625),
    Network('mc3', 18, num_labels=4, width=0.0625, multi_label=True),
    Network('r3d', 18, num_labels=4, width=0.0625, pred_layer_name='mine'),
]
SMALL = Network('r2plus1d', 10, num_labels=5, width=0.125)


@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
def test_there_and_back(network):
    parameters = parameters_of(network)
    entries = to_state_dict(network, parameters)
    assert is_state_dict(entries)
    found = from_state_dict(entries, source='x', last=network.pred_layer_name)
    assert_same(found, parameters)
    assert_same(to_state_dict(network, found), entries)


@pytest.mark.parametrize('name', GOLDEN_NAMES)
def test_entries_are_those_of_torchvision_in_their_order(golden, name):
    entries = golden_entries(golden, name)
    blobs = from_state_dict(entries, source=name)
    architecture = {'r2plus1d_18': 'r2plus1d-torchvision'}.get(name, name[:3])
    network = Network(architecture, 18, num_labels=400)
    back = to_state_dict(network, blobs)
    assert list(back) == list(entries)
    left = {entry: array for entry, array in back.items() if not entry.endswith(COUNTER)}
    assert_same(left, {entry: entries[entry] for entry in left})


@pytest.fixture(scope='module', params=GOLDEN_NAMES)
def torchvisions(golden, tmp_path_factory, request):
    """(Model of a file of torchvision, clips, what torchvision gives for them)."""
    path = tmp_path_factory.mktemp(request.param) / 'x.pth'
    torch_file.write(path, golden_entries(golden, request.param))
    model = Model.load(path, length=16)
    path.unlink()
    return model, *golden_outputs(golden, request.param)


@pytest.mark.parametrize('engine', ['caffe2', 'openvino', 'torch'])
def test_every_engine_gives_what_torchvision_gives(torchvisions, engine):
    if not has(engine):
        pytest.skip(f'needs the engine {engine}')
    model, clips, expected = torchvisions
    assert model.network.bn_epsilon == 1e-5
    outputs = (model.network.logits, 'final_avg')
    settings = EngineSettings(engine)
    with open_engine(
        model.network, devices=Devices(), outputs=outputs, settings=settings
    ) as opened:
        opened.load(model.parameters)
        found = opened.run(clips)
    for blob, key in zip(outputs, ('logits', 'feature')):
        rows = found[blob].reshape(expected[key].shape)
        assert abs(rows - expected[key]).max() <= 1e-5 * abs(expected[key]).max(), blob


@pytest.mark.parametrize(
    ('entry', 'blob'),
    [
        ('stem.0.weight', 'conv1_middle_w'),
        ('stem.1.running_var', 'conv1_middle_spatbn_relu_riv'),
        ('stem.3.weight', 'conv1_w'),
        ('layer1.0.conv2.0.0.weight', 'comp_0_conv_2_middle_w'),
        ('layer2.0.conv1.0.1.bias', 'comp_1_spatbn_1_middle_b'),
        ('layer2.0.conv1.0.3.weight', 'comp_1_conv_1_w'),
        ('layer4.0.conv2.1.running_mean', 'comp_3_spatbn_2_rm'),
        ('layer3.0.downsample.0.weight', 'shortcut_projection_2_w'),
        ('layer3.0.downsample.1.weight', 'shortcut_projection_2_spatbn_s'),
        ('fc.weight', 'last_out_L5_w'),
    ],
)
def test_names(entry, blob):
    assert names_of(SMALL)[entry] == blob


# A layer of a block in torchvision's words -> in mmaction2's
MMACTION = {
    'ir': {'conv2.0': 'conv2.0.conv', 'conv2.1': 'conv2.0.bn'},
    'ip': {
        'conv2.0.0': 'conv2.0.conv',
        'conv2.0.1': 'conv2.0.bn',
        'conv2.0.2': 'conv2.1.conv',
        'conv2.1': 'conv2.1.bn',
    },
}
OUTER = {
    'conv1.0': 'conv1.conv',
    'conv1.1': 'conv1.bn',
    'conv3.0': 'conv3.conv',
    'conv3.1': 'conv3.bn',
}


def bottleneck_entries(kind):
    """({entry: array} of torchvision's names, the blobs' names) of a first block, `ir` or `ip`."""
    depthwise = np.zeros((4, 1, 3, 3, 3), np.float32)
    point, norm = np.zeros((4, 4, 1, 1, 1), np.float32), np.zeros(4, np.float32)
    norms = ('weight', 'bias', 'running_mean', 'running_var', COUNTER)
    block = 'layer1.0'
    layers = {'conv1.0': point, 'conv1.1': norm}
    if kind == 'ip':
        layers.update({'conv2.0.0': point, 'conv2.0.1': norm, 'conv2.0.2': depthwise})
        blobs = ['conv_1', 'spatbn_1', 'conv_2_middle', 'spatbn_2_middle', 'conv_2', 'spatbn_2',
                 'conv_3', 'spatbn_3']  # fmt: skip
    else:
        layers['conv2.0'] = depthwise
        blobs = ['conv_1', 'spatbn_1', 'conv_3', 'spatbn_3', 'conv_4', 'spatbn_4']
    layers.update({'conv2.1': norm, 'conv3.0': point, 'conv3.1': norm})
    entries = {}
    for layer, array in layers.items():
        for part in norms if array is norm else ('weight',):
            entries[f'{block}.{layer}.{part}'] = array
    return entries, {f'comp_0_{blob}' for blob in blobs}


@pytest.mark.parametrize('kind', ['ir', 'ip'])
@pytest.mark.parametrize('mmaction', [False, True])
def test_bottlenecks_of_both_dialects(kind, mmaction):
    entries, layers = bottleneck_entries(kind)
    if mmaction:
        names = {**OUTER, **MMACTION[kind]}
        parts = [(entry.removeprefix('layer1.0.').rpartition('.'), entry) for entry in entries]
        entries = {
            f'backbone.layer1.0.{names[layer]}.{part}': entries[entry]
            for (layer, _, part), entry in parts
        }
    blobs = from_state_dict(entries, source='x')
    assert {name.rpartition('_')[0] for name in blobs} == layers
    depthwise = 'comp_0_conv_3_w' if kind == 'ir' else 'comp_0_conv_2_w'
    assert blobs[depthwise].shape == (4, 1, 3, 3, 3)


@pytest.mark.parametrize('name', ['ircsn_d50_l8_c224_pool1', 'ipcsn_d50_l8_c224_pool1'])
def test_bottleneck_names_are_those_of_the_golden_graph(golden, name):
    params = json.loads((golden / 'nets_later' / f'{name}.json').read_text())['params']
    _, layers = bottleneck_entries(name[:2])
    in_first_block = {p.rpartition('_')[0] for p in params if p.startswith('comp_0_')}
    assert layers == in_first_block


@pytest.mark.parametrize(
    ('entry', 'named'),
    [
        ('layer5.0.conv1.0.weight', 'layer5.0.conv1.0.weight'),
        ('layer1.0.conv1.0.7.weight', 'layer1.0.conv1.0.7.weight'),
        ('layer1.0.conv1.1.gamma', 'layer1.0.conv1.1.gamma'),
        ('head.weight', 'head.weight'),
    ],
)
def test_entries_that_no_network_has_are_refused(entry, named):
    entries = {**entries_of(SMALL), entry: np.zeros(3, np.float32)}
    with pytest.raises(InputError, match=f'^x.pth: {re.escape(named)}: no entries'):
        from_state_dict(entries, source='x.pth')


def test_two_entries_for_one_blob_are_refused():
    entries = entries_of(SMALL)
    entries['layer1.0.conv1.0.2.weight'] = entries['layer1.0.conv1.0.3.weight']
    with pytest.raises(InputError, match='no entries of a network'):
        from_state_dict(entries, source='x')


@pytest.mark.parametrize('name', ['fc.weight', 'cls_head.fc_cls.weight'])
def test_a_last_layer_that_is_one_number_is_refused(name):
    entries = {n: array for n, array in entries_of(SMALL).items() if not n.startswith('fc.')}
    entries |= {name: np.array(1.0), name.replace('weight', 'bias'): np.zeros(5, np.float32)}
    with pytest.raises(
        InputError, match='^x.pth: the last layer, fc, has one number as its weight'
    ):
        from_state_dict(entries, source='x.pth')


def test_the_ends_of_a_network_in_mmaction2():
    stem, norm = np.zeros((4, 3, 3, 7, 7), np.float32), np.zeros(4, np.float32)
    entries = {
        'backbone.conv1.conv.weight': stem,
        **{
            f'backbone.conv1.bn.{p}': norm
            for p in ('weight', 'bias', 'running_mean', 'running_var')
        },
        'backbone.layer1.0.downsample.conv.weight': stem,
        'cls_head.fc_cls.weight': np.zeros((7, 4), np.float32),
        'cls_head.fc_cls.bias': np.zeros(7, np.float32),
    }
    assert list(from_state_dict(entries, source='x')) == [
        'conv1_w', 'conv1_spatbn_relu_s', 'conv1_spatbn_relu_b', 'conv1_spatbn_relu_rm',
        'conv1_spatbn_relu_riv', 'shortcut_projection_0_w', 'last_out_L7_w', 'last_out_L7_b',
    ]  # fmt: skip


def test_the_epsilon_that_is_taken():
    assert epsilon_of({'architecture': 'r2plus1d'}) == 1e-3
    assert epsilon_of({'architecture': 'r2plus1d-torchvision'}) == 1e-5
    assert epsilon_of({'architecture': 'r3d'}) == 1e-5
    assert not is_state_dict({'conv1_w', 'comp_0_conv_1_w'})
