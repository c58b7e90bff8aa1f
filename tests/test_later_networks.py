"""The later networks from weights to scores: pool1, convolutional prediction and larger crops."""

import dataclasses
import re

import numpy as np
import pytest

from conftest import ROOT
from onnx_models import clips_of, parameters_of
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.backends.installed import has
from r2plus1d.cli import command_line, flags, from_flags, weight_flags
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network, require_trainable
from r2plus1d.networks.published import HEADS, LATER, PUBLISHED
from r2plus1d.training.start import fine_tune
from r2plus1d.weights import download
from r2plus1d.weights.card import of_network
from r2plus1d.weights.files import save_minidb, save_pickle
from r2plus1d.weights.stored import open_weights

CSN = Network('ir-csn', 50, clip_length=8, crop_size=224, num_labels=5, width=0.125, use_pool1=True)
CONVOLUTIONAL = Network(
    'ir-csn', 50, clip_length=8, crop_size=256, num_labels=5, width=0.125, use_pool1=True,
    use_convolutional_pred=True,
)  # fmt: skip
CSN_INPUT = Input(
    length=32, rate=2, video_res_type='short_edge', scale_w=342, scale_h=256, short_edge=256,
    crop_size=224,
)  # fmt: skip
SIZES = {'crop_size': 224, 'video_res_type': 'short_edge', 'short_edge': 256}
NARROW = 0.125
ENGINES = [name for name in ('caffe2', 'openvino', 'torch') if has(name)]


def options(*argv):
    """A tool's options, after the weights have decided what they decide."""
    args = command_line.parse('', flags.WEIGHTS, flags.NETWORK, flags.CLIPS, argv=argv)
    weight_flags.take_weights(args)
    return args


# Convolutional prediction


@pytest.mark.parametrize('engine', ENGINES)
def test_softmax_is_over_classes_and_places_together(engine):
    outputs = ('last_out_L5', 'softmax_unreduced', 'softmax')
    parameters, clips = parameters_of(CONVOLUTIONAL), clips_of(CONVOLUTIONAL)
    scale = np.abs(parameters['last_out_L5_w']).max() * 100  # or one class takes all
    parameters['last_out_L5_w'] /= scale
    with open_engine(
        CONVOLUTIONAL, devices=Devices(), outputs=outputs, settings=EngineSettings(engine)
    ) as opened:
        opened.load(parameters)
        found = opened.run(clips)
        alone = opened.run(clips[1:])
    logits = found['last_out_L5'].astype(np.float64)
    assert logits.shape == (2, 5, 1, 2, 2)
    exponentials = np.exp(logits - logits.max(axis=(1, 2, 3, 4), keepdims=True))
    expected = exponentials / exponentials.sum(axis=(1, 2, 3, 4), keepdims=True)
    assert 0 < expected.min() < expected.max() < 0.9
    np.testing.assert_allclose(found['softmax_unreduced'], expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found['softmax'], expected.mean(axis=(2, 3, 4)), rtol=1e-4)
    np.testing.assert_allclose(found['softmax'].sum(axis=1), 1 / 4, rtol=1e-5)
    np.testing.assert_array_equal(alone['softmax'], found['softmax'][1:])


@pytest.mark.parametrize('engine', ENGINES)
def test_with_one_place_it_equals_the_fully_connected_layer(engine, tmp_path):
    save_pickle(tmp_path / 'w.pkl', parameters_of(CSN))
    clips, found = clips_of(CSN), []
    for convolutional in (False, True):
        model = Model.load(
            tmp_path / 'w.pkl', length=8, use_pool1=True, use_convolutional_pred=convolutional,
            **SIZES,
        )  # fmt: skip
        assert model.network.use_convolutional_pred is convolutional
        with open_engine(
            model.network,
            devices=Devices(),
            outputs=('softmax', 'last_out_L5'),
            settings=EngineSettings(engine),
        ) as opened:
            opened.load(model.parameters)
            found.append(opened.run(clips))
    for name, plain in found[0].items():
        np.testing.assert_allclose(
            found[1][name].reshape(plain.shape), plain, rtol=1e-4, atol=1e-4 * np.abs(plain).max()
        )


def test_it_cannot_be_trained():
    with pytest.raises(InputError, match='use_convolutional_pred is 1, which has no loss; train'):
        require_trainable(CONVOLUTIONAL)
    require_trainable(CSN)
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    from r2plus1d.backends.caffe2.schema import schema

    with pytest.raises(InputError, match='crop_size of 112 or 224: the weights fit both'):
        schema(CONVOLUTIONAL, training=True)


@pytest.mark.parametrize('name', ['ir-csn', 'ip-csn', 'r3d'])
def test_a_step_of_training_moves_every_weight(name):
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    from training_nets import open_net
    from training_nets import parameters_of as state_of

    network = Network(name, 50, clip_length=8, num_labels=3, width=0.0625)
    rng = np.random.default_rng(0)
    data = rng.standard_normal((2, *network.data_shape), np.float32)
    with open_net(network=network) as net:
        before = {n: array.copy() for n, array in state_of(net).items() if n.endswith('_w')}
        assert all(array.any() for array in before.values())
        net.step(data, np.array([0, 1], np.int32), 0.01)
        after = {n: array for n, array in state_of(net).items() if n in before}
    for blob, array in after.items():
        assert np.isfinite(array).all(), blob
        assert not np.array_equal(array, before[blob]), blob


def test_memory_is_of_one_clip_at_a_time(monkeypatch):
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    from r2plus1d.backends.caffe2 import engine as module

    normalized = []
    original = module.normalize_rgb
    monkeypatch.setattr(
        module, 'normalize_rgb', lambda pixels: normalized.append(len(pixels)) or original(pixels)
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, *CONVOLUTIONAL.data_shape), np.uint8)
    with open_engine(CONVOLUTIONAL, devices=Devices(), outputs=('softmax',)) as opened:
        opened.load(parameters_of(CONVOLUTIONAL))
        opened.run(pixels)
    assert normalized == [1, 1, 1]
    large = dataclasses.replace(CONVOLUTIONAL, clip_length=32)
    assert [module.clips_a_run(large, kind) for kind in ('cpu', 'gpu')] == [1, 3]
    assert module.clips_a_run(Network(clip_length=8), 'gpu') == 64


# What weights say, and what they leave open


@pytest.mark.parametrize('save', [save_pickle, save_minidb])
def test_a_card_says_it(tmp_path, save):
    path = tmp_path / 'w'
    save(
        path,
        random_parameters(CONVOLUTIONAL, 0),
        of_network(CONVOLUTIONAL, batch_norm_folded=False),
    )
    sizes = ('--video_res_type=1', '--scale_h=256', '--scale_w=342')
    args = options(f'--load_model_path={path}', *sizes)
    network = from_flags.network(args)
    assert (network.use_pool1, network.use_convolutional_pred, network.crop_size) == (
        True,
        True,
        256,
    )
    args = options(f'--load_model_path={path}', '--use_convolutional_pred=0', '--crop_size=224')
    network = from_flags.network(args)
    assert (network.use_convolutional_pred, network.crop_size) == (False, 224)
    stored = open_weights(path)
    assert stored.parameters(network)['last_out_L5_w'].shape == (5, 256)
    with pytest.raises(InputError, match=r'crop_size is 224, and .*w is of 256'):
        options(f'--load_model_path={path}', '--crop_size=224')
    with pytest.raises(InputError, match=r'use_pool1 is .*, and .*w is of '):
        options(f'--load_model_path={path}', '--use_pool1=0')


def test_cards_of_older_networks_have_not_changed():
    card = of_network(Network('r2plus1d', 18), batch_norm_folded=False)
    assert not {'use_pool1', 'use_convolutional_pred'} & set(card)
    card = of_network(CONVOLUTIONAL, batch_norm_folded=False)
    assert (card['use_pool1'], card['use_convolutional_pred']) == ('1', '1')


def test_weights_alone_do_not_say_whether_there_is_a_pool1(tmp_path):
    path = tmp_path / 'w.pkl'
    save_pickle(path, random_parameters(CSN, 0))
    message = r'w\.pkl does not say whether its network has a pool1: give use_pool1, .* ir-csn$'
    with pytest.raises(InputError, match=message):
        options(f'--load_model_path={path}', '--clip_length_rgb=8')
    with pytest.raises(InputError, match=message):
        Model.load(path, length=8)
    args = options(f'--load_model_path={path}', '--clip_length_rgb=8', '--use_pool1=1',
                   '--crop_size=224')  # fmt: skip
    assert from_flags.network(args) == CSN
    assert Model.load(path, length=8, use_pool1=True, **SIZES).network == CSN


@pytest.mark.parametrize('row', LATER + HEADS, ids=lambda row: row.name)
def test_the_name_of_a_later_file_says_what_it_is_given(tmp_path, row):
    network = dataclasses.replace(download.network_of(row, num_labels=359), width=NARROW)
    path = tmp_path / f'{row.file}.pkl'
    save_pickle(path, random_parameters(network, 0))
    stored = open_weights(path)
    is_csn = 'CSN' in row.name
    expected = CSN_INPUT if is_csn else Input(length=row.clip_length)
    assert stored.input == expected
    model = Model.load(path)
    assert (model.network, model.input) == (network, expected)
    assert model.network.use_pool1 is is_csn


def test_published_weights_with_the_published_crops(tmp_path):
    row = PUBLISHED['irCSN_152_ft_kinetics_from_ig65m']
    path = tmp_path / f'{row.file}.pkl'
    narrow = dataclasses.replace(download.network_of(row), width=NARROW)
    save_pickle(path, random_parameters(narrow, 0))
    features = from_flags.network(options(f'--load_model_path={path}'))
    assert (features.crop_size, features.use_convolutional_pred) == (224, False)
    args = options(f'--load_model_path={path}', '--use_convolutional_pred=1', '--crop_size=256')
    network, given = from_flags.network(args), from_flags.clip_input(args)
    assert network == dataclasses.replace(download.cost_network_of(row), width=NARROW)
    assert (given.crop_size, given.short_edge, given.rate) == (256, 256, 2)
    args = options(
        f'--load_model_path={path}', '--use_convolutional_pred=1', '--crop_size=320',
        '--scale_h=320', '--scale_w=427',
    )  # fmt: skip
    assert (from_flags.clip_input(args).short_edge, from_flags.network(args).crop_size) == (
        320,
        320,
    )
    with pytest.raises(InputError, match='crop_size is 320, larger than frames resized to 256'):
        options(f'--load_model_path={path}', '--use_convolutional_pred=1', '--crop_size=320')
    with pytest.raises(InputError, match=r'sampling_rate_rgb is 1, and .* is of 2'):
        options(f'--load_model_path={path}', '--sampling_rate_rgb=1')


@pytest.mark.parametrize('labels', [359, 487])
def test_heads_of_other_classes_are_fine_tuned(labels, caplog):
    caplog.set_level('INFO')
    source = Network(**{**vars(CSN), 'num_labels': labels})
    taken = fine_tune(random_parameters(source, 0), CSN, source='w.pkl')
    missing = set(parameter_shapes(CSN)) - set(taken)
    assert missing == {'last_out_L5_w', 'last_out_L5_b'}
    assert '2 blobs fresh: last_out_L5_w, last_out_L5_b' in caplog.text


# The tools


def test_thirty_crops_are_scored(run_tool, make_video, make_database, tmp_path):
    """As scripts/test_ircsn_kinetics.sh runs it, on videos of this test."""
    save_pickle(tmp_path / 'w.pkl', parameters_of(CSN), of_network(CSN, batch_norm_folded=False))
    records = [(make_video(30 + i, seed=i).read_bytes(), i % 5) for i in range(2)]
    script = (ROOT / 'scripts' / 'test_ircsn_kinetics.sh').read_text()
    recipe = re.findall(r'^    (--(?:use|crop_s|video_res|scale|sampling)\w+=\d+) \\$', script,
                        re.MULTILINE)  # fmt: skip
    assert len(recipe) == 7
    done = run_tool(
        'tools/test_net.py', f'--test_data={make_database(records)}',
        f'--load_model_path={tmp_path / "w.pkl"}', *recipe, '--clip_per_video=10',
        '--crop_per_clip=3', '--batch_size=1', f'--output={tmp_path / "p.csv"}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('videos: 2, scored: 2, failed: 0\n')
    rows = (tmp_path / 'p.csv').read_text().splitlines()
    assert [row.rpartition(',')[2] for row in rows] == ['clips', '30', '30']


def test_show_net_of_a_later_network(run_tool):
    done = run_tool(
        'tools/show_net.py', '--model_name=ir-csn', '--model_depth=152', '--clip_length_rgb=32',
        '--num_labels=400', '--use_pool1=1', '--use_convolutional_pred=1', '--crop_size=256',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == 'FLOPs: 96.716, params: 29.552'
    assert lines[-2].split() == ['softmax', 'ReduceBackMean', '400']
    assert lines[-3].split() == ['softmax_unreduced', 'Softmax', '400x1x2x2']
