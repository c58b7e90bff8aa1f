"""Databases that are damaged, cut or of other hands: no record is lost without a word."""

import filecmp
import os
import pathlib
import pickle
import shutil
import struct
import subprocess
import sys

import lmdb
import pytest

from r2plus1d.datasets import database as database_module
from r2plus1d.datasets.checksums import CHECKSUM_FILE, read_checksums, write_checksums
from r2plus1d.datasets.database import DATA_FILE, Database, check_kind
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.meta_pages import PAGE, require_newest
from r2plus1d.datasets.record import DamagedRecord, Record, decode, encode
from r2plus1d.errors import InputError, RecordError
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.sources.shuffled import TrainingData
from r2plus1d.video.clip_settings import ClipSettings

PAGE_SIZE = 4096
VIDEO = b'\x00\x00\x00\x18ftypmp42 not really a video'
NUMBER, ENTRIES = PAGE.size + 128, PAGE.size + 104  # of a meta page, 8 bytes each


def records(count, size=500):
    return [Record(VIDEO + b'%d' % index * size, (index,)) for index in range(count)]


def write(path, some, **settings):
    with DatabaseWriter(path, len(some), **settings) as writer:
        for record in some:
            writer.add(record)
    return path


def flip(path, place, bit=0):
    with path.open('r+b') as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


def number_of(data, page):
    return struct.unpack_from('<Q', data.read_bytes(), page * PAGE_SIZE + NUMBER)[0]


def place_of(data, content):
    place = data.read_bytes().index(content)
    assert place > 0
    return place


@pytest.fixture
def grown(tmp_path):
    """A database of 30 records, written in three transactions, as of other hands."""
    with lmdb.open(str(tmp_path / 'grown'), map_size=1 << 24) as environment:
        for start in range(0, 30, 10):
            with environment.begin(write=True) as transaction:
                for index in range(start, start + 10):
                    transaction.put(b'%02d' % index, encode(Record(VIDEO, (index,))))
    return tmp_path / 'grown'


# Meta pages


def test_numbers_of_transactions_are_where_they_are_read(grown):
    data = grown / DATA_FILE
    assert [number_of(data, page) for page in (0, 1)] == [2, 3]
    require_newest(data)


@pytest.mark.parametrize('bit', range(64))
@pytest.mark.parametrize('page', [0, 1])
def test_a_flipped_bit_in_the_number_of_a_meta_page(grown, page, bit):
    flip(grown / DATA_FILE, page * PAGE_SIZE + NUMBER + bit // 8, bit % 8)
    with pytest.raises(InputError, match='data.mdb is damaged: its two meta pages do not fit'):
        Database(grown)


def test_without_this_guard_records_would_be_missing(grown, monkeypatch):
    monkeypatch.setattr(database_module, 'require_newest', lambda data: None)
    flip(grown / DATA_FILE, PAGE_SIZE + NUMBER, 1)  # 3 becomes 1
    with Database(grown) as database:
        assert len(list(database)) == 20


@pytest.mark.parametrize('bit', range(6))
def test_a_flipped_bit_in_the_number_of_records(grown, bit):
    flip(grown / DATA_FILE, PAGE_SIZE + ENTRIES, bit)
    with Database(grown) as database:
        said = len(database)
        assert said == 30 ^ 1 << bit
        for read in (database.keys, lambda: list(database.records())):
            with pytest.raises(InputError, match=f'holds {said} records, and 30 are found'):
                read()


@pytest.mark.parametrize('transactions', range(5))
@pytest.mark.parametrize('compact', [None, False, True])
def test_meta_pages_of_sound_databases_are_taken(tmp_path, transactions, compact):
    path, copy = tmp_path / 'db', tmp_path / 'copy'
    copy.mkdir()
    with lmdb.open(str(path)) as environment:
        for index in range(transactions):
            with environment.begin(write=True) as transaction:
                transaction.put(b'%d' % index, b'x')
        if compact is not None:
            environment.copy(str(copy), compact=compact)
            path = copy
    require_newest(path / DATA_FILE)


@pytest.mark.parametrize('content', [b'', b'no LMDB', b'no LMDB' * 5000, bytes(20_000)])
def test_what_is_laid_out_otherwise_is_left_to_lmdb(tmp_path, content):
    (tmp_path / DATA_FILE).write_bytes(content)
    require_newest(tmp_path / DATA_FILE)


# Checksums


def test_a_database_has_its_checksums_beside_it(tmp_path):
    path = write(tmp_path / 'db', records(12))
    assert sorted(entry.name for entry in path.iterdir()) == [DATA_FILE, CHECKSUM_FILE]
    assert len(read_checksums(path)) == 12
    with lmdb.open(str(path), readonly=True, lock=False) as environment:
        assert environment.stat()['entries'] == 12
    same = write(tmp_path / 'same', records(12))
    assert filecmp.cmp(path / CHECKSUM_FILE, same / CHECKSUM_FILE, shallow=False)


def test_the_bytes_of_the_checksums_are_pinned(tmp_path):
    path = write(tmp_path / 'db', [Record(b'a.go', (7,)), Record(b'b.go', (8,))])
    assert (path / CHECKSUM_FILE).read_bytes() == (
        b'r2plus1d records 1: 0000000002, list abeb8f5f\n1fc99b45\nf9c65634\n'
    )


def damaged(path):
    """Flip one bit of a video of the database at `path`, that of record 7."""
    data = path / DATA_FILE
    flip(data, place_of(data, VIDEO + b'7' * 20) + 40)
    return path


def test_a_damaged_record_is_that_records_failure(tmp_path):
    path = damaged(write(tmp_path / 'db', records(12)))
    with Database(path) as database:
        values = {key: value for _, key, value in database}
        assert [k for k, value in values.items() if isinstance(value, DamagedRecord)] == ['07']
        assert {key: database.get(key) for key in values} == values
        assert isinstance(database.get('07'), DamagedRecord)
        assert not isinstance(database.get('08'), DamagedRecord)
    with pytest.raises(RecordError, match=r'^damaged: its \d+ bytes and key have another checksum'):
        decode(values['07'])
    assert isinstance(pickle.loads(pickle.dumps(values['07'])), DamagedRecord)
    (path / CHECKSUM_FILE).unlink()
    with Database(path) as database:
        assert not any(isinstance(value, DamagedRecord) for _, _, value in database)
        assert not isinstance(database.get('07'), DamagedRecord)


def test_a_damaged_first_record(tmp_path):
    path = write(tmp_path / 'db', records(3))
    flip(path / DATA_FILE, place_of(path / DATA_FILE, VIDEO + b'0' * 20) + 40)
    with Database(path) as database:
        assert isinstance(database.first(), DamagedRecord)
        check_kind(database, use_local_file=True)  # left to whoever reads the record


def test_checksums_hold_across_unmapping(tmp_path, monkeypatch):
    monkeypatch.setattr(database_module, 'MAPPED_BYTES', 1)
    path = damaged(write(tmp_path / 'db', records(12)))
    for start in (0, 5, 7, 8):
        with Database(path) as database:
            bad = [i for i, _, v in database.records(start) if isinstance(v, DamagedRecord)]
        assert bad == [7] * (start <= 7)


def test_a_key_that_is_not_the_number_of_a_record_is_damaged(tmp_path):
    path = write(tmp_path / 'db', records(12))
    with (
        lmdb.open(str(path), map_size=1 << 24) as environment,
        environment.begin(write=True) as transaction,
    ):
        for old, new in ((b'11', b'x1'), (b'10', b'99')):
            transaction.put(new, transaction.pop(old))
    with Database(path) as database:
        damaged = [key for _, key, value in database if isinstance(value, DamagedRecord)]
        assert damaged == ['99', 'x1']
        for key in damaged:
            assert isinstance(database.get(key), DamagedRecord)


@pytest.mark.parametrize('decode_type', ['uniform', 'start'])
@pytest.mark.parametrize('by_video', [False, True])
def test_every_source_counts_a_damaged_record(make_video, tmp_path, by_video, decode_type):
    path = tmp_path / 'db'
    videos = [make_video(12, seed=seed).read_bytes() for seed in range(3)]
    write(path, [Record(video, (i,), 1 + i) for i, video in enumerate(videos)])
    flip(path / DATA_FILE, place_of(path / DATA_FILE, videos[1][:300]) + 200)
    settings = ClipSettings(length=4, decode_type=decode_type)
    with DatabaseSource(path, settings, RecordNeeds(num_labels=3), by_video=by_video) as source:
        failures = {sample.key: sample.failure for sample in source.samples()}
    assert [key for key, failure in failures.items() if failure] == ['1']
    assert failures['1'].startswith('damaged: ')


def test_training_takes_another_record(make_video, tmp_path):
    path = tmp_path / 'db'
    videos = [make_video(12, seed=seed).read_bytes() for seed in range(2)]
    write(path, [Record(video, (i,)) for i, video in enumerate(videos)])
    flip(path / DATA_FILE, place_of(path / DATA_FILE, videos[1][:300]) + 200)
    settings = ClipSettings(length=4, decode_type='random')
    with TrainingData(path, settings, RecordNeeds(num_labels=2), batch_size=2) as data:
        (batch,) = data.batches(0, 1)
    assert [sample.key for sample in batch.failed] == ['1']
    assert batch.label.tolist() == [0, 0]


@pytest.mark.parametrize('count', [11, 13])
def test_another_number_of_records_is_refused(tmp_path, count):
    path, other = write(tmp_path / 'db', records(12)), write(tmp_path / 'other', records(count))
    shutil.copy(other / CHECKSUM_FILE, path)
    said = f'data.mdb holds 12 records, and {CHECKSUM_FILE} beside it has {count}: .* copy both'
    with pytest.raises(InputError, match=said):
        Database(path)


@pytest.mark.parametrize('place', [0, 21, 30, 40, 50, -1])
def test_a_damaged_file_of_checksums_is_refused(tmp_path, place):
    path = write(tmp_path / 'db', records(12))
    size = (path / CHECKSUM_FILE).stat().st_size
    flip(path / CHECKSUM_FILE, place % size)
    with pytest.raises(InputError, match=f'{CHECKSUM_FILE} is damaged; copy it again, or remove'):
        Database(path)


def test_a_file_of_checksums_that_is_cut_is_refused(tmp_path):
    path = write(tmp_path / 'db', records(12))
    for size in (0, 20, 60, 100):
        os.truncate(path / CHECKSUM_FILE, size)
        with pytest.raises(InputError, match=f'{CHECKSUM_FILE} is damaged'):
            Database(path)


def rebuild(path, some):
    with DatabaseWriter(path, len(some), overwrite=True) as writer:
        for record in some:
            writer.add(record)
    return writer.unchanged


def test_a_database_from_before_gets_its_checksums(tmp_path):
    path = write(tmp_path / 'db', records(12))
    checksums, before = (path / CHECKSUM_FILE).read_bytes(), (path / DATA_FILE).stat()
    for damage in (None, b'', checksums[:-1]):
        (path / CHECKSUM_FILE).unlink()
        if damage is not None:
            (path / CHECKSUM_FILE).write_bytes(damage)
        assert rebuild(path, records(12)) is True
        assert (path / CHECKSUM_FILE).read_bytes() == checksums
        assert (path / DATA_FILE).stat() == before
    status = (path / CHECKSUM_FILE).stat()
    assert rebuild(path, records(12)) is True
    assert (path / CHECKSUM_FILE).stat() == status


@pytest.mark.parametrize('killed_at', ['data', 'checksums'])
def test_checksums_are_never_beside_another_database(tmp_path, monkeypatch, killed_at):
    """Whatever happens between the two files, what is there can be read."""
    path, replace = write(tmp_path / 'db', records(12)), DatabaseWriter._replace

    def stop(self, name):
        if name == (DATA_FILE if killed_at == 'data' else CHECKSUM_FILE):
            raise KeyboardInterrupt
        replace(self, name)

    monkeypatch.setattr(DatabaseWriter, '_replace', stop)
    with pytest.raises(KeyboardInterrupt):
        rebuild(path, records(9))
    assert not (path / CHECKSUM_FILE).exists()
    with Database(path) as database:
        assert len(list(database)) == (12 if killed_at == 'data' else 9)


def test_a_database_that_is_replaced_while_it_is_opened(tmp_path, monkeypatch):
    path = write(tmp_path / 'db', records(12))
    other = records(12)[::-1]

    def replaced_before(folder):
        write(path, other, overwrite=True)
        return read_checksums(folder)

    monkeypatch.setattr(database_module, 'read_checksums', replaced_before)
    with pytest.raises(InputError, match='was replaced while it was read; start again'):
        Database(path)


def test_checksums_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    write_checksums(tmp_path, [1, 2**32 - 1])
    assert list(read_checksums(tmp_path)) == [1, 2**32 - 1]
    with pytest.raises(TypeError):
        write_checksums(tmp_path, [3, None])
    assert list(read_checksums(tmp_path)) == [1, 2**32 - 1]


# Files that are cut while they are read

CUT = """
import os, sys
from r2plus1d.cli.main import run
from r2plus1d.datasets.database import Database
{guard}
def main():
    with Database(sys.argv[1]) as database:
        reads = {reads}
        next(reads)
        os.truncate(os.path.join(sys.argv[1], 'data.mdb'), 3 * 4096)
        for _ in reads:
            pass
run(main)
"""
NO_GUARD = 'Database._require_uncut = lambda *a: None'
READS = {
    'records': 'database.records()',
    'keys': '(key for _ in range(9) for key in database.keys())',
    'get': '(database.get(f"{i:03}") for i in range(400))',
    'first': '(database.first() for _ in range(9))',
}


def cut_while_reading(tmp_path, reads, guard=''):
    path = write(tmp_path / 'db', records(400))
    code = CUT.format(reads=READS[reads], guard=guard)
    return subprocess.run(
        [sys.executable, '-c', code, str(path)], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize('reads', READS)
def test_a_file_that_is_cut_while_it_is_read_ends_with_a_line(tmp_path, reads):
    done = cut_while_reading(tmp_path, reads)
    assert done.returncode == 1
    size = (pathlib.Path(tmp_path) / 'db' / DATA_FILE).stat().st_size
    assert f'data.mdb was cut short while it was read: {size} of ' in done.stderr
    assert done.stderr.count('\n') == 1


def test_without_this_guard_the_process_would_end(tmp_path):
    assert cut_while_reading(tmp_path, 'records', NO_GUARD).returncode < 0
