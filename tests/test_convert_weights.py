"""Weights of one kind of file as another, by the tool as a user runs it and by what it calls."""

import dataclasses
import itertools
import json

import numpy as np
import pytest

from conftest import ROOT
from onnx_models import parameters_of
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network
from r2plus1d.results.hold import HeldError, holding
from r2plus1d.weights import files, safetensors_file, torch_file
from r2plus1d.weights.convert import convert
from r2plus1d.weights.state_dict import to_state_dict
from r2plus1d.weights.stored import open_weights
from tool_here import run_here
from torch_entries import GOLDEN_NAMES, assert_same, golden_entries

TOOL = 'tools/convert_weights.py'
SMALL = Network('r2plus1d', 10, clip_length=8, num_labels=5, width=0.125)
NAMES = ('clap', 'wave', 'run', 'jump', 'müde')
MODELS = {
    'small': Model(SMALL, Input(length=8, rate=2), parameters_of(SMALL), NAMES),
    'torchvision': Model(
        network := Network('mc3', 10, num_labels=5, width=0.0625, bn_epsilon=1e-5),
        Input(), parameters_of(network),
    ),
    'flow': Model(
        network := Network('r3d', 10, 8, num_channels=2, num_labels=5, width=0.0625),
        Input(length=8, flow=FlowSettings(gap=1)), parameters_of(network),
    ),
    'c3d': Model(
        network := Network('c3d', num_labels=5, width=0.03, multi_label=True),
        Input(), parameters_of(network),
    ),
    'named': Model(
        network := Network('r2df', 10, 8, num_labels=5, width=0.0625, pred_layer_name='mine'),
        Input(length=8), parameters_of(network),
    ),
}  # fmt: skip
KINDS = ('.pkl', '.mdl', '.pth', '.safetensors', '.onnx', '')


def same(found, expected):
    assert found.network == expected.network
    assert found.input == expected.input
    assert found.class_names == expected.class_names
    assert_same(found.parameters, expected.parameters)


@pytest.mark.parametrize('name', MODELS)
def test_a_model_is_saved_as_every_kind_and_loaded(tmp_path, name):
    model = MODELS[name]
    for suffix in (kind for kind in KINDS if kind != '.onnx'):
        model.save(tmp_path / f'x{suffix}')
        same(Model.load(tmp_path / f'x{suffix}'), model)


@pytest.mark.parametrize('name', ['small', 'c3d'])
@pytest.mark.parametrize(
    ('first', 'second'),
    [*itertools.permutations(['.pkl', '.pth', '.onnx', ''], 2), ('.mdl', '.pth')],
)
def test_each_kind_becomes_each_other_and_comes_back(tmp_path, name, first, second):
    model = MODELS[name]
    model.save(tmp_path / 'begin.pkl')
    one, other, back = (
        tmp_path / f'{n}{s}' for n, s in (('1', first), ('2', second), ('3', first))
    )
    for source, target in ((tmp_path / 'begin.pkl', one), (one, other), (other, back)):
        made = convert(source, target)
        assert made.network == model.network
        assert made.arrays == len(model.parameters)
    for path, copy in zip(sorted([one, *one.rglob('*')]), sorted([back, *back.rglob('*')])):
        assert path.is_dir() or path.read_bytes() == copy.read_bytes()
    convert(back, tmp_path / 'end.pkl')
    same(Model.load(tmp_path / 'end.pkl'), model)


@pytest.mark.parametrize('name', GOLDEN_NAMES)
def test_torchvisions_files_there_and_back(golden, tmp_path, name):
    entries = golden_entries(golden, name)
    torch_file.write(tmp_path / 'in.pth', entries)
    steps = ['in.pth', 'a.pkl', 'b.safetensors', 'c.mdl', 'd.pth']
    for source, target in zip(steps, steps[1:]):
        convert(tmp_path / source, tmp_path / target)
    back = torch_file.read(tmp_path / 'd.pth').content
    counted = {entry: array for entry, array in entries.items() if array.ndim}
    assert list(back) == list(entries)
    assert_same({entry: back[entry] for entry in counted}, counted)
    stored = open_weights(tmp_path / 'd.pth')
    assert stored.network['bn_epsilon'] == 1e-5
    assert 'clip_length' not in stored.network


def test_what_nobody_says_stays_unsaid(tmp_path):
    entries = to_state_dict(SMALL, parameters_of(SMALL))
    torch_file.write(tmp_path / 'in.pth', {f'module.{name}': a for name, a in entries.items()})
    made = convert(tmp_path / 'in.pth', tmp_path / 'out.pkl')
    assert not made.has_length
    with pytest.raises(InputError, match='does not say how long its clips are: give length'):
        Model.load(tmp_path / 'out.pkl')
    assert Model.load(tmp_path / 'out.pkl', length=8).network == SMALL
    with pytest.raises(InputError, match=r'out\.onnx: an \.onnx file says how long'):
        convert(tmp_path / 'in.pth', tmp_path / 'out.onnx')
    convert(tmp_path / 'in.pth', tmp_path / 'out', length=8, class_names=NAMES)
    assert Model.load(tmp_path / 'out').class_names == NAMES
    with pytest.raises(InputError, match='clip_length is 16, and .* is of 8'):
        convert(tmp_path / 'out', tmp_path / 'again.pkl', length=16)


def test_an_epsilon_that_is_given_is_kept(tmp_path):
    network = Network('r3d', 10, 8, num_labels=5, width=0.0625)
    torch_file.write(tmp_path / 'in.pth', to_state_dict(network, parameters_of(network)))
    for given, kept in ((None, 1e-5), (1e-3, 1e-3)):
        for target in ('a.pkl', 'b.pth', 'c.safetensors'):
            convert(tmp_path / 'in.pth', tmp_path / target, bn_epsilon=given)
            assert Model.load(tmp_path / target, length=8).network.bn_epsilon == kept


def test_a_pickle_of_pytorchs_names_is_read(tmp_path):
    files.save_pickle(tmp_path / 'x.pkl', to_state_dict(SMALL, parameters_of(SMALL)))
    same(
        Model.load(tmp_path / 'x.pkl', length=8),
        Model(SMALL, Input(length=8), parameters_of(SMALL)),
    )


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'layer1.1.conv1.0.0.weight': np.zeros((1, 1, 1, 3, 3))},
            'of no network that is known here',
        ),
        ({'fc.weight': np.zeros((5, 3))}, 'misshapen .*last_out_L5_w is 5x3, not 5x64'),
        ({'fc.bias': None}, 'the last layer, fc, has no bias'),
        ({'stem.4.running_var': None}, 'missing'),
        ({'stem.0.weight': np.full((6, 3, 1, 7, 7), np.nan)}, 'NaN or infinite values'),
        ({'pred_logit.weight': np.zeros(5)}, 'pred_logit_w are not in r2plus1d|missing'),
        ({'neck.weight': np.zeros(5)}, 'neck.weight: no entries of a network'),
        (
            {'cls_head.fc_cls.weight': np.zeros((5, 64))},
            'fc and cls_head.fc_cls are both the layer fc',
        ),
    ],
)
def test_entries_are_used_once_or_refused(tmp_path, change, message):
    entries = {**to_state_dict(SMALL, parameters_of(SMALL)), **change}
    kept = {name: np.float32(array) for name, array in entries.items() if array is not None}
    torch_file.write(tmp_path / 'in.pth', kept)
    with pytest.raises(InputError, match=message) as caught:
        convert(tmp_path / 'in.pth', tmp_path / 'out.pkl')
    assert 'in.pth' in str(caught.value)
    assert not (tmp_path / 'out.pkl').exists()


def test_onnx_files_that_have_lost_their_parameters_are_refused(tmp_path):
    from r2plus1d.weights import onnx_file

    model = onnx_file.export(SMALL, parameters_of(SMALL), ['softmax'])
    onnx_file.save(model, tmp_path / 'folded.onnx')
    with pytest.raises(InputError, match='batch norms are folded'):
        convert(tmp_path / 'folded.onnx', tmp_path / 'x.pkl')
    part = onnx_file.export(SMALL, parameters_of(SMALL), ['final_avg'], fold_batch_norm=False)
    onnx_file.save(part, tmp_path / 'part.onnx')
    with pytest.raises(InputError, match=r'part\.onnx .*missing .*last_out_L5'):
        convert(tmp_path / 'part.onnx', tmp_path / 'x.pkl')


def test_the_tool(tmp_path):
    sample = 'data/sample/r2plus1d_18_8_w0.125.pkl'
    made = run_here(TOOL, ROOT / sample, tmp_path / 'a.pth')
    assert (made.returncode, made.stderr) == (0, '')
    assert made.stdout == f'r2plus1d, depth 18: 187 arrays in {tmp_path}/a.pth\n'
    again = run_here(TOOL, ROOT / sample, tmp_path / 'a.pth')
    assert again.returncode == 1
    assert 'is there already; --overwrite=1 replaces it' in again.stderr
    back = run_here(TOOL, '--overwrite=1', tmp_path / 'a.pth', tmp_path / 'b.pkl')
    assert back.returncode == 0
    same(Model.load(tmp_path / 'b.pkl'), Model.load(ROOT / sample))
    odd = run_here(TOOL, tmp_path / 'a.pth', tmp_path / 'b.txt')
    assert odd.returncode == 1
    assert 'b.txt ends in none of .pkl, .mdl, .pth, .safetensors, .onnx' in odd.stderr
    assert run_here(TOOL, tmp_path / 'a.pth').returncode == 2
    (tmp_path / 'names.txt').write_text('one\ntwo\n')
    few = run_here(TOOL, '--labels', tmp_path / 'names.txt', tmp_path / 'a.pth', tmp_path / 'c.pkl')
    assert few.returncode == 1
    assert 'labels name 2 classes; num_labels is 8' in few.stderr
    assert not (tmp_path / 'c.pkl').exists()


def test_the_other_tools_take_the_files(tmp_path):
    sample = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
    for name in ('a.pth', 'b.safetensors', 'folder'):
        convert(sample, tmp_path / name)
        exported = run_here(
            'tools/export_onnx.py', f'--load_model_path={tmp_path / name}',
            f'--output={tmp_path / "x.onnx"}', '--overwrite=1',
        )  # fmt: skip
        assert exported.returncode == 0, exported.stderr
        assert 'r2plus1d_18_8_w0.125' in exported.stdout


def test_the_folder(tmp_path):
    folder = tmp_path / 'deep' / 'model'
    MODELS['small'].save(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        'README.md', 'config.json', 'model.safetensors', 'preprocessor_config.json',
    ]  # fmt: skip
    config = json.loads((folder / 'config.json').read_text('utf-8'))
    assert config['id2label'] == {str(n): name for n, name in enumerate(NAMES)}
    shown = json.loads((folder / 'preprocessor_config.json').read_text())
    assert shown['crop_size'] == {'height': 112, 'width': 112}
    assert (shown['num_frames'], shown['frame_sample_rate']) == (8, 2)
    assert abs(shown['image_mean'][0] - 0.43216) < 1e-5
    same(Model.load(folder / 'model.safetensors'), MODELS['small'])
    with pytest.raises(InputError, match='is there already; name a folder that is not'):
        MODELS['small'].save(folder)
    assert [path.name for path in folder.parent.iterdir()] == ['model']


@pytest.mark.parametrize(
    ('name', 'change', 'message'),
    [
        ('config.json', '{', r'config\.json is no settings in JSON'),
        ('config.json', '[]', 'no object'),
        ('config.json', {'network': 3}, 'network is no object'),
        ('config.json', {'network': {}, 'input': {}, 'id2label': {}}, 'length'),
        ('config.json', {'network': {'bn_eps': 0.1}}, 'config.json: bn_eps is nothing that is'),
        (
            'config.json',
            {'network': {'clip_length': 8}},
            'config.json: .* not among the meta',
        ),
        ('config.json', {'id2label': {'0': 'a', '2': 'b'}}, 'does not name classes 0 to 1'),
        ('config.json', {'id2label': {'0': 'a'}}, 'labels name 1 classes; num_labels is 5'),
        ('config.json', {'id2label': {str(n): 'a\n' for n in range(5)}}, 'plain'),
        (
            'preprocessor_config.json',
            {'num_frames': 16},
            'num_frames is 16, and config.json says 8',
        ),
        ('preprocessor_config.json', {'image_mean': [0.5] * 3}, 'image_mean is'),
    ],
)
def test_a_folder_that_contradicts_itself(tmp_path, name, change, message):
    MODELS['small'].save(tmp_path / 'x')
    path = tmp_path / 'x' / name
    before = json.loads(path.read_text('utf-8'))
    path.write_text(change if isinstance(change, str) else json.dumps({**before, **change}))
    with pytest.raises(InputError, match=message):
        Model.load(tmp_path / 'x')


def test_settings_beside_weights_that_say_otherwise_are_refused(tmp_path):
    MODELS['small'].save(tmp_path / 'x')
    changed = dataclasses.replace(MODELS['small'].network, bn_epsilon=0.01)
    dataclasses.replace(MODELS['small'], network=changed).save(tmp_path / 'x' / 'model.safetensors')
    with pytest.raises(InputError, match='says bn_epsilon 0.01, and config.json beside it 0.001'):
        Model.load(tmp_path / 'x')
    MODELS['small'].save(tmp_path / 'x' / 'model.safetensors')
    same(Model.load(tmp_path / 'x'), MODELS['small'])


def test_where_no_folder_can_be_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for place in ('.', 'new/..'):
        with pytest.raises(InputError, match='is the current folder; name one'):
            MODELS['small'].save(place)
    (tmp_path / 'empty').mkdir()
    weights = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
    assert run_here(TOOL, weights, 'empty').returncode == 0
    for flags in ((), ('--overwrite=1',)):
        refused = run_here(TOOL, *flags, weights, 'empty')
        assert refused.stderr == (
            'convert_weights.py: empty is there already; name a folder that is not\n'
        )


def test_two_processes_do_not_write_one_file(tmp_path):
    with holding(tmp_path / 'x.pkl'), pytest.raises(HeldError, match=r'x\.pkl is being written by'):
        MODELS['small'].save(tmp_path / 'x.pkl')


def test_a_folder_of_another_program(tmp_path):
    """Only names of classes beside the weights, as other programs write them."""
    folder = tmp_path / 'x'
    folder.mkdir()
    entries = to_state_dict(SMALL, parameters_of(SMALL))
    safetensors_file.write(folder / 'model.safetensors', entries, {'format': 'pt'})
    labels = {'id2label': {str(n): name for n, name in enumerate(NAMES)}, 'model_type': 'other'}
    (folder / 'config.json').write_text(json.dumps(labels))
    model = Model.load(folder, length=8)
    same(model, Model(SMALL, Input(length=8), parameters_of(SMALL), NAMES))


def test_a_folder_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('r2plus1d.weights.model_folder._readme', fail)
    with pytest.raises(OSError, match='No space'):
        MODELS['small'].save(tmp_path / 'x')
    assert list(tmp_path.iterdir()) == []


# What weights leave open


def test_a_pool_that_weights_do_not_show_is_asked_for_and_kept(tmp_path):
    network = Network(
        'ir-csn', 50, clip_length=8, crop_size=224, num_labels=5, width=0.0625, use_pool1=True
    )
    source, target = tmp_path / 'csn.pkl', tmp_path / 'csn.safetensors'
    files.save_pickle(source, parameters_of(network))
    done = run_here(TOOL, source, target, '--clip_length=8')
    assert (done.returncode, target.exists()) == (1, False)
    assert 'csn.pkl does not say whether its network has a pool1: give use_pool1' in done.stderr
    done = run_here(TOOL, source, target, '--clip_length=8', '--use_pool1=1')
    assert done.returncode == 0, done.stderr
    assert open_weights(target).network['use_pool1'] is True
    assert run_here(TOOL, target, tmp_path / 'back.pkl').returncode == 0
    assert_same(open_weights(tmp_path / 'back.pkl').blobs, parameters_of(network))


def test_of_two_layers_that_may_be_the_last_one_is_chosen(tmp_path):
    other = {'last_out_L7_w': np.ones((7, 64), np.float32), 'last_out_L7_b': np.ones(7, np.float32)}
    source, target = tmp_path / 'two.pkl', tmp_path / 'one.pth'
    files.save_pickle(source, {**parameters_of(SMALL), **other})
    done = run_here(TOOL, source, target, '--clip_length=8')
    assert (done.returncode, target.exists()) == (1, False)
    assert 'last_out_L5' in done.stderr and 'last_out_L7' in done.stderr
    done = run_here(TOOL, source, target, '--clip_length=8', '--num_labels=5')
    assert done.returncode == 0, done.stderr
    assert open_weights(target).network['num_labels'] == 5
