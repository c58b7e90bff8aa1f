"""Weights say what network they are of: by their names and shapes, and by their card."""

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.cli import command_line, flags, weight_flags
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network
from r2plus1d.networks.zoo import ARCHITECTURES, depths_of
from r2plus1d.weights.card import CARD
from r2plus1d.weights.files import read_weights, save_minidb, save_pickle
from r2plus1d.weights.infer import infer
from r2plus1d.weights.stored import open_weights

SMALL = Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.125)
SAMPLE = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'


def blobs_of(network):
    """Arrays of the right shapes, which take no memory."""
    shapes = parameter_shapes(network)
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


NETWORKS = [
    *(Network(name, depth) for name in ARCHITECTURES for depth in depths_of(name)),
    *(
        Network(name, depth, width=width)
        for name in ('ir-csn', 'ip-csn', 'r3d', 'r2plus1d')
        for depth in (50, 152)
        for width in (0.125, 1 / 3, 0.01)
    ),
    Network(
        'ir-csn', 50, crop_size=256, num_labels=359, use_pool1=True, use_convolutional_pred=True
    ),
    *(Network('r2plus1d', 18, width=width) for width in (0.125, 0.1, 1 / 3, 2.0)),
    *(Network(name, 26, width=0.01) for name in ('r2plus1d', 'mc3')),
    Network('r2d', 34, clip_length=32, crop_size=224),
    Network('c3d', num_labels=487),
    Network('c3d', num_labels=487, width=0.125),
    Network('r3d', 18, num_channels=2, num_labels=400),
    Network('mc3', 18, num_labels=7, multi_label=True),
    Network('mc3', 18, num_labels=7, pred_layer_name='my_layer'),
]


@pytest.mark.parametrize('network', NETWORKS, ids=lambda network: network.name)
def test_blobs_decide_the_network(network):
    found = infer(blobs_of(network))
    width = found.pop('width')
    assert [max(1, round(c * width)) for c in (45, 64, 128, 256, 512)] == [
        network.channels(c) for c in (45, 64, 128, 256, 512)
    ]
    assert {name: getattr(network, name) for name in found} == found
    named = {'architecture', 'num_channels', 'num_labels', 'multi_label'}
    assert named <= set(found)
    assert ('clip_length' in found) == (network.is_c3d or network.architecture == 'r2d')
    assert ('pred_layer_name' in found) == (network.pred_layer_name is not None)


def test_what_is_no_network_decides_nothing():
    blobs = blobs_of(SMALL)
    assert infer({}) == {}
    assert infer({name: a for name, a in blobs.items() if name != 'comp_0_conv_2_w'}) == {}
    assert infer({**blobs, 'conv1_w': np.zeros((8, 3, 7, 7))}) == {}


CSN = Network('ir-csn', 50, num_labels=5, width=0.125)
SMALL_C3D = Network('c3d', num_labels=5, width=0.125)


@pytest.mark.parametrize('dims', [0, 1])
@pytest.mark.parametrize(
    ('network', 'name'),
    [
        (SMALL, 'conv1_w'),
        (SMALL, 'conv1_middle_w'),
        (SMALL, 'comp_0_conv_1_w'),
        (SMALL, 'comp_0_conv_2_middle_w'),
        (SMALL, 'last_out_L5_w'),
        (CSN, 'comp_0_conv_1_w'),
        (CSN, 'comp_0_conv_4_w'),
        (SMALL_C3D, 'conv1a_w'),
        (SMALL_C3D, 'conv2a_w'),
    ],
    ids=lambda value: value if isinstance(value, str) else value.architecture,
)
def test_weights_of_too_few_dimensions_are_one_line(tmp_path, network, name, dims):
    path, blobs = tmp_path / 'x.pkl', blobs_of(network)
    save_pickle(path, {**blobs, name: np.zeros(blobs[name].shape[:dims], np.float32)})
    with pytest.raises(InputError, match=r'x\.pkl'):
        open_weights(path).parameters(network)


def test_weights_without_channels_decide_nothing():
    """Both convolutions of a block have their own filters in the middle, and no others."""
    empty = {'comp_0_conv_1_middle_w': (4, 0, 1, 3, 3), 'comp_0_conv_2_middle_w': (4, 0, 1, 3, 3)}
    blobs = {**blobs_of(SMALL), 'comp_0_conv_2_w': np.zeros((0, 4, 3, 1, 1), np.float32)}
    blobs.update((name, np.zeros(shape, np.float32)) for name, shape in empty.items())
    assert infer(blobs) == {}


@pytest.mark.parametrize('number', ['9' * 5000, '00', '\u0660'], ids=['long', '00', 'arabic'])
def test_other_numbers_of_blocks_are_no_blocks(number):
    blobs = blobs_of(SMALL)
    expected = infer(blobs)
    assert infer({**blobs, f'comp_{number}_conv_1_w': np.zeros((1, 1))}) == expected
    moved = {n.replace('comp_0_conv_2_w', f'comp_{number}_conv_2_w'): a for n, a in blobs.items()}
    assert infer(moved) == {}


def test_a_device_of_5000_digits_is_part_of_the_name(tmp_path):
    name = f'gpu_{"9" * 5000}/x'
    save_pickle(tmp_path / 'x.pkl', {name: np.zeros(3, np.float32)})
    assert list(read_weights(tmp_path / 'x.pkl').blobs) == [name]


def test_other_blobs_under_a_published_name_are_one_line(tmp_path):
    path = tmp_path / 'r2.5d_d18_l8.pkl'
    save_pickle(path, {'x': np.zeros(3, np.float32)})
    with pytest.raises(InputError, match='does not hold this network'):
        open_weights(path).parameters(SMALL)


def test_projections_may_be_matrices():
    blobs = blobs_of(SMALL)
    flat = dict(blobs)
    for name in flat:
        if name.startswith('shortcut') and name.endswith('_w'):
            flat[name] = flat[name][..., 0, 0, 0]
    assert flat['shortcut_projection_1_w'].ndim == 2
    assert infer(flat) == infer(blobs)


def test_channels_tell_a_flow(tmp_path):
    path = tmp_path / 'w.pkl'
    for channels, told in ((2, 'xy'), (3, 'rgb'), (5, 'xy_rgb')):
        network = Network('r3d', 10, num_channels=channels, width=0.125)
        save_pickle(path, random_parameters(network, 0))
        argv = [f'--load_model_path={path}', '--clip_length_of=16', '--clip_length_rgb=16']
        args = command_line.parse('', flags.WEIGHTS, flags.NETWORK, argv=argv)
        weight_flags.take_weights(args)
        assert told == (args.flow_data_type if args.input_type == 'flow' else args.input_type)
    save_pickle(path, random_parameters(Network('r3d', 10, num_channels=2, width=0.125), 0))
    args = command_line.parse('', flags.WEIGHTS, flags.NETWORK, argv=[f'--load_model_path={path}'])
    with pytest.raises(InputError, match='give --clip_length_of, which is likely 8'):
        weight_flags.take_weights(args)


@pytest.mark.parametrize('prefix', ['gpu_0/', 'module.', ''])
@pytest.mark.parametrize('key', ['state_dict', 'blobs'])
def test_prefixes_and_state_dicts(tmp_path, prefix, key):
    import pickle

    path = tmp_path / 'x.pkl'
    blobs = {prefix + name: array for name, array in random_parameters(SMALL, 0).items()}
    path.write_bytes(pickle.dumps({key: blobs}, 2))
    assert Model.load(path, length=8).network == SMALL


@pytest.mark.parametrize('suffix', ['.pkl', '.mdl'])
def test_a_model_comes_back_as_it_was_saved(tmp_path, suffix):
    network = Network('r2plus1d', 10, clip_length=8, num_channels=2, num_labels=3, width=0.125)
    given = Input(length=8, rate=3, flow=FlowSettings(gap=1, aggregate=True), scale_h=120)
    model = Model(network, given, random_parameters(network, 1), ('a', 'b', 'ä'))
    path = tmp_path / f'x{suffix}'
    model.save(path)
    back = Model.load(path)
    assert (back.network, back.input, back.class_names) == (
        network.__class__(**{**vars(network), 'pred_layer_name': back.network.pred_layer_name}),
        given,
        ('a', 'b', 'ä'),
    )
    assert back.network.logits == network.logits
    for name, array in model.parameters.items():
        np.testing.assert_array_equal(back.parameters[name], array)


def test_a_clip_length_that_nobody_says(tmp_path):
    path = tmp_path / 'x.pkl'
    save_pickle(path, random_parameters(SMALL, 0))
    with pytest.raises(InputError, match=r'x\.pkl does not say how long .* 8, 16 or 32'):
        Model.load(path)


def test_the_name_of_published_weights_says_it(tmp_path):
    network = Network('r2plus1d', 18, clip_length=8, num_labels=400)
    path = tmp_path / 'r2.5d_d18_l8.pkl'
    save_pickle(path, blobs_of(network))
    assert open_weights(path).input == Input(length=8)
    save_pickle(path, random_parameters(SMALL, 0))
    assert open_weights(path).input is None  # another network under that name


@pytest.mark.parametrize(
    ('setting', 'message'),
    [
        ({'num_labels': 9}, r'num_labels is 9, and .*0\.125\.pkl is of 8'),
        ({'length': 16}, r'length is 16, and .*0\.125\.pkl is of 8'),
        ({'rate': 4}, r'rate is 4, and .*0\.125\.pkl is of 1'),
        ({'colour': 1}, 'colour is no setting of a model; known: architecture, '),
    ],
)
def test_a_setting_that_the_file_contradicts(setting, message):
    with pytest.raises(InputError, match=message):
        Model.load(SAMPLE, **setting)


@pytest.mark.parametrize(
    ('card', 'message'),
    [
        ({'a': 1}, f'its {CARD} is not texts by name'),
        ({}, 'its card is wrong: model_name is not among'),
        ({'model_depth': '18'}, 'its card says depth 18, its blobs are of 10'),
    ],
)
@pytest.mark.parametrize('save', [save_pickle, save_minidb])
def test_a_wrong_card_is_refused(tmp_path, card, message, save):
    path = tmp_path / 'x.pkl'
    good = Model(SMALL, Input(length=8), random_parameters(SMALL, 0)).card
    save(
        path,
        random_parameters(SMALL, 0),
        {**good, **card} if 'model_depth' in card else card or {'b': ''},
    )
    with pytest.raises(InputError, match=message):
        open_weights(path)


def test_neither_a_file_nor_a_name():
    with pytest.raises(InputError, match='no such weight file, and no published network'):
        open_weights('r2.5d_d18_l9')


class Place:
    """A path that is no pathlib.Path."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_any_path_like_is_a_place(tmp_path):
    model = Model.load(Place(SAMPLE))
    model.save(Place(tmp_path / 'x.pkl'))
    assert Model.load(Place(tmp_path / 'x.pkl')).network == model.network
    with pytest.raises(InputError, match='load_model_path is r2.5d_d18_l9: no such weight file'):
        Model.load(Place('r2.5d_d18_l9'))


def test_old_readers_find_the_blobs():
    blobs, card, _ = read_weights(SAMPLE)
    assert card['num_labels'] == '8'
    assert list(blobs) == list(parameter_shapes(Model.load(SAMPLE).network))
