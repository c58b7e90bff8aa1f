"""The class names that come with the package, and where they are used by default."""

import csv
import dataclasses
import pathlib
import pickle
import shutil
import subprocess
import sys

import pytest

import r2plus1d
from conftest import ROOT
from r2plus1d.errors import InputError
from r2plus1d.evaluation.predictions import require_names
from r2plus1d.features.publish import FeatureOutput
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.published import PUBLISHED
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.known_classes import COUNTS, FOLDER, KINETICS, known_names
from r2plus1d.weights import stored
from r2plus1d.weights.download import network_of

SHARED = ROOT.parent / 'shared' / 'labels'
FILES = {
    'kinetics400': 'kinetics400_labels.txt',
    'hmdb51': 'hmdb51_labels.txt',
    'ucf101': 'ucf101_labels.txt',
    'sports1m': 'sports1m_487_labels.txt',
}
NAME = 'r2d_d18_l8'


@pytest.fixture(scope='module')
def published_weights(tmp_path_factory):
    """Random weights under the name of a published file, and the same under another name."""
    folder = tmp_path_factory.mktemp('weights')
    parameters = random_parameters(network_of(PUBLISHED[NAME]), seed=0)
    data = pickle.dumps({'blobs': parameters}, 2)
    for name in (NAME, 'mine'):
        (folder / f'{name}.pkl').write_bytes(data)
    return folder


def rows_of(path):
    with path.open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize('name', COUNTS)
def test_a_list_has_a_name_for_each_class(name):
    names = known_names(name)
    assert len(names) == len(set(names)) == COUNTS[name]
    assert all(text == text.strip() and text.isprintable() for text in names)
    assert read_class_names(name, COUNTS[name]) == names
    with pytest.raises(InputError, match=f'{name} names {COUNTS[name]} classes; num_labels is 8'):
        read_class_names(name, 8)


@pytest.mark.parametrize('name', COUNTS)
def test_a_list_is_the_data_sets_own(name):
    if not SHARED.is_dir():
        pytest.skip(f'no lists of classes at {SHARED}')
    assert (FOLDER / f'{name}.txt').read_bytes() == (SHARED / FILES[name]).read_bytes()


def test_the_dense_tools_take_a_list_by_its_name(tmp_path):
    require_names(None)
    for name in COUNTS:
        require_names(pathlib.Path(name))
    with pytest.raises(InputError, match='labels is hmdb, which is no file; .* kinetics400, hmdb'):
        require_names(pathlib.Path('hmdb'))


def test_the_lists_are_packed(tmp_path):
    """What setuptools installs has them."""
    command = [sys.executable, 'setup.py', '-q', 'build', '--build-base', tmp_path / 'build']
    command += ['egg_info', '--egg-base', tmp_path]
    shutil.copy(ROOT / 'setup.py', tmp_path)
    (tmp_path / 'lib').symlink_to(ROOT / 'lib')
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    packed = {path.stem for path in tmp_path.glob('build/lib/r2plus1d/results/classes/*.txt')}
    assert packed == set(COUNTS)


def test_alphabetical_lists_are_in_order():
    for name in ('kinetics400', 'hmdb51'):
        assert list(known_names(name)) == sorted(known_names(name), key=str.lower)


def test_a_file_of_the_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'hmdb51').write_text('mine\n')
    assert read_class_names('hmdb51', 1) == ('mine',)


def test_published_weights_have_the_names_of_kinetics(published_weights):
    found = stored.open_weights(published_weights / f'{NAME}.pkl')
    assert found.class_names == known_names(KINETICS)
    assert stored.open_weights(published_weights / 'mine.pkl').class_names is None


def test_a_head_of_other_or_nameless_classes_has_numbers():
    row = PUBLISHED[NAME]
    assert stored._names(row, {'num_labels': 400}) == known_names(KINETICS)
    assert stored._names(row, {'num_labels': 487}) is None

    @dataclasses.dataclass(frozen=True)
    class Nameless(type(row)):
        classes = None

    nameless = Nameless(**dataclasses.asdict(row))
    assert stored._names(nameless, {'num_labels': 487}) is None


def test_predictions_have_the_names(published_weights, make_database, make_video, run_tool):
    database = make_database([(make_video(40).read_bytes(), 3)])
    arguments = [f'--test_data={database}', '--clip_per_video=1', '--output=p.csv']
    for name, flags in ((NAME, []), ('mine', ['--clip_length_rgb=8'])):
        weights = published_weights / f'{name}.pkl'
        done = run_tool('tools/test_net.py', *arguments, f'--load_model_path={weights}', *flags)
        assert done.returncode == 0, done.stderr
        (row,) = rows_of(database.parent / 'p.csv')
        if name == NAME:
            assert row['label'] == 'applauding'
            assert row['top1'] in known_names(KINETICS)
        else:
            assert row['label'] == '3'
            assert row['top1'].isdigit()


def test_rows_of_features_name_the_best_class(published_weights, make_video, run_tool, tmp_path):
    weights = published_weights / f'{NAME}.pkl'
    flags = [f'--videos={make_video(40)}', f'--load_model_path={weights}', '--stride=16']
    outputs = {}
    for blobs in ('softmax,final_avg', 'final_avg'):
        done = run_tool(
            'tools/extract_features.py', *flags, f'--features={blobs}', '--output_path=f.pkl',
            '--overwrite=1',
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        outputs[blobs] = rows_of(tmp_path / 'f.rows.csv')
        if 'softmax' in blobs:
            softmax = pickle.loads((tmp_path / 'f.pkl').read_bytes(), encoding='latin1')['softmax']
    assert 'top1' not in outputs['final_avg'][0]
    assert len(softmax) == 3
    best = [known_names(KINETICS)[c] for c in softmax.argmax(axis=1)]
    assert [row['top1'] for row in outputs['softmax,final_avg']] == best
    values = [float(row['probability1']) for row in outputs['softmax,final_avg']]
    assert values == pytest.approx(softmax.max(axis=1), abs=1e-6)


@pytest.mark.parametrize('has_failure', [False, True])
def test_a_run_that_ended_before_its_folder_was_put_in_place_has_the_classes(
    published_weights, make_video, tmp_path, monkeypatch, has_failure
):
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    bad = [tmp_path / 'bad.mp4'] if has_failure else []
    places = [make_video(40), *bad, make_video(44)]
    model = r2plus1d.load(published_weights / f'{NAME}.pkl')

    def extract(name):
        return r2plus1d.extract(model, places, tmp_path / name, features='softmax')

    extract('whole')
    publish = FeatureOutput._publish_folder
    monkeypatch.setattr(FeatureOutput, '_publish_folder', lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extract('again')
    monkeypatch.setattr(FeatureOutput, '_publish_folder', publish)
    extract('again')
    for file in ('rows.csv', 'softmax.npy'):
        assert (tmp_path / 'again' / file).read_bytes() == (tmp_path / 'whole' / file).read_bytes()
    assert rows_of(tmp_path / 'again' / 'rows.csv')[-1]['top1'] in known_names(KINETICS)


def test_names_that_are_given_go_before_the_weights_and_decide_the_output(
    published_weights, make_video, run_tool, tmp_path
):
    (tmp_path / 'names.txt').write_text(''.join(f'class {i}\n' for i in range(400)))
    command = [
        'tools/extract_features.py', f'--videos={make_video(40)}', '--features=softmax',
        f'--load_model_path={published_weights / NAME}.pkl', '--output_path=f.pkl',
    ]  # fmt: skip
    assert run_tool(*command, '--labels=names.txt').returncode == 0
    assert rows_of(tmp_path / 'f.rows.csv')[0]['top1'].startswith('class ')
    done = run_tool(*command)
    assert done.returncode == 1
    assert 'labels was sha256' in done.stderr
