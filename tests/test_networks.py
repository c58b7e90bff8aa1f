"""The networks: their layers' shapes and costs, and what is refused."""

import math
import subprocess
import sys

import pytest

from r2plus1d.cli import command_line, flags, from_flags
from r2plus1d.errors import InputError
from r2plus1d.networks import cost, graph, resnet3d
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, SIMPLE_BLOCKS, depths_of

FEATURES = 512  # filters of res5
SIMPLE_ONES = [name for name in ARCHITECTURES if 10 in depths_of(name)]
# (architecture, depth, frames, crop): (10^9 multiply-adds, 10^6 weights) with 400 labels
COSTS = {
    ('r2plus1d', 34, 8, 112): (38.089, 63.646),
    ('r2plus1d', 34, 8, 128): (49.750, 63.646),
    ('r2plus1d', 34, 32, 112): (152.356, 63.646),
    ('r2plus1d', 34, 32, 128): (198.996, 63.646),
    ('r2plus1d', 50, 32, 112): (115.326, 46.914),
    ('r2plus1d', 101, 32, 112): (176.469, 85.908),
    ('r2plus1d', 152, 32, 112): (251.997, 118.021),
    ('r2plus1d', 152, 32, 128): (329.142, 118.021),
    ('ir-csn', 50, 32, 224): (42.309, 13.078),
    ('ir-csn', 50, 32, 256): (55.262, 13.078),
    ('ir-csn', 101, 32, 224): (56.468, 22.108),
    ('ir-csn', 101, 32, 256): (73.757, 22.108),
    ('ir-csn', 152, 32, 224): (74.046, 29.552),
    ('ir-csn', 152, 32, 256): (96.716, 29.552),
    ('ip-csn', 50, 32, 224): (47.652, 14.335),
    ('ip-csn', 50, 32, 256): (62.242, 14.335),
    ('ip-csn', 101, 32, 224): (63.559, 24.480),
    ('ip-csn', 101, 32, 256): (83.018, 24.480),
    ('ip-csn', 152, 32, 224): (83.295, 32.841),
    ('ip-csn', 152, 32, 256): (108.795, 32.841),
}


@pytest.mark.parametrize('depth', SIMPLE_BLOCKS)
@pytest.mark.parametrize('architecture', SIMPLE_ONES)
def test_every_family_and_depth_builds(architecture, depth):
    network = Network(architecture, depth, clip_length=8, num_labels=7)
    rows = {row.blob: row for row in cost.rows(network)}
    assert rows['final_avg'].shape == (FEATURES, 1, 1, 1)
    assert rows['last_out_L7'].shape == rows['softmax'].shape == (7,)
    convolutions = [blob for blob in rows if blob.startswith('comp_') and '_conv_' in blob]
    halves = 2 if architecture.startswith('r2plus1d') else 1
    assert len(convolutions) == 2 * halves * sum(SIMPLE_BLOCKS[depth])
    assert sum(blob.startswith('shortcut_projection_') for blob in rows) == 2 * 3
    assert f'comp_{sum(SIMPLE_BLOCKS[depth]) - 1}_sum_2' in rows


@pytest.mark.parametrize('key', COSTS, ids=str)
def test_costs_of_the_later_networks(key):
    architecture, depth, clip_length, crop_size = key
    network = Network(
        architecture,
        depth,
        clip_length=clip_length,
        crop_size=crop_size,
        num_labels=400,
        use_pool1=architecture != 'r2plus1d',
        use_convolutional_pred=crop_size in (128, 256),
    )
    multiply_adds, parameters = cost.totals(network)
    found = round(multiply_adds / 1e9, 3), round(parameters / 1e6, 3)
    assert found == COSTS[key]


@pytest.mark.parametrize(
    ('architecture', 'names'),
    [
        ('r2plus1d', ['conv_1', 'conv_2_middle', 'conv_2', 'conv_3']),
        ('r3d', ['conv_1', 'conv_2', 'conv_3']),
        ('ir-csn', ['conv_1', 'conv_3', 'conv_4']),
        ('ip-csn', ['conv_1', 'conv_2_middle', 'conv_2', 'conv_3']),
    ],
)
def test_bottlenecks(architecture, names):
    network = Network(architecture, 50, clip_length=8, num_labels=7)
    nodes = {node.blob: node for node in graph.trace(network).nodes}
    first = [blob for blob in nodes if blob.startswith('comp_0_conv')]
    assert first == [f'comp_0_{name}' for name in names]
    shapes = graph.trace(network).shapes
    assert shapes['final_avg'] == (2048, 1, 1, 1)
    assert shapes[f'comp_3_sum_{names[-1][-1]}'] == (512, 4, 28, 28)
    projections = [blob for blob in nodes if blob.startswith('shortcut') and 'spatbn' not in blob]
    assert projections == [f'shortcut_projection_{i}' for i in (0, 3, 7, 13)]
    middle = f'comp_3_{names[-2]}'
    assert nodes[middle].group == (128 if 'csn' in architecture else 1)
    assert math.prod(nodes[middle].window.stride) == (2 if architecture == 'r2plus1d' else 8)


def test_ip_csn_has_no_relu_between_its_halves():
    blobs = [n.blob for n in graph.trace(Network('ip-csn', 50)).nodes if n.kind == 'Relu']
    assert 'comp_0_spatbn_1' in blobs
    assert 'comp_0_spatbn_2' in blobs
    assert not any('middle' in blob for blob in blobs)


@pytest.mark.parametrize(
    ('settings', 'places'),
    [
        ({'crop_size': 112}, 1),
        ({'crop_size': 128}, 2),
        ({'crop_size': 224}, 1),
        ({'crop_size': 256}, 3),
        ({'crop_size': 224, 'use_pool1': True}, 1),
        ({'crop_size': 256, 'use_pool1': True}, 2),
        ({'crop_size': 320, 'use_pool1': True}, 4),
    ],
)
def test_places_of_convolutional_prediction(settings, places):
    network = Network('r3d', 18, clip_length=8, use_convolutional_pred=True, **settings)
    shapes = graph.trace(network).shapes
    assert shapes['final_avg'] == (FEATURES, 1, places, places)
    assert shapes['last_out_L101'] == shapes['softmax_unreduced'] == (101, 1, places, places)
    assert shapes['softmax'] == (101,)
    assert cost.parameter_shapes(network)['last_out_L101_w'] == [101, FEATURES, 1, 1, 1]


@pytest.mark.parametrize('crop_size', [112, 224])
@pytest.mark.parametrize('clip_length', [8, 24])
@pytest.mark.parametrize('architecture', SIMPLE_ONES)
def test_clip_lengths_and_crops(architecture, clip_length, crop_size):
    network = Network(architecture, 10, clip_length=clip_length, crop_size=crop_size)
    rows = {row.blob: row for row in cost.rows(network)}
    length = 1 if architecture == 'r2d' else clip_length
    assert rows['conv1'].shape == (64, length, crop_size // 2, crop_size // 2)
    assert rows['final_avg'].shape == (FEATURES, 1, 1, 1)


@pytest.mark.parametrize(('channels', 'filters'), [(64, 64), (64, 128), (128, 256), (512, 512)])
def test_middle_filters_keep_the_parameters_of_a_3d_convolution(channels, filters):
    def cost(middle):
        return middle * (9 * channels + 3 * filters)

    middle = resnet3d.middle_filters(channels, filters)
    assert cost(middle) <= 27 * channels * filters < cost(middle + 1)


def test_middle_filters_by_name():
    shapes = cost.parameter_shapes(Network('r2plus1d', 18, clip_length=8))
    middles = {name: shape[0] for name, shape in shapes.items() if name.endswith('_middle_w')}
    assert middles['conv1_middle_w'] == 45
    assert [middles[f'comp_{i}_conv_1_middle_w'] for i in (0, 2, 4, 6)] == [144, 230, 460, 921]
    assert [middles[f'comp_{i}_conv_2_middle_w'] for i in (0, 2, 4, 6)] == [144, 288, 576, 1152]


def test_torchvisions_middle_filters_are_the_same_twice_in_a_block():
    network = Network('r2plus1d-torchvision', 18, num_labels=400)
    shapes = cost.parameter_shapes(network)
    for number in (1, 2):
        middles = [shapes[f'comp_{i}_conv_{number}_middle_w'][0] for i in range(8)]
        assert middles == [144, 144, 230, 288, 460, 576, 921, 1152]
    trained = (shape for name, shape in shapes.items() if not name.endswith(('_rm', '_riv')))
    assert sum(math.prod(shape) for shape in trained) == 31_505_325


@pytest.mark.parametrize('architecture', [*SIMPLE_ONES, 'c3d'])
def test_width_scales_every_layer_but_the_ends(architecture):
    whole, eighth = (Network(architecture, width=width, num_labels=7) for width in (1, 0.125))
    narrow = {row.blob: row for row in cost.rows(eighth)}
    for row in cost.rows(whole):
        channels = narrow[row.blob].shape[0]
        if row.shape == (7,):
            assert channels == 7
        elif '_middle' not in row.blob:
            assert channels == row.shape[0] // 8
        assert narrow[row.blob].shape[1:] == row.shape[1:]


def test_which_stages_are_3d():
    first_of_stage = ['conv1_w', *(f'comp_{i}_conv_1_w' for i in (0, 2, 4, 6))]

    def temporal_kernels(architecture):
        shapes = cost.parameter_shapes(Network(architecture, 18, clip_length=8))
        return [shapes[blob][2] for blob in first_of_stage]

    assert temporal_kernels('r2d') == [8, 1, 1, 1, 1]
    assert temporal_kernels('r2df') == [1, 1, 1, 1, 1]
    assert temporal_kernels('mc2') == [3, 1, 1, 1, 1]
    assert temporal_kernels('mc5') == [3, 3, 3, 3, 1]
    assert temporal_kernels('rmc2') == [1, 3, 3, 3, 3]
    assert temporal_kernels('rmc5') == [1, 1, 1, 1, 3]
    assert temporal_kernels('r3d') == [3, 3, 3, 3, 3]


def test_c3d_multi_label_has_rows():
    rows = cost.rows(Network('c3d', num_labels=6, multi_label=True))
    assert [(row.blob, row.shape) for row in rows[-3:]] == [
        ('last_out_L6', (6,)),
        ('pred_logit', (6,)),
        ('prob', (6,)),
    ]


def test_pred_layer_name():
    shapes = cost.parameter_shapes(Network('r2d', 10, num_labels=5, pred_layer_name='mine'))
    assert shapes['mine_w'] == [5, FEATURES]


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'architecture': 'r4d'}, r'model_name is r4d; known: c3d, ip-csn, ir-csn, mc2, .*, rmc5'),
        ({'depth': 19}, r'model_depth is 19; known depths: 10, 16, 18, 26, 34, 50, 101, 152'),
        ({'architecture': 'mc3', 'depth': 50}, r'model_depth is 50; mc3 has 10, 16, 18, 26, 34$'),
        ({'architecture': 'ir-csn'}, r'model_depth is 18; ir-csn has 50, 101, 152$'),
        ({'architecture': 'rmc2', 'use_pool1': True}, 'use_pool1 is 1; only r3d, r2plus1d, ir-csn'),
        ({'architecture': 'c3d', 'use_pool1': True}, 'use_pool1 is 1; only .*, not c3d'),
        (
            {'architecture': 'r2d', 'use_convolutional_pred': True},
            'use_convolutional_pred is 1; only .*, not r2d',
        ),
        (
            {'multi_label': True, 'use_convolutional_pred': True},
            'use_convolutional_pred is 1; multi_label takes 0 only',
        ),
        ({'use_pool1': True}, 'crop_size is 112; use_pool1 takes 224, 256 or 320'),
        (
            {'crop_size': 320, 'use_convolutional_pred': True},
            'crop_size is 320; only use_pool1=1 takes it',
        ),
        (
            {'crop_size': 256},
            'crop_size is 256; 112 or 224, and other sizes with use_convolutional_pred only',
        ),
        (
            {'crop_size': 100, 'use_convolutional_pred': True},
            'crop_size is 100; 112, 128, 224, 256 or 320$',
        ),
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
    assert cost.rows(Network('c3d', 99)) == cost.rows(Network('c3d'))


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
    network = from_flags.network(command_line.parse('', flags.NETWORK, argv=argv))
    assert network.data_shape == shape


def test_networks_can_be_described_without_caffe2():
    code = (
        'import sys; sys.modules["caffe2"] = None\n'
        'from r2plus1d.cli import command_line, flags, from_flags\n'
        'print(from_flags.network(command_line.parse("", flags.NETWORK, argv=[])).name)'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == 'r2plus1d_18_16\n'
