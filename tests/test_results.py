"""The list of failed records, and the names of classes."""

import types

import pytest

from r2plus1d.errors import InputError
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.failures import FailureList

HEADER = 'record,path,video_id,reason\n'


def failure(key, **known):
    known = {'path': None, 'video_id': None, 'failure': 'too short', **known}
    return types.SimpleNamespace(key=key, **known)


def test_failures_are_in_the_file_as_they_come(tmp_path):
    path = tmp_path / 'new' / 'failures.csv'
    with FailureList(path) as failures:
        assert not path.parent.exists()
        failures.add(failure('k1'))
        assert path.read_bytes().decode() == HEADER.replace('\n', '\r\n') + 'k1,,,too short\r\n'
        failures.add(failure('k2', path='/v/\udce9.mp4', video_id=0))
        assert (failures.count, failures.where) == (2, f'see {path}')
        last = path.read_bytes().splitlines()[-1]
        assert last == b'k2,/v/\xe9.mp4,0,too short'
        file = failures._file
    assert file.closed
    assert len(path.read_bytes().splitlines()) == 3


def test_without_a_file_failures_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with FailureList(None) as failures:
        assert failures.count == 0
        failures.add(failure('k1'))
        assert failures.count == 1
        assert 'only counted; failures=PATH lists them' in failures.where
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('text', [HEADER, f'{HEADER}k1,,,too short\n', ''])
def test_the_list_of_an_earlier_run_is_removed(tmp_path, text):
    path = tmp_path / 'failures.csv'
    path.write_text(text)
    with FailureList(path) as failures:
        assert not path.exists() or not text
        failures.add(failure('k2'))
    assert [line[:3] for line in path.read_text().splitlines()] == ['rec', 'k2,']


@pytest.mark.parametrize('text', [f'{HEADER}k1,,,too short\n', ''])
def test_the_list_of_a_run_that_is_continued_goes_on(tmp_path, text):
    path = tmp_path / 'failures.csv'
    path.write_text(text)
    with FailureList(path, keep=True) as failures:
        assert path.read_text() == text
        failures.add(failure('k2'))
        failures.add(failure('k3'))
    keys = [line.split(',')[0] for line in path.read_text().splitlines()]
    assert keys == ['record', *(['k1'] if text else []), 'k2', 'k3']


@pytest.mark.parametrize('text', ['my own notes\n1,2,3\n', '\n', f'{HEADER.strip()},more\n'])
def test_a_file_that_is_no_list_is_refused_and_stays(tmp_path, text):
    path = tmp_path / 'failures.csv'
    path.write_text(text)
    message = (
        f'^{path} is no list of failed records: its first line is not {HEADER.strip()}; move the '
        'file away, or name another place for the list$'
    )
    with pytest.raises(InputError, match=message):
        FailureList(path)
    path.unlink()
    with FailureList(path) as failures:
        path.write_text(text)  # it appears during the run
        with pytest.raises(InputError, match=message):
            failures.add(failure('k1'))
    assert path.read_text() == text


def test_a_folder_in_the_place_of_the_list_is_left_alone(tmp_path):
    with FailureList(tmp_path):
        assert tmp_path.is_dir()


def test_class_names(tmp_path):
    path = tmp_path / 'labels.txt'
    path.write_bytes('jump\ncaf\xe9 visit\n'.encode())
    assert read_class_names(path, 2) == ('jump', 'caf\xe9 visit')
    assert read_class_names(None, 2) is None
    with pytest.raises(InputError, match='labels.txt names 2 classes; num_labels is 3$'):
        read_class_names(path, 3)
    path.write_bytes(b'caf\xe9\n')
    with pytest.raises(InputError, match='labels.txt: line 1 is not text in UTF-8$'):
        read_class_names(path, 1)
