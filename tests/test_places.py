"""Outputs that would take the place of inputs or of each other are refused at once."""

import subprocess
import sys

import pytest

from r2plus1d.cli import flag_types, places
from r2plus1d.errors import InputError
from tool_here import run_here


@pytest.fixture
def there(tmp_path, monkeypatch):
    """A folder with a video, weights and a database, none of which is looked into."""
    (tmp_path / 'db').mkdir()
    (tmp_path / 'in').mkdir()
    for name in ('own.mp4', 'in/a.mp4', 'own.pkl', 'db/data.mdb', 'list.txt'):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / 'link.mp4').symlink_to('own.mp4')
    monkeypatch.chdir(tmp_path)
    return tmp_path


LOAD, DATABASE = '--load_model_path=own.pkl', '--test_data=db'


@pytest.mark.parametrize(
    ('tool', 'words', 'message'),
    [
        ('predict', ['own.mp4', LOAD, '--output=own.mp4'], 'output is own.mp4, which videos names'),
        ('predict', ['link.mp4', LOAD, '--output=own.mp4'], 'output is own.mp4, which videos na'),
        ('predict', ['in', LOAD, '--output=in/a.mp4'], 'output is in/a.mp4, which videos names'),
        ('predict', ['list.txt', LOAD, '--output=list.txt'], 'list.txt, which videos names'),
        ('predict', ['own.mp4', LOAD, '--failures=own.mp4'], 'failures is own.mp4, which videos'),
        ('predict', ['own.mp4', LOAD, '--output=own.pkl'], 'which load_model_path names; name an'),
        (
            'predict',
            ['own.mp4', LOAD, '--output=s', '--failures=s'],
            'output and failures are both',
        ),
        ('predict', ['own.mp4', LOAD, '--output=a.mp4', '--annotate=a.mp4'], 'are both a.mp4'),
        ('predict', ['own.mp4', LOAD, '--output=/dev/null'], '/dev/null, which is no regular file'),
        ('predict', ['own.mp4', LOAD, '--output='], 'an empty text is no path'),
        ('predict', ['', LOAD], 'an empty text is no path'),
        (
            'test_net',
            [DATABASE, LOAD, '--output=own.pkl'],
            'output is own.pkl, which load_model_pa',
        ),
        (
            'test_net',
            [DATABASE, LOAD, '--output=db/data.mdb'],
            'db/data.mdb, which test_data names',
        ),
        ('check_database', ['--videos', 'own.mp4', '--output=own.mp4'], 'which videos names'),
        (
            'extract_features',
            [DATABASE, LOAD, '--output_path=own.pkl', '--overwrite=1'],
            'output_path is own.pkl, which load_model_path names',
        ),
        (
            'train_net',
            ['--train_data=db', '--plot=db/data.mdb', '--num_labels=2'],
            'plot is db/data.mdb, which train_data names',
        ),
        (
            'train_net',
            ['--train_data=db', '--plot=new.pdf', '--num_labels=2'],
            'plot is new.pdf; its name has to end in .png',
        ),
        (
            'minidb_to_pickle',
            [LOAD, '--save_model_path=own.pkl'],
            'save_model_path is own.pkl, which load_model_path names',
        ),
    ],
)
def test_what_is_read_is_not_written(there, tool, words, message):
    before = {path: path.read_bytes() for path in there.rglob('*') if path.is_file()}
    done = run_here(f'tools/{tool}.py', *words, cwd=there)
    assert done.returncode in (1, 2)
    assert done.stdout == ''
    (line,) = done.stderr.splitlines()
    assert line.startswith(f'{tool}.py: ')
    assert message in line
    assert {path: path.read_bytes() for path in there.rglob('*') if path.is_file()} == before


@pytest.mark.parametrize(
    ('tool', 'words'),
    [
        ('train_net', ['--train_data=db', '--plot=new.png', '--num_labels=2']),
        (
            'dense_prediction_fusion',
            ['--input_dir1=a', '--input_dir2=b', '--plot=new.png', '--alpha=sweep'],
        ),
        ('show_clips', [DATABASE, '--sheet=new.png', '--clip_length_rgb=8']),
    ],
)
def test_a_plot_without_matplotlib_is_refused_before_the_work(there, monkeypatch, tool, words):
    monkeypatch.setitem(sys.modules, 'matplotlib.textpath', None)
    done = run_here(f'tools/{tool}.py', *words, cwd=there)
    assert done.returncode == 1
    assert 'need matplotlib: pip install matplotlib' in done.stderr


def test_what_draws_is_imported_where_something_is_drawn():
    code = (
        'import sys; sys.modules["matplotlib"] = None\n'
        'from r2plus1d.pictures import annotate, captions, contact_sheet, lettering'
    )
    subprocess.run([sys.executable, '-c', code], check=True)


def test_new_files_beside_inputs_are_well(there):
    options = {
        'videos': (flag_types.paths, None, ''),
        'output': (flag_types.written, None, ''),
        'failures': (flag_types.written, None, ''),
    }
    values = {'videos': [there / 'in'], 'output': there / 'in' / 'new.mp4', 'failures': None}
    places.require_apart(options, values)
    (there / 'in' / 'old.csv').touch()
    places.require_apart(options, {**values, 'failures': there / 'in' / 'old.csv'})
    with pytest.raises(InputError, match='which videos names'):
        places.require_apart(options, {**values, 'output': there / 'in' / 'a.mp4'})
    gone = {**values, 'videos': [there / 'gone'], 'output': there / 'own.mp4'}
    places.require_apart(options, gone)
