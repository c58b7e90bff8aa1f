"""The networks: their layers' shapes and costs, and what is refused."""

import subprocess
import sys

import pytest

from r2plus1d.cli import flags, from_flags
from r2plus1d.errors import InputError
from r2plus1d.networks import cost, resnet3d
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, BLOCKS

FEATURES = 512  # filters of res5


@pytest.mark.parametrize('depth', BLOCKS)
@pytest.mark.parametrize('architecture', ARCHITECTURES)
def test_every_family_and_depth_builds(architecture, depth):
    network = Network(architecture, depth, clip_length=8, num_labels=7)
    rows = {row.blob: row for row in cost.rows(network)}
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


@pytest.mark.parametrize('architecture', [*ARCHITECTURES, 'c3d'])
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
    network = from_flags.network(flags.parse('', flags.NETWORK, argv=argv))
    assert network.data_shape == shape


def test_networks_can_be_described_without_caffe2():
    code = (
        'import sys; sys.modules["caffe2"] = None\n'
        'from r2plus1d.cli import from_flags, flags\n'
        'print(from_flags.network(flags.parse("", flags.NETWORK, argv=[])).name)'
    )
    command = [sys.executable, '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == 'r2plus1d_18_16\n'
