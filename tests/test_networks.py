"""The networks: graphs, shapes and outputs against a real Caffe2's, and what is refused."""

import importlib.util
import json
import subprocess
import sys

import numpy as np
import pytest
from caffe2.python import utils, workspace

from r2plus1d import options
from r2plus1d.errors import InputError
from r2plus1d.models import layers, resnet3d, summary
from r2plus1d.models.network import Network, build
from r2plus1d.models.zoo import ARCHITECTURES, BLOCKS
from r2plus1d.video.transform import RGB_MEAN, RGB_STD, normalize

GOLDEN_NETS = (
    'c3d_d18_l16',
    'mc3_d18_l16',
    'r2d_d18_l8',
    'r2df_d18_l8',
    'r2plus1d_d18_l16',
    'r2plus1d_d18_l8',
    'r2plus1d_d34_l32',
    'r2plus1d_d34_l32_flow',
    'r3d_d18_l8',
    'rmc3_d18_l8',
)
GOLDEN_CLIP_LENGTH = 16
RELATIVE_ERROR = 1e-5
CHEAP = 15e9  # multiply-adds a clip; of networks that take more only one clip is run
FEATURES = 512  # filters of res5


def network_of(schema):
    """The Network of a golden graph."""
    names = ('clip_length', 'crop_size', 'num_channels', 'num_labels')
    settings = {name: schema[name] for name in names}
    return Network(schema['model_name'], schema['model_depth'], **settings)


def comparable(ops):
    """Operators without the scaled loss's name, which counts the nets that were made before it."""
    return [{**op, 'outputs': None} if op['type'] == 'Scale' else op for op in ops]


@pytest.fixture
def caffe2_workspace():
    previous = workspace.CurrentWorkspace()
    workspace.SwitchWorkspace('test_networks', True)
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
    shapes = summary.parameter_shapes(network)
    parameters = {k: 0.1 * rng.standard_normal(shape, np.float32) for k, shape in shapes.items()}
    variances = [name for name in shapes if name.endswith('_riv')]
    return {**parameters, **{name: 0.5 + abs(parameters[name]) for name in variances}}


@pytest.mark.parametrize('name', GOLDEN_NETS)
def test_graph_equals_golden(golden, name):
    expected = json.loads((golden / 'nets' / f'{name}.json').read_text())
    schema = summary.schema(network_of(expected))
    assert comparable(schema['ops']) == comparable(expected['ops'])
    assert list(schema['params'].items()) == list(expected['params'].items())


@pytest.fixture(scope='module')
def golden_parameter(golden):
    spec = importlib.util.spec_from_file_location('golden_parameters', golden / 'parameters.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.golden_parameter


@pytest.fixture(scope='module')
def golden_clips(golden):
    """{channels: clips} as the networks take them."""
    rgb = np.load(golden / 'video_input' / 'start_rgb_l16.npz')['rgb_u8'][:2]
    flow = np.load(golden / 'video_input' / 'start_flow2c_l16.npz')['flow']
    return {3: normalize(rgb, RGB_MEAN, RGB_STD), 2: flow}


@pytest.mark.parametrize('name', GOLDEN_NETS)
def test_outputs_equal_golden(golden, golden_parameter, golden_clips, caffe2_workspace, name):
    network = network_of(json.loads((golden / 'nets' / f'{name}.json').read_text()))
    shapes = summary.parameter_shapes(network)
    parameters = {blob: golden_parameter(blob, shape) for blob, shape in shapes.items()}
    rows = 2 if summary.totals(network)[0] < CHEAP else 1
    repeats = -(-network.clip_length // GOLDEN_CLIP_LENGTH)
    clips = np.tile(golden_clips[network.num_channels][:rows], (1, 1, repeats, 1, 1))
    data = np.ascontiguousarray(clips[:, :, : network.clip_length])
    run(network, parameters, data, np.zeros(rows, np.int32))

    feature = 'fc7' if network.is_c3d else 'final_avg'
    blobs = {'softmax': network.prediction, 'logits': network.logits, 'feature': feature}
    for key, expected in np.load(golden / 'nets' / f'{name}.npz').items():
        got, expected = workspace.FetchBlob(blobs[key]), expected[:rows]
        assert got.shape == expected.shape
        assert np.abs(got - expected).max() <= RELATIVE_ERROR * np.abs(expected).max(), key


@pytest.mark.parametrize('depth', BLOCKS)
@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_every_family_and_depth_builds(architecture, depth):
    network = Network(architecture, depth, clip_length=8, num_labels=7)
    rows = {row.blob: row for row in summary.rows(network)}
    assert rows['final_avg'].shape == (FEATURES, 1, 1, 1)
    assert rows['last_out_L7'].shape == rows['softmax'].shape == (7,)
    convolutions = [blob for blob in rows if blob.startswith('comp_') and '_conv_' in blob]
    halves = 2 if architecture == 'r2plus1d' else 1
    assert len(convolutions) == 2 * halves * sum(BLOCKS[depth])
    assert sum(blob.startswith('shortcut_projection_') for blob in rows) == 2 * 3
    assert f'comp_{sum(BLOCKS[depth]) - 1}_sum_2' in rows


@pytest.mark.parametrize('crop_size', [112, 224])
@pytest.mark.parametrize('clip_length', [8, 24])
@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_clip_lengths_and_crops(architecture, clip_length, crop_size):
    network = Network(architecture, 10, clip_length=clip_length, crop_size=crop_size)
    rows = {row.blob: row for row in summary.rows(network)}
    length = 1 if architecture == 'r2d' else clip_length
    assert rows['conv1'].shape == (64, length, crop_size // 2, crop_size // 2)
    assert rows['final_avg'].shape == (FEATURES, 1, 1, 1)


@pytest.mark.parametrize('crop_size', [112, 224])
def test_a_small_network_runs(caffe2_workspace, crop_size):
    network = Network('r2d', 10, clip_length=8, crop_size=crop_size, num_labels=5)
    data = np.random.default_rng(0).standard_normal((2, *network.data_shape), np.float32)
    run(network, random_parameters(network), data, np.array([0, 4], np.int32))
    assert workspace.FetchBlob('final_avg').shape == (2, FEATURES, 1, 1, 1)
    assert workspace.FetchBlob('softmax').sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize(('channels', 'filters'), [(64, 64), (64, 128), (128, 256), (512, 512)])
def test_middle_filters_keep_the_parameters_of_a_3d_convolution(channels, filters):
    def cost(middle):
        return middle * (9 * channels + 3 * filters)

    middle = resnet3d.middle_filters(channels, filters)
    assert cost(middle) <= 27 * channels * filters < cost(middle + 1)


def test_middle_filters_by_name():
    shapes = summary.parameter_shapes(Network('r2plus1d', 18, clip_length=8))
    middles = {name: shape[0] for name, shape in shapes.items() if name.endswith('_middle_w')}
    assert middles['conv1_middle_w'] == 45
    assert [middles[f'comp_{i}_conv_1_middle_w'] for i in (0, 2, 4, 6)] == [144, 230, 460, 921]
    assert [middles[f'comp_{i}_conv_2_middle_w'] for i in (0, 2, 4, 6)] == [144, 288, 576, 1152]


@pytest.mark.parametrize('architecture', [*ARCHITECTURES, 'c3d'])
def test_width_scales_every_layer_but_the_ends(architecture):
    whole, eighth = (Network(architecture, width=width, num_labels=7) for width in (1, 0.125))
    narrow = {row.blob: row for row in summary.rows(eighth)}
    for row in summary.rows(whole):
        channels = narrow[row.blob].shape[0]
        if row.shape == (7,):
            assert channels == 7
        elif '_middle' not in row.blob:
            assert channels == row.shape[0] // 8
        assert narrow[row.blob].shape[1:] == row.shape[1:]


def test_which_stages_are_3d():
    first_of_stage = ['conv1_w', *(f'comp_{i}_conv_1_w' for i in (0, 2, 4, 6))]

    def temporal_kernels(architecture):
        shapes = summary.parameter_shapes(Network(architecture, 18, clip_length=8))
        return [shapes[blob][2] for blob in first_of_stage]

    assert temporal_kernels('r2d') == [8, 1, 1, 1, 1]
    assert temporal_kernels('r2df') == [1, 1, 1, 1, 1]
    assert temporal_kernels('mc2') == [3, 1, 1, 1, 1]
    assert temporal_kernels('mc5') == [3, 3, 3, 3, 1]
    assert temporal_kernels('rmc2') == [1, 3, 3, 3, 3]
    assert temporal_kernels('rmc5') == [1, 1, 1, 1, 3]
    assert temporal_kernels('r3d') == [3, 3, 3, 3, 3]


def test_multi_label_head(caffe2_workspace):
    network = Network('r2d', 10, clip_length=8, num_labels=6, multi_label=True)
    shapes = summary.parameter_shapes(network)
    assert shapes['pred_logit_w'] == shapes['pred_logit_b'] == [6]
    assert summary.rows(network)[-1].blob == network.prediction == 'prob'
    parameters = random_parameters(network)
    data = np.random.default_rng(1).standard_normal((2, *network.data_shape), np.float32)
    label = np.array([[1, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1]], np.int32)
    run(network, parameters, data, label)
    logits = workspace.FetchBlob('last_out_L6')
    scaled = logits * parameters['pred_logit_w'] + parameters['pred_logit_b']
    assert workspace.FetchBlob('prob') == pytest.approx(1 / (1 + np.exp(-scaled)), rel=1e-5)
    entropy = np.maximum(scaled, 0) - scaled * label + np.log1p(np.exp(-np.abs(scaled)))
    assert workspace.FetchBlob('loss') == pytest.approx(entropy.mean(), rel=1e-4)


def test_c3d_multi_label_has_rows():
    rows = summary.rows(Network('c3d', num_labels=6, multi_label=True))
    assert [(row.blob, row.shape) for row in rows[-3:]] == [
        ('last_out_L6', (6,)),
        ('pred_logit', (6,)),
        ('prob', (6,)),
    ]


def test_training_form_normalizes_by_the_batch():
    network = Network('r2plus1d', 10, clip_length=8, use_dropout=True)
    ops = summary.schema(network, training=True)['ops']
    norms = [op for op in ops if op['type'] == 'SpatialBN']
    for op in norms:
        assert op['args']['is_test'] == 0
        assert op['outputs'][1:3] == op['inputs'][3:5]  # the running statistics are updated
        assert len(op['outputs']) == 5
    inference = summary.schema(network)
    assert len(norms) == sum(op['type'] == 'SpatialBN' for op in inference['ops'])
    assert summary.schema(network, training=True)['params'] == inference['params']


@pytest.mark.parametrize(('training', 'is_test'), [(True, 0), (False, 1)])
def test_dropout(training, is_test):
    def dropouts(network):
        ops = summary.schema(network, training=training)['ops']
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


def test_pred_layer_name():
    shapes = summary.parameter_shapes(Network('r2d', 10, num_labels=5, pred_layer_name='mine'))
    assert shapes['mine_w'] == [5, FEATURES]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'architecture': 'r4d'}, r'model_name is r4d; known: c3d, mc2, .*, rmc5'),
        ({'depth': 19}, r'model_depth is 19; known depths: 10, 16, 18, 26, 34'),
        ({'clip_length': 12}, r'clip_length is 12; a multiple of 8'),
        ({'clip_length': 0}, r'clip_length is 0; a multiple of 8'),
        ({'crop_size': 128}, r'crop_size is 128; 112 or 224'),
        ({'num_channels': 0}, r'num_channels is 0; at least 1'),
        ({'num_labels': 0}, r'num_labels is 0; at least 1'),
        ({'width': 0}, r'width is 0; above 0, at most 4'),
        ({'width': 5}, r'width is 5; above 0, at most 4'),
        ({'architecture': 'c3d', 'clip_length': 8}, r'\(8, 112\); C3D takes \(16, 112\) only'),
        ({'architecture': 'c3d', 'crop_size': 224}, r'\(16, 224\); C3D takes \(16, 112\) only'),
    ],
)
def test_network_refuses(settings, message):
    with pytest.raises(InputError, match=message):
        Network(**settings)


def test_c3d_has_one_depth():
    assert summary.schema(Network('c3d', 99))['params'] == summary.schema(Network('c3d'))['params']


@pytest.mark.parametrize(
    ('argv', 'shape'),
    [
        ([], (3, 16, 112, 112)),
        (['--clip_length_rgb=8', '--crop_size=224'], (3, 8, 224, 224)),
        (['--input_type=1'], (2, 8, 112, 112)),
        (['--input_type=flow', '--flow_data_type=3', '--clip_length_of=32'], (5, 32, 112, 112)),
        (['--input_type=1', '--num_channels=3'], (3, 8, 112, 112)),
    ],
)
def test_network_from_the_command_line(argv, shape):
    network = options.network(options.parse('', options.NETWORK, argv=argv))
    assert network.data_shape == shape


def test_networks_can_be_described_without_caffe2():
    code = (
        'import sys; sys.modules["caffe2"] = None\n'
        'from r2plus1d import options\n'
        'print(options.network(options.parse("", options.NETWORK, argv=[])).name)'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == 'r2plus1d_18_16\n'
