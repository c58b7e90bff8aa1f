"""One run at a time for each output."""

import errno
import fcntl
import json
import logging
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from r2plus1d.backends.installed import has
from r2plus1d.errors import InputError
from r2plus1d.results.hold import Hold, holding, holding_failures

HOLDER = """
import sys, time
from r2plus1d.results.hold import Hold
hold = Hold(sys.argv[1])
print('held', flush=True)
time.sleep(60)
"""


def test_the_second_is_told_who_has_it(tmp_path):
    with (
        holding(tmp_path / 'x.csv'),
        pytest.raises(InputError, match=f'x.csv is being written by process {os.getpid()} on .* '
                      'since 20.*; wait for it, or name another place'),
        holding(tmp_path / 'x.csv'),
    ):  # fmt: skip
        pass
    with holding(tmp_path / 'x.csv', None):
        assert [path.name for path in tmp_path.iterdir()] == ['x.csv.lock']
    assert list(tmp_path.iterdir()) == []


def test_a_dead_holder_is_in_nobodys_way(tmp_path):
    command = [sys.executable, '-c', HOLDER, str(tmp_path / 'x')]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'held\n'
        with pytest.raises(InputError, match=f'by process {process.pid} on '):
            Hold(tmp_path / 'x')
        process.send_signal(signal.SIGKILL)
    assert (tmp_path / 'x.lock').exists()
    Hold(tmp_path / 'x').release()
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_made_for_nothing_go(tmp_path):
    (tmp_path / 'mine').mkdir()
    Hold(tmp_path / 'mine' / 'a' / 'b' / 'x').release()
    assert [path.name for path in tmp_path.rglob('*')] == ['mine']
    with holding(tmp_path / 'a' / 'b' / 'x'):
        (tmp_path / 'a' / 'y').write_text('')
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['a', 'mine', 'y']
    with holding(tmp_path / 'c' / 'x'), pytest.raises(InputError):
        Hold(tmp_path / 'c' / 'x')
    assert not (tmp_path / 'c').exists()


def test_a_lock_file_that_is_replaced_meanwhile_is_opened_again(tmp_path, monkeypatch):
    """The holder removes it between the moments at which another one opens and locks it."""
    first, flock, calls = Hold(tmp_path / 'x'), fcntl.flock, []

    def release_first(file, operation):
        calls.append(1)
        if len(calls) == 1:
            first.release()
        flock(file, operation)

    monkeypatch.setattr(fcntl, 'flock', release_first)
    second = Hold(tmp_path / 'x')
    assert len(calls) == 2
    assert json.loads((tmp_path / 'x.lock').read_text())['process'] == os.getpid()
    second.release()


def test_folders_that_another_run_removes_meanwhile_are_made_again(tmp_path, monkeypatch):
    """The one that made them finds them empty when the next one has not opened its lock file."""
    lock = tmp_path / 'a' / 'b' / 'lock'
    first, open_file = Hold(tmp_path / 'x', lock), pathlib.Path.open

    def release_first(path, *args, **options):
        first.release()
        return open_file(path, *args, **options)

    monkeypatch.setattr('pathlib.Path.open', release_first)
    second = Hold(tmp_path / 'x', lock)
    assert lock.exists()
    second.release()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_can_never_be_made_is_not_waited_for(tmp_path):
    (tmp_path / 'a').symlink_to(tmp_path / 'gone')
    with pytest.raises(FileExistsError):
        Hold(tmp_path / 'a' / 'x')


def test_without_a_name_it_is_another_process(tmp_path):
    with holding(tmp_path / 'x'):
        (tmp_path / 'x.lock').write_text('{')
        with pytest.raises(InputError, match='x is being written by another process; wait'):
            Hold(tmp_path / 'x')


@pytest.mark.skipif(not has('caffe2'), reason="training is Caffe2's")
@pytest.mark.parametrize(
    ('flags', 'lock'), [([], 'train_net'), (['--num_shards=2', '--shard_id=1'], 'train_net_1')]
)
def test_a_folder_of_training_is_held(run_tool, tmp_path, flags, lock):
    folder = tmp_path / 'training'
    arguments = ['--train_data=none', f'--file_store_path={folder}', *flags]
    hold = Hold(folder, folder / f'{lock}.lock')
    result = run_tool('tools/train_net.py', *arguments)
    hold.release()
    assert result.returncode == 1
    message = f'train_net.py: {folder} is being written by process {os.getpid()} on '
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert 'none does not exist' in run_tool('tools/train_net.py', *arguments).stderr
    assert not folder.exists()


def refusing(number):
    def flock(file, operation):
        raise OSError(number, os.strerror(number))

    return flock


def test_a_file_system_without_locks_is_no_obstacle(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(fcntl, 'flock', refusing(errno.ENOLCK))
    with caplog.at_level(logging.WARNING), holding(tmp_path / 'x'), holding(tmp_path / 'x'):
        assert 'x: no locks here; a second run into it would go unnoticed' in caplog.text
    monkeypatch.setattr(fcntl, 'flock', refusing(errno.EIO))
    with pytest.raises(OSError, match='Input/output error'):
        Hold(tmp_path / 'x')


def test_where_no_file_can_be_made_none_is_held(tmp_path, monkeypatch):
    def refuse(number):
        def open_file(*args, **options):
            raise OSError(number, os.strerror(number))

        return open_file

    monkeypatch.setattr('pathlib.Path.open', refuse(errno.EROFS))
    with holding_failures(tmp_path / 'x'):
        assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match='Read-only'):
        Hold(tmp_path / 'x')
    monkeypatch.setattr('pathlib.Path.open', refuse(errno.EIO))
    with pytest.raises(OSError, match='Input/output'), holding_failures(tmp_path / 'x'):
        pass
