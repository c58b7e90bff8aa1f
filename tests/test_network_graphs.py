"""The networks in Caffe2: graphs against the original's, and the training form."""

import numpy as np
import pytest

import golden_networks
from r2plus1d.networks import cost
from r2plus1d.networks.network import Network

pytest.importorskip('caffe2.python', reason='needs Caffe2')

from caffe2.python import utils, workspace  # noqa: E402

from r2plus1d.backends.caffe2 import layers  # noqa: E402
from r2plus1d.backends.caffe2.layers import build  # noqa: E402
from r2plus1d.backends.caffe2.schema import EXECUTION_ARGUMENTS, schema  # noqa: E402

FEATURES = 512  # filters of res5


def comparable(ops):
    """Operators without how they are executed, and without the scaled loss's name.

    That name counts the nets that were made before it.
    """
    for op in ops:
        args = {name: v for name, v in op['args'].items() if name not in EXECUTION_ARGUMENTS}
        outputs = None if op['type'] == 'Scale' else op['outputs']
        yield {'type': op['type'], 'inputs': op['inputs'], 'outputs': outputs, 'args': args}


@pytest.fixture
def caffe2_workspace():
    previous = workspace.CurrentWorkspace()
    workspace.SwitchWorkspace('test_network_graphs', True)
    yield workspace
    workspace.ResetWorkspace()
    workspace.SwitchWorkspace(previous)


def run(network, parameters, data, label, *, training=False):
    """Run the network once in the current workspace."""
    model = layers.new_model(network.name)
    build(model, network, training=training)
    for op in model.net.Proto().op:
        if op.type == 'Conv':  # one scratch buffer for all, or depth 34 takes gigabytes
            op.arg.extend([utils.MakeArgument('shared_buffer', 1)])
    for name, array in {**parameters, 'data': data, 'label': label}.items():
        workspace.FeedBlob(name, array)
    workspace.RunNetOnce(model.net)


def random_parameters(network):
    rng = np.random.default_rng(0)
    shapes = cost.parameter_shapes(network)
    parameters = {k: 0.1 * rng.standard_normal(shape, np.float32) for k, shape in shapes.items()}
    variances = [name for name in shapes if name.endswith('_riv')]
    return {**parameters, **{name: 0.5 + abs(parameters[name]) for name in variances}}


@pytest.mark.parametrize('name', [*golden_networks.NAMES, *golden_networks.LATER])
def test_graph_equals_golden(golden, name):
    expected = golden_networks.schema_of(golden, name)
    found = schema(golden_networks.network_of(expected))
    assert list(comparable(found['ops'])) == list(comparable(expected['ops']))
    assert list(found['params'].items()) == list(expected['params'].items())


@pytest.mark.parametrize('name', golden_networks.LATER)
def test_engines_equal_golden(golden, name):
    expected = golden_networks.schema_of(golden, name)
    model = layers.new_model(name)
    build(model, golden_networks.network_of(expected))
    found = [(op.type, op.engine) for op in model.net.Proto().op]
    assert found == [(op['type'], op.get('engine', '')) for op in expected['ops']]


@pytest.mark.parametrize('crop_size', [112, 224])
def test_a_small_network_runs(caffe2_workspace, crop_size):
    network = Network('r2d', 10, clip_length=8, crop_size=crop_size, num_labels=5)
    data = np.random.default_rng(0).standard_normal((2, *network.data_shape), np.float32)
    run(network, random_parameters(network), data, np.array([0, 4], np.int32))
    assert workspace.FetchBlob('final_avg').shape == (2, FEATURES, 1, 1, 1)
    assert workspace.FetchBlob('softmax').sum(axis=1) == pytest.approx([1, 1])


def test_multi_label_head(caffe2_workspace):
    network = Network('r2d', 10, clip_length=8, num_labels=6, multi_label=True)
    shapes = cost.parameter_shapes(network)
    assert shapes['pred_logit_w'] == shapes['pred_logit_b'] == [6]
    assert cost.rows(network)[-1].blob == network.prediction == 'prob'
    parameters = random_parameters(network)
    data = np.random.default_rng(1).standard_normal((2, *network.data_shape), np.float32)
    label = np.array([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], np.int32)
    run(network, parameters, data, label)
    logits = workspace.FetchBlob('last_out_L6')
    scaled = logits * parameters['pred_logit_w'] + parameters['pred_logit_b']
    assert workspace.FetchBlob('prob') == pytest.approx(1 / (1 + np.exp(-scaled)), rel=1e-5)
    entropy = np.maximum(scaled, 0) - scaled * label + np.log1p(np.exp(-np.abs(scaled)))
    assert workspace.FetchBlob('loss') == pytest.approx(entropy.mean(), rel=1e-4)


def test_training_form_normalizes_by_the_batch():
    network = Network('r2plus1d', 10, clip_length=8, use_dropout=True)
    ops = schema(network, training=True)['ops']
    norms = [op for op in ops if op['type'] == 'SpatialBN']
    for op in norms:
        assert op['args']['is_test'] == 0
        assert op['outputs'][1:3] == op['inputs'][3:5]  # the running statistics are updated
        assert len(op['outputs']) == 5
    inference = schema(network)
    assert len(norms) == sum(op['type'] == 'SpatialBN' for op in inference['ops'])
    assert schema(network, training=True)['params'] == inference['params']


@pytest.mark.parametrize(('training', 'is_test'), [(True, 0), (False, 1)])
def test_dropout(training, is_test):
    def dropouts(network):
        ops = schema(network, training=training)['ops']
        return [(op['outputs'][0], op['args']['is_test']) for op in ops if op['type'] == 'Dropout']

    assert dropouts(Network('r2d', 10, clip_length=8)) == []
    with_dropout = Network('r2d', 10, clip_length=8, use_dropout=True)
    assert dropouts(with_dropout) == [('final_avg_dropout', is_test)]
    assert dropouts(Network('c3d')) == [('fc6_dropout', is_test), ('fc7_dropout', is_test)]


def test_training_form_ignores_running_statistics(caffe2_workspace):
    network = Network('r2d', 10, clip_length=8, num_labels=5)
    parameters = random_parameters(network)
    data = np.random.default_rng(2).standard_normal((4, *network.data_shape), np.float32)
    run(network, parameters, data, np.zeros(4, np.int32), training=True)
    first = workspace.FetchBlob('conv1_spatbn_relu')
    moved = {k: v + 7 if k.endswith(('_rm', '_riv')) else v for k, v in parameters.items()}
    run(network, moved, data, np.zeros(4, np.int32), training=True)
    assert np.array_equal(workspace.FetchBlob('conv1_spatbn_relu'), first)
    mean = workspace.FetchBlob('conv1_spatbn_relu_rm')
    assert not np.array_equal(mean, moved['conv1_spatbn_relu_rm'])


def test_loss_is_scaled():
    model = layers.new_model('scaled')
    (loss,) = build(model, Network('r2d', 10, clip_length=8), training=True, loss_scale=0.25)
    op = model.net.Proto().op[-1]
    assert (op.type, list(op.output), op.arg[0].f) == ('Scale', [str(loss)], 0.25)
