"""A database copied to a machine's own disk: once, whole, and never half."""

import os
import shutil

import pytest

from r2plus1d.datasets import local_copy as module
from r2plus1d.datasets.database import DATA_FILE, Database
from r2plus1d.datasets.local_copy import local_copy
from r2plus1d.errors import InputError


@pytest.fixture
def database(make_database):
    return make_database([(b'video %d' % i, i) for i in range(5)])


def test_it_is_made_once_and_used_again(database, tmp_path):
    copy = local_copy(database, tmp_path / 'disk')
    assert [*Database(copy).records()] == [*Database(database).records()]
    before = (copy / DATA_FILE).stat()
    assert before.st_mtime_ns == (database / DATA_FILE).stat().st_mtime_ns
    assert local_copy(database, tmp_path / 'disk') == copy
    assert (copy / DATA_FILE).stat().st_ino == before.st_ino
    assert [path.name for path in (tmp_path / 'disk').iterdir()] == [copy.name]


def test_another_state_of_the_database_is_another_copy(database, tmp_path):
    copy = local_copy(database, tmp_path / 'disk')
    os.utime(database / DATA_FILE, ns=(1, 1))
    assert local_copy(database, tmp_path / 'disk') != copy


def test_what_a_killed_process_left_is_removed(database, tmp_path):
    copy = local_copy(database, tmp_path / 'disk')
    os.truncate(copy / DATA_FILE, 100)
    left = copy.with_name(f'.{copy.name}.1.partial')
    left.mkdir()
    assert local_copy(database, tmp_path / 'disk') == copy
    assert len(Database(copy)) == 5
    assert not left.exists()


def test_a_record_that_was_damaged_on_the_way_is_noticed(database, tmp_path, monkeypatch):
    def copy2(source, target):
        shutil.copyfile(source, target)
        shutil.copystat(source, target)
        if target.name == DATA_FILE:
            content = target.read_bytes()
            target.write_bytes(content.replace(b'video 3', b'vidEo 3'))

    monkeypatch.setattr(module.shutil, 'copy2', copy2)
    with pytest.raises(InputError, match='record .*3 differs from that of'):
        local_copy(database, tmp_path / 'disk')
    assert not (tmp_path / 'disk').exists()


def test_too_little_space_is_said_before(database, tmp_path, monkeypatch):
    monkeypatch.setattr(module, 'SPARE_BYTES', 1 << 60)
    with pytest.raises(InputError, match='GB free, and a copy of the database takes'):
        local_copy(database, tmp_path / 'disk')


def test_no_database(tmp_path):
    with pytest.raises(InputError, match='is not the folder of an LMDB'):
        local_copy(tmp_path, tmp_path / 'disk')
