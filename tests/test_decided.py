"""A file and what is given beside it: compared in one way, by flags and by keyword arguments."""

import numpy as np
import pytest

from r2plus1d.cli import command_line, flags, from_flags, weight_flags
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import save_pickle

SMALL = Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.125)
FLOW = Network('r2plus1d', 10, clip_length=8, num_channels=2, num_labels=5, width=0.125)


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a network with a card, or its blobs alone; gives the path."""

    def save(network=SMALL, given=Input(length=8), more=None, *, card=True):  # noqa: B008
        path = tmp_path / 'x.pkl'
        parameters = random_parameters(network, 0)
        if card:
            Model(network, given, parameters).save(path)
        else:
            save_pickle(path, {**parameters, **(more or {})})
        return path

    return save


def take(path, *words):
    argv = [f'--load_model_path={path}', *words]
    args = command_line.parse('', flags.WEIGHTS, flags.NETWORK, flags.CLIPS, argv=argv)
    return args, weight_flags.take_weights(args)


BOTH = [  # field, flag, given value, the file's as the message shows it
    ({'num_labels': 9}, '--num_labels=9', 'num_labels is 9, and .* is of 5'),
    ({'rate': 4}, '--sampling_rate_rgb=4', 'rate.* is 4, and .* is of 1'),
    ({'short_edge': 130}, '--short_edge=130', 'short_edge is 130, and .* is of 128'),
    ({'flow': FlowSettings()}, '--input_type=flow', 'input_type is flow, and .* is of rgb'),
    ({'pred_layer_name': 'a'}, '--pred_layer_name=a', 'layer_name is a, and .* of last_out_L5'),
    ({'width': 0.5}, '--width=0.5', 'width is 0.5, and .* is of 0.125'),
    ({'width': 0.127}, '--width=0.127', 'width is 0.127, and .* is of 0.125'),
]


@pytest.mark.parametrize(('settings', 'flag', 'message'), BOTH)
def test_a_contradiction_is_refused(saved, settings, flag, message):
    path = saved()
    with pytest.raises(InputError, match=message):
        Model.load(path, **settings)
    with pytest.raises(InputError, match=f'{message}; leave the flag out'):
        take(path, flag)


AGREED = [
    ({'pred_layer_name': 'last_out_L5'}, '--pred_layer_name=last_out_L5'),
    ({'width': 0.1251}, '--width=0.1251'),
    ({'short_edge': 128}, '--short_edge=128'),
    ({'flow': None}, '--input_type=rgb'),
]


@pytest.mark.parametrize('card', [True, False])
@pytest.mark.parametrize(('settings', 'flag'), AGREED)
def test_what_means_the_same_is_taken(saved, settings, flag, card):
    path = saved(card=card)
    model = Model.load(path, length=8, **settings)
    assert (model.network.logits, model.input) == ('last_out_L5', Input(length=8))
    args, stored = take(path, flag, '--clip_length_rgb=8')
    network = from_flags.network(args)
    assert (network.logits, network.width) == ('last_out_L5', model.network.width)
    assert from_flags.clip_input(args) == model.input
    assert set(stored.parameters(network)) == set(model.parameters)


def test_flow_is_compared_field_by_field(saved):
    path = saved(FLOW, Input(length=8, flow=FlowSettings(gap=1, aggregate=True)))
    with pytest.raises(InputError, match='flow.gap is 2, and .* is of 1'):
        Model.load(path, flow=FlowSettings(gap=2, aggregate=True))
    with pytest.raises(InputError, match='frame_gap_of is 2, and .* is of 1; leave the flag out'):
        take(path, '--frame_gap_of=2')
    args, _ = take(path, '--frame_gap_of=1')
    assert from_flags.clip_input(args).flow == FlowSettings(gap=1, aggregate=True)


def test_two_channels_are_a_flow(saved):
    path = saved(FLOW, card=False)
    with pytest.raises(InputError, match='input_type is rgb, and .* is of flow'):
        take(path, '--input_type=rgb', '--clip_length_rgb=8')
    with pytest.raises(InputError, match='flow.data_type is xy_rgb, and .* is of xy'):
        Model.load(path, length=8, flow=FlowSettings(data_type='xy_rgb'))


SECOND_HEAD = {'fc9_w': np.ones((7, 64), np.float32), 'fc9_b': np.ones(7, np.float32)}
SAME_LABELS = {'fc9_w': np.ones((5, 64), np.float32), 'fc9_b': np.ones(5, np.float32)}


def test_two_layers_that_may_be_the_last_are_named(saved):
    path = saved(more=SECOND_HEAD, card=False)
    layers = r'last_out_L5 \(5 labels\), fc9 \(7 labels\)'
    with pytest.raises(InputError, match=f'{layers}; give num_labels or pred_layer_name'):
        Model.load(path, length=8)
    with pytest.raises(InputError, match=f'{layers}; give --num_labels or --pred_layer_name'):
        take(path, '--clip_length_rgb=8')
    with pytest.raises(InputError, match=layers):
        Model.load(path, length=8, num_labels=101)
    path = saved(more=SAME_LABELS, card=False)
    with pytest.raises(InputError, match=r'last_out_L5 \(5 labels\), fc9 \(5 labels\)'):
        Model.load(path, length=8, num_labels=5)


@pytest.mark.parametrize(
    ('settings', 'expected'),
    [
        ({'num_labels': 7}, ('fc9', 7)),
        ({'pred_layer_name': 'fc9'}, ('fc9', 7)),
        ({'num_labels': 5}, ('last_out_L5', 5)),
        ({'pred_layer_name': 'last_out_L5'}, ('last_out_L5', 5)),
    ],
)
def test_what_is_given_chooses_the_last_layer(saved, settings, expected):
    path = saved(more=SECOND_HEAD, card=False)
    network = Model.load(path, length=8, **settings).network
    assert (network.logits, network.num_labels) == expected
    args, _ = take(path, '--clip_length_rgb=8', *(f'--{n}={v}' for n, v in settings.items()))
    by_flags = from_flags.network(args)
    assert (by_flags.logits, by_flags.num_labels) == expected


def test_a_layer_may_be_called_after_other_labels(saved):
    network = Network(
        'r3d', 10, clip_length=8, num_labels=5, width=0.125, pred_layer_name='last_out_L400'
    )
    assert Model.load(saved(network, card=False), length=8).network == network
