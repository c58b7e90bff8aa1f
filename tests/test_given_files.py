"""Files that a user names: regular ones only, and texts whose lines are lines."""

import codecs
import os
import pathlib
import signal
import socket

import pytest

from r2plus1d.datasets import annotations, lists
from r2plus1d.datasets.video_files import find_videos
from r2plus1d.errors import InputError
from r2plus1d.evaluation.predictions import require_names
from r2plus1d.pictures import plots
from r2plus1d.results import given_file
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.given_file import open_given, read_lines
from r2plus1d.weights.files import read_weights
from r2plus1d.weights.stored import open_weights


@pytest.fixture(autouse=True)
def alarm():
    """A read that waits for the other end of a FIFO ends with an error."""

    def stop(*_):
        raise TimeoutError('waited')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def odd(tmp_path):
    """A FIFO, a folder, a socket, a link to nothing: what is said of each."""
    os.mkfifo(tmp_path / 'fifo')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'link').symlink_to('gone')
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / 'socket'))
        yield {
            tmp_path / 'fifo': 'a FIFO',
            tmp_path / 'folder': 'a folder',
            tmp_path / 'socket': 'a socket',
            tmp_path / 'link': 'a link to a missing file, gone',
            pathlib.Path('/dev/zero'): 'a device',
        }


READERS = {
    'a list': lists.read_rows,
    'the columns of a list': lambda path: lists.has_column(path, 'video_id'),
    'labels': lambda path: read_class_names(path, 3),
    'labels before a run': require_names,
    'annotations': lambda path: annotations.entries('kinetics', path),
    'weights': open_weights,
    'blobs': read_weights,
    'a training log': lambda path: plots.plot_log(path, path.parent / 'x.png'),
    'a text': read_lines,
}


@pytest.mark.parametrize('reader', READERS)
def test_only_regular_files_are_read(odd, reader):
    for path, kind in odd.items():
        with pytest.raises(InputError, match=f'{path}.*{kind}'):
            READERS[reader](path)


def test_a_list_of_videos_is_a_regular_file(odd, tmp_path):
    (tmp_path / 'fifo').rename(tmp_path / 'fifo.txt')
    with pytest.raises(InputError, match='fifo.txt is not a regular file but a FIFO'):
        find_videos([tmp_path / 'fifo.txt'])


def test_a_device_is_not_opened(monkeypatch):
    monkeypatch.setattr(given_file, 'open_at_once', None)
    with pytest.raises(InputError, match='/dev/null is not a regular file but a device'):
        open_given('/dev/null')


def test_a_fifo_that_takes_a_files_place_is_refused(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / 'fifo')
    (tmp_path / 'file').touch()
    regular = (tmp_path / 'file').stat()
    monkeypatch.setattr(pathlib.Path, 'stat', lambda self, **how: regular)
    with pytest.raises(InputError, match='fifo is not a regular file but a FIFO'):
        open_given(tmp_path / 'fifo')


def test_what_is_missing_is_the_systems_word(tmp_path):
    with pytest.raises(FileNotFoundError):
        open_given(tmp_path / 'none')
    with pytest.raises(InputError, match='has a NUL in its name'):
        open_given('a\0b')


# Lines

ODD_ENDS = '\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e'


@pytest.mark.parametrize('mark', ['', '\ufeff'])
@pytest.mark.parametrize('end', ['\n', '\r\n', '\r'])
def test_only_line_ends_end_a_line(tmp_path, mark, end):
    path = tmp_path / 'x.txt'
    path.write_bytes(f'{mark}a{ODD_ENDS}b{end}{end}c'.encode())
    assert read_lines(path) == [f'a{ODD_ENDS}b', '', 'c']


@pytest.mark.parametrize(
    'content',
    [
        'walk\nrun\n'.encode('utf-16'),
        'walk\nrun\n'.encode('utf-32'),
        'walk\nrun\n'.encode('utf-16-le'),
        'walk\nrun\n'.encode('utf-16-be'),
        codecs.BOM_UTF16_BE + 'größe'.encode('utf-16-be'),
    ],
)
@pytest.mark.parametrize('reader', ['a text', 'labels', 'a list', 'annotations'])
def test_utf16_is_named(tmp_path, content, reader):
    path = tmp_path / 'x.txt'
    path.write_bytes(content)
    with pytest.raises(InputError, match='x.txt is .*UTF-16.*; save it as UTF-8'):
        READERS[reader](path)


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / 'x.txt'
    path.write_bytes(b'a\ngr\xf6\xdfe\n')
    with pytest.raises(InputError, match='x.txt: line 2 is not text in UTF-8'):
        read_lines(path)
    assert os.fsencode(read_lines(path, errors='surrogateescape')[1]) == b'gr\xf6\xdfe'


# Class names


def names_of(tmp_path, text, count=2):
    path = tmp_path / 'labels.txt'
    path.write_bytes(text.encode())
    return read_class_names(path, count)


@pytest.mark.parametrize(
    'text',
    ['walk\nrun', 'walk\nrun\n', 'walk\r\nrun\r\n', '\ufeffwalk\nrun\n', 'walk\nrun\n\n \n\t\n'],
)
def test_class_names_are_the_lines(tmp_path, text):
    assert names_of(tmp_path, text) == ('walk', 'run')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('walk\n\nrun\n', r'labels.txt: line 2 is blank; a class name a line'),
        ('walk\nrun\u2028sit\n', r"labels.txt: line 2: the class name 'run\\u2028sit' has"),
        ('walk\nrun\x85\n', r"line 2: the class name 'run\\x85' has '\\x85', which is not plain"),
        ('\x0cwalk\nrun\n', r"line 1: the class name '\\x0cwalk' has"),
        ('walk\n\ufeffrun\n', r"line 2: the class name '\\ufeffrun' has '\\ufeff'"),
        ('walk\n', 'labels.txt names 1 classes; num_labels is 2'),
        ('', 'labels.txt names 0 classes'),
    ],
)
def test_class_names_that_are_not_plain_lines(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        names_of(tmp_path, text)


def test_names_in_other_scripts_are_plain(tmp_path):
    names = ('می\u200cدود', 'größe – 1', '走る')
    assert names_of(tmp_path, '\n'.join(names), 3) == names
