"""Files that appear when they are complete."""

import errno
import os
import pathlib

import pytest

from r2plus1d.errors import InputError
from r2plus1d.results.complete import (
    complete_csv,
    complete_file,
    complete_path,
    full_disk_named,
    require_folder_of,
    require_place,
)


def files_of(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_file_appears_at_the_end_of_the_block_and_replaces_the_old_one(tmp_path):
    path = tmp_path / 'x.txt'
    path.write_text('old')
    with complete_file(path, 'w') as file:
        file.write('new')
        file.flush()
        assert files_of(tmp_path) == {'x.txt': 'old', 'x.txt.partial': 'new'}
    assert files_of(tmp_path) == {'x.txt': 'new'}


@pytest.mark.parametrize('error', [ValueError, KeyboardInterrupt])
def test_what_fails_leaves_the_old_file_alone(tmp_path, error):
    (tmp_path / 'x.txt').write_text('old')
    with pytest.raises(error), complete_file(tmp_path / 'x.txt', 'w') as file:
        file.write('half')
        raise error
    assert files_of(tmp_path) == {'x.txt': 'old'}


def test_rows_of_a_csv_stay_under_the_partial_name(tmp_path):
    with pytest.raises(ValueError), complete_csv(tmp_path / 'x.csv', ['a', 'b']) as write:
        write([1, 2])
        raise ValueError
    assert files_of(tmp_path) == {'x.csv.partial': 'a,b\n1,2\n'}


def test_a_csv_without_rows_is_there_only_if_all_went_well(tmp_path):
    with pytest.raises(ValueError), complete_csv(tmp_path / 'new' / 'x.csv', ['a', 'b']):
        raise ValueError
    assert files_of(tmp_path) == {}
    with complete_csv(tmp_path / 'x.csv', ['a', 'b']):
        assert files_of(tmp_path) == {}
    assert files_of(tmp_path) == {'x.csv': 'a,b\n'}


def full_error(number=errno.ENOSPC):
    return OSError(number, os.strerror(number))


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError) as caught, complete_file(tmp_path / 'x'):
        raise full_error()
    assert caught.value.filename == str(tmp_path / 'x')
    with pytest.raises(OSError) as caught, full_disk_named('y'), full_disk_named('x'):
        raise full_error(errno.EDQUOT)
    assert caught.value.filename == 'x'
    with pytest.raises(OSError) as caught, full_disk_named('x'):
        raise full_error(errno.EPIPE)
    assert caught.value.filename is None


def test_without_a_path_rows_go_nowhere():
    with complete_csv(None, ['a']) as write:
        write([1])


def test_a_private_name_is_of_this_process(tmp_path):
    with complete_path(tmp_path / 'x', private=True) as partial:
        assert partial == tmp_path / f'.x.{os.getpid()}.partial'
        partial.write_text('new')
    assert files_of(tmp_path) == {'x': 'new'}


def test_the_content_is_on_the_disk_before_the_name_is_there(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, 'fsync', lambda _: seen.append(sorted(files_of(tmp_path).items())))
    with complete_file(tmp_path / 'x', 'w') as file:
        file.write('new')
    assert seen == [[('x.partial', 'new')]]


def test_missing_folders_are_made(tmp_path):
    path = tmp_path / 'a' / 'b' / 'x.txt'
    require_place(path)
    assert not path.parent.exists()
    with complete_file(path, 'w') as file:
        file.write('new')
    assert path.read_text() == 'new'


@pytest.mark.parametrize('name', ['file/x.txt', 'file/more/x.txt'])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path, name):
    (tmp_path / 'file').write_text('')
    message = f'^{tmp_path}/file is a file, and no folder for x.txt$'
    with pytest.raises(InputError, match=message):
        require_place(tmp_path / name)
    with pytest.raises(InputError, match=message), complete_file(tmp_path / name):
        pass


def test_a_folder_that_may_not_be_written_is_refused(tmp_path, monkeypatch):
    """As root may write everywhere, the system's answer is replaced."""
    asked, real = [], os.access

    def access(path, mode):
        asked.append(mode)
        return path != tmp_path and real(path, mode)

    monkeypatch.setattr('os.access', access)
    with pytest.raises(InputError, match=r'a/x.txt cannot be written: .* is read-only for this'):
        require_place(tmp_path / 'a' / 'x.txt')
    assert asked == [os.W_OK | os.X_OK]
    (tmp_path / 'a').mkdir()
    require_place(tmp_path / 'a' / 'x.txt')


def test_a_folder_is_no_place_for_a_file(tmp_path):
    require_place(None)
    with pytest.raises(InputError, match='is a folder; name a file'):
        require_place(tmp_path)


@pytest.mark.parametrize('question', ['is_dir', 'stat'])
def test_a_folder_that_another_run_makes_meanwhile_is_no_file(tmp_path, monkeypatch, question):
    folder, ask = tmp_path / 'a', getattr(pathlib.Path, question)

    def make_after(path, **options):
        try:
            return ask(path, **options)
        finally:
            monkeypatch.undo()
            folder.mkdir()

    monkeypatch.setattr(pathlib.Path, question, make_after)
    require_folder_of(folder / 'x')


def test_a_pipe_or_a_device_is_not_replaced(tmp_path):
    path = tmp_path / 'pipe'
    os.mkfifo(path)
    with pytest.raises(InputError, match='pipe is no regular file; name another file'):
        require_place(path)
    with pytest.raises(InputError, match='no regular file'), complete_file(path, 'w') as file:
        file.write('x')
    assert path.is_fifo()
    assert [each.name for each in tmp_path.iterdir()] == ['pipe']
