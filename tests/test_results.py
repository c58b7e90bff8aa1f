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
        last = path.read_bytes().splitlines()[-1]
        assert last == b'k2,/v/\xe9.mp4,0,too short'
        file = failures._file
    assert file.closed
    assert len(path.read_bytes().splitlines()) == 3


@pytest.mark.parametrize(
    ('text', 'stays'), [(HEADER, False), (f'{HEADER}k1,,,too short\n', False), ('mine\n', True)]
)
def test_the_list_of_an_earlier_run_is_removed_and_nothing_else(tmp_path, text, stays):
    path = tmp_path / 'failures.csv'
    path.write_text(text)
    with FailureList(path):
        assert path.exists() == stays


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
