"""The epsilon of batch norms: a setting of a network, which every engine and file keeps."""

import dataclasses

import numpy as np
import pytest

from onnx_models import assert_close, clips_of, parameters_of
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.backends.installed import has
from r2plus1d.cli import command_line, flags, from_flags
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks import graph
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.weights import card

SMALL = Network('r3d', 10, clip_length=8, num_labels=5, width=0.125)
OTHER = dataclasses.replace(SMALL, bn_epsilon=0.5)
OUTPUTS = ('last_out_L5', 'final_avg')


def parameters(epsilon_difference=0.0):
    """Parameters whose variances make up for another epsilon."""
    found = parameters_of(SMALL)
    return {
        name: array - np.float32(epsilon_difference) if name.endswith('_riv') else array
        for name, array in found.items()
    }


@pytest.mark.parametrize('engine', ['caffe2', 'openvino', 'torch'])
def test_every_engine_normalizes_with_it(engine):
    if not has(engine):
        pytest.skip(f'needs the engine {engine}')
    given = clips_of(SMALL)
    found = []
    for network, difference in ((OTHER, 0.499), (SMALL, 0.0), (OTHER, 0.0)):
        settings = EngineSettings(engine)
        with open_engine(network, devices=Devices(), outputs=OUTPUTS, settings=settings) as opened:
            opened.load(parameters(difference))
            found.append(opened.run(given))
    same, usual, different = found
    assert_close(same, usual, 1e-4)
    assert abs(different['final_avg'] - usual['final_avg']).max() > 1e-2


def test_the_graph_says_it_at_every_batch_norm():
    norms = [node for node in graph.trace(OTHER).nodes if node.kind == 'SpatialBN']
    assert norms
    assert {node.epsilon for node in norms} == {0.5}
    assert {n.epsilon for n in graph.trace(SMALL).nodes if n.kind == 'SpatialBN'} == {1e-3}


@pytest.mark.parametrize('suffix', ['.pkl', '.mdl'])
def test_a_file_keeps_it(tmp_path, suffix):
    path = tmp_path / f'model{suffix}'
    Model(OTHER, Input(length=8), parameters()).save(path)
    assert Model.load(path).network == OTHER
    with pytest.raises(InputError, match=r'bn_epsilon is 0\.001, and .* is of 0\.5'):
        Model.load(path, bn_epsilon=0.001)


def test_a_card_is_as_it_was_where_it_is_usual():
    usual = card.of_network(SMALL, batch_norm_folded=False)
    assert 'bn_epsilon' not in usual
    assert card.network_of(usual)[0] == SMALL
    assert card.network_of(card.of_network(OTHER, batch_norm_folded=False))[0] == OTHER


def test_it_is_a_flag():
    args = command_line.parse('', flags.NETWORK, argv=['--bn_epsilon=1e-5'])
    assert from_flags.network(args).bn_epsilon == 1e-5
    with pytest.raises(InputError, match=r'bn_epsilon is 1\.0; above 0, below 1'):
        Network(bn_epsilon=1.0)
