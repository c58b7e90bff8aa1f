"""Databases of videos: records as Caffe2 writes them, lists checked before anything is written."""

import concurrent.futures
import filecmp
import gc
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import lmdb
import pytest

from r2plus1d.datasets import lists, record
from r2plus1d.datasets.database import Database, check_kind
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.lists import Row
from r2plus1d.datasets.record import Record, decode, encode
from r2plus1d.errors import InputError, RecordError

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOL = ROOT / 'data' / 'create_video_db.py'
SCRIPT = ROOT / 'scripts' / 'create_kinetics_lmdb.sh'

VIDEO = b'\x00\x00\x00\x18ftypmp42 not really a video'
RECORDS = [
    Record(VIDEO, (7,)),
    Record(b'some/path.mp4', (-1,), start_frame=0),
    Record(VIDEO, (2**31 - 1,), start_frame=280, video_id=-5),
    Record(VIDEO, (3, 1, 2), video_id=2**40),
]


def write(path, records, **settings):
    with DatabaseWriter(path, len(records), **settings) as writer:
        for one in records:
            writer.add(one)
    return path


def write_raw(path, values):
    """An LMDB of other hands: key -> value as they are."""
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        for key, value in values.items():
            transaction.put(key.encode(), value)
    return path


def read(path):
    with Database(path) as database:
        return [decode(value) for _, _, value in database.records()]


def numbered(count, size=20):
    return [Record(VIDEO + b'%d' % index * size, (index,)) for index in range(count)]


# Records


@pytest.mark.parametrize('one', RECORDS)
def test_a_record_survives(one):
    assert decode(encode(one)) == one


@pytest.mark.parametrize('one', RECORDS)
def test_bytes_are_those_of_caffe2(one):
    caffe2_pb2 = pytest.importorskip('caffe2.proto.caffe2_pb2', reason='needs Caffe2')
    tensors = caffe2_pb2.TensorProtos()
    tensors.protos.add(data_type=caffe2_pb2.TensorProto.STRING).string_data.append(one.video)
    tensors.protos.add(data_type=caffe2_pb2.TensorProto.INT32).int32_data.extend(one.labels)
    if one.start_frame is not None:
        start = tensors.protos.add(data_type=caffe2_pb2.TensorProto.INT32)
        start.int32_data.append(one.start_frame)
    if one.video_id is not None:
        video_id = tensors.protos.add(data_type=caffe2_pb2.TensorProto.INT64)
        video_id.int64_data.append(one.video_id)
    assert encode(one) == tensors.SerializeToString()


def test_bytes_are_pinned():
    expected = '0a08 1004 3204612e676f 0a05 1002 2201 07 0a06 1002 2202 9802 0a06 100a 5202 ac02'
    assert encode(Record(b'a.go', (7,), 280, 300)) == bytes.fromhex(expected)


def test_records_need_no_caffe2():
    code = 'import sys; from r2plus1d.datasets import lists, record; print("caffe2" in sys.modules)'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == 'False\n'


def message(*tensors):
    result = record.TensorProtos()
    for tensor in tensors:
        result.protos.add(**tensor)
    return result.SerializeToString()


STRING = {'data_type': 4, 'string_data': [VIDEO]}
LABEL = {'data_type': 2, 'int32_data': [4]}
VIDEO_ID = {'data_type': 10, 'int64_data': [9]}


def test_a_video_may_be_bytes():
    value = message({'data_type': 3, 'byte_data': VIDEO}, LABEL)
    assert decode(value) == Record(VIDEO, (4,))


def test_start_frame_and_video_id_are_told_by_their_types():
    value = message(STRING, LABEL, VIDEO_ID, {'data_type': 2, 'int32_data': [30]})
    assert decode(value) == Record(VIDEO, (4,), start_frame=30, video_id=9)


def test_fields_that_records_do_not_need_are_passed_over():
    caffe2_pb2 = pytest.importorskip('caffe2.proto.caffe2_pb2', reason='needs Caffe2')
    tensors = caffe2_pb2.TensorProtos()
    tensors.protos.add(data_type=4, dims=[1], name='video').string_data.append(VIDEO)
    tensors.protos.add(data_type=2, dims=[1], name='label').int32_data.append(4)
    assert decode(tensors.SerializeToString()) == Record(VIDEO, (4,))


@pytest.mark.parametrize(
    ('value', 'reason'),
    [
        (b'\xff\xff no message', r'not a caffe2.TensorProtos \(13 bytes\)'),
        (b'', '0 tensors'),
        (message(STRING), '1 tensors'),
        (message({'data_type': 1}, LABEL), 'the video has data type 1'),
        (message({'data_type': 4}, LABEL), '0 strings'),
        (message({'data_type': 4, 'string_data': [b'a', b'b']}, LABEL), '2 strings'),
        (message({'data_type': 3, 'byte_data': b''}, LABEL), 'the video is empty'),
        (message(STRING, VIDEO_ID), 'the label has data type 10'),
        (message(STRING, {'data_type': 2}), 'the label is empty'),
        (message(STRING, LABEL, {'data_type': 1}), 'data type 1 after the label'),
        (message(STRING, LABEL, LABEL, LABEL), '2 values for the start frame'),
        (message(STRING, LABEL, {'data_type': 10}), '0 values for the video id'),
        (message(STRING, LABEL, {'data_type': 2, 'int32_data': [-1]}), 'start frame is -1'),
    ],
)
def test_what_is_no_record_is_refused(value, reason):
    with pytest.raises(RecordError, match=reason):
        decode(value)


# Reading


def test_records_come_in_the_byte_order_of_their_keys(tmp_path):
    path = write_raw(tmp_path / 'db', {str(i): encode(Record(VIDEO, (i,))) for i in range(12)})
    with Database(path) as database:
        assert len(database) == 12
        assert [key for _, key, _ in database.records()][:5] == ['0', '1', '10', '11', '2']
        assert [index for index, _, _ in database] == list(range(12))
        assert [entry[:2] for entry in database.records(start=10)] == [(10, '8'), (11, '9')]
        assert list(database.records(start=12)) == []
        assert decode(database.get('11')).labels == (11,)
        with pytest.raises(InputError, match='has no record 12'):
            database.get('12')


def test_a_database_may_be_open_twice(tmp_path):
    path = write(tmp_path / 'db', numbered(3))
    with Database(path) as first:
        entries = first.records()
        next(entries)
        with Database(path) as second:
            assert len(list(second)) == 3
        assert len(list(entries)) == 2


def test_keys_that_are_no_text_survive(tmp_path):
    path = tmp_path / 'db'
    with lmdb.open(str(path)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b'\xff\x01', encode(RECORDS[0]))
    with Database(path) as database:
        (_, key, value) = next(database.records())
        assert database.get(key) == value


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda path: None, 'does not exist'),
        (lambda path: path.write_bytes(VIDEO), 'is not the folder of an LMDB'),
        (lambda path: path.mkdir(), 'is not the folder of an LMDB'),
        (lambda path: lmdb.open(str(path)).close(), 'holds no records'),
    ],
)
def test_what_is_no_database_is_refused(tmp_path, make, message):
    make(tmp_path / 'db')
    with pytest.raises(InputError, match=f'{tmp_path}/db {message}'):
        Database(tmp_path / 'db')


@pytest.mark.parametrize('content', [b'', b'no LMDB' * 5000])
def test_a_file_that_is_no_lmdb_is_refused(tmp_path, content):
    (tmp_path / 'data.mdb').write_bytes(content)
    with pytest.raises(InputError, match='data.mdb cannot be read'):
        Database(tmp_path)


def test_a_database_that_was_cut_short_is_refused(tmp_path):
    data = write(tmp_path / 'db', numbered(100, size=2000)) / 'data.mdb'
    size = data.stat().st_size
    os.truncate(data, size - 4096)
    with pytest.raises(InputError, match=f'cut short: {size - 4096} of {size} bytes'):
        Database(tmp_path / 'db')


def test_paths_and_videos_are_told_apart(tmp_path):
    assert record.holds_path(Record('videos/größe 1.mp4'.encode(), (0,)))
    assert record.holds_path(Record('videos/größe 1.mp4'.encode('latin-1'), (0,)))
    assert not record.holds_path(Record(VIDEO, (0,)))
    assert not record.holds_path(Record(b'a' * 5000, (0,)))
    paths = write(tmp_path / 'paths', [RECORDS[1]])
    videos = write(tmp_path / 'videos', [RECORDS[0]])
    broken = write_raw(tmp_path / 'broken', {'0': b'\xff'})
    check_kind(Database(paths), use_local_file=True)
    check_kind(Database(videos), use_local_file=False)
    check_kind(Database(broken), use_local_file=True)
    with pytest.raises(InputError, match='paths holds paths of videos, not videos: add --use'):
        check_kind(Database(paths), use_local_file=False)
    with pytest.raises(InputError, match='videos holds videos, not paths of videos: leave out'):
        check_kind(Database(videos), use_local_file=True)


# Writing


@pytest.mark.parametrize('count', [1, 10, 11, 1001])
def test_what_is_written_is_read_in_its_order(tmp_path, count):
    records = numbered(count)
    assert read(write(tmp_path / 'db', records)) == records
    with Database(tmp_path / 'db') as database:
        assert {len(key) for _, key, _ in database} == {len(str(count - 1))}
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['db']


def test_the_map_grows(tmp_path):
    records = numbered(60, size=9000)
    assert read(write(tmp_path / 'db', records, map_bytes=32768, batch_bytes=100_000)) == records
    assert (tmp_path / 'db' / 'data.mdb').stat().st_size > 500_000


def test_transactions_are_bounded(tmp_path):
    records = numbered(30, size=5000)
    write(tmp_path / 'db', records, batch_bytes=20_000)
    with lmdb.open(str(tmp_path / 'db'), readonly=True, lock=False) as environment:
        assert environment.info()['last_txnid'] > 5
    write(tmp_path / 'one', records)
    with lmdb.open(str(tmp_path / 'one'), readonly=True, lock=False) as environment:
        assert environment.info()['last_txnid'] == 1


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), DatabaseWriter(tmp_path / 'db', 5) as writer:
        writer.add(RECORDS[0])
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_short_count_is_no_database(tmp_path):
    with pytest.raises(AssertionError), DatabaseWriter(tmp_path / 'db', 2) as writer:
        writer.add(RECORDS[0])
    assert list(tmp_path.iterdir()) == []


def test_overwriting_is_asked_for(tmp_path):
    path = write(tmp_path / 'db', numbered(2))
    (path / 'notes.txt').write_text('kept')
    with pytest.raises(InputError, match='db exists already; --overwrite=1 replaces it'):
        DatabaseWriter(path, 1)
    with Database(path) as old:
        assert read(write(path, numbered(3), overwrite=True)) == numbered(3)
        assert [decode(value) for _, _, value in old] == numbered(2)
    assert (path / 'notes.txt').read_text() == 'kept'
    assert [entry.name for entry in tmp_path.iterdir()] == ['db']


def identity(path):
    status = (path / 'data.mdb').stat()
    return status.st_ino, status.st_mtime_ns


def rebuild(path, records, **settings):
    with DatabaseWriter(path, len(records), overwrite=True, **settings) as writer:
        for one in records:
            writer.add(one)
        assert writer.unchanged is False
    return writer.unchanged


@pytest.mark.parametrize('settings', [{}, {'map_bytes': 32768, 'batch_bytes': 100_000}])
def test_an_identical_rebuild_leaves_the_database_alone(tmp_path, settings):
    records = numbered(60, size=900)
    path = write(tmp_path / 'db', records, **settings)
    before = identity(path)
    assert rebuild(path, records, **settings) is True
    assert identity(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ['db']
    assert read(path) == records


@pytest.mark.parametrize(
    'records',
    [
        numbered(59),
        numbered(61),
        [*numbered(59), Record(VIDEO + b'60' * 20, (59,))],
        [Record(VIDEO + b'0' * 20, (1,)), *numbered(60)[1:]],
        numbered(60)[::-1],
    ],
)
def test_a_rebuild_that_differs_replaces_the_database(tmp_path, records):
    path = write(tmp_path / 'db', numbered(60))
    before = identity(path)
    assert rebuild(path, records) is False
    assert identity(path)[0] != before[0]
    assert read(path) == records
    assert [entry.name for entry in tmp_path.iterdir()] == ['db']


def test_what_is_new_is_not_unchanged(tmp_path):
    assert rebuild(tmp_path / 'db', numbered(2)) is False
    assert read(tmp_path / 'db') == numbered(2)


@pytest.mark.parametrize('damage', [b'', b'no LMDB'])
def test_a_damaged_database_is_replaced(tmp_path, damage):
    path = write(tmp_path / 'db', numbered(2))
    (path / 'data.mdb').write_bytes(damage)
    assert rebuild(path, numbered(2)) is False
    assert read(path) == numbered(2)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read every file')
def test_a_database_that_may_not_be_read_is_replaced(tmp_path):
    path = write(tmp_path / 'db', numbered(2))
    (path / 'data.mdb').chmod(0)
    assert rebuild(path, numbered(2)) is False
    assert read(path) == numbered(2)


def test_the_bytes_of_a_database_do_not_depend_on_the_heap(tmp_path):
    """Or an identical rebuild would pass for a different one."""
    code = (
        'import sys\n'
        'from r2plus1d.datasets.database_writer import DatabaseWriter\n'
        'from r2plus1d.datasets.record import Record\n'
        'with DatabaseWriter(sys.argv[1], 400, batch_bytes=9000) as writer:\n'
        '    for index in range(400):\n'
        '        writer.add(Record(bytes(37 * index), (index,)))\n'
    )
    for fill in '85', '170':  # what glibc's malloc fills memory with
        arguments = [sys.executable, '-c', code, str(tmp_path / fill)]
        subprocess.run(arguments, env={**os.environ, 'MALLOC_PERTURB_': fill}, check=True)
    assert filecmp.cmp(tmp_path / '85' / 'data.mdb', tmp_path / '170' / 'data.mdb', shallow=False)


def test_the_old_database_survives_a_failing_overwrite(tmp_path):
    path = write(tmp_path / 'db', numbered(2))
    with pytest.raises(ZeroDivisionError), DatabaseWriter(path, 3, overwrite=True) as writer:
        writer.add(RECORDS[0])
        raise ZeroDivisionError
    assert read(path) == numbered(2)
    assert [entry.name for entry in tmp_path.iterdir()] == ['db']


def test_what_appears_meanwhile_is_not_overwritten(tmp_path):
    write(tmp_path / 'other', numbered(4))
    with (
        pytest.raises(InputError, match='exists already'),
        DatabaseWriter(tmp_path / 'db', 1) as writer,
    ):
        writer.add(RECORDS[0])
        shutil.copytree(tmp_path / 'other', tmp_path / 'db')
    assert read(tmp_path / 'db') == numbered(4)


def test_other_things_are_never_overwritten(tmp_path):
    (tmp_path / 'file').write_bytes(VIDEO)
    with pytest.raises(InputError, match='is a file or a mount point'):
        DatabaseWriter(tmp_path / 'file', 1, overwrite=True)
    with pytest.raises(InputError, match='exists and is not a database'):
        DatabaseWriter(tmp_path, 1, overwrite=True)
    with pytest.raises(InputError, match='is a file or a mount point'):
        DatabaseWriter('/proc', 1, overwrite=True)


def test_new_folders_and_empty_ones_and_links_to_them_will_do(tmp_path):
    assert read(write(tmp_path / 'new' / 'deep' / 'db', numbered(1)))
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'link').symlink_to('empty')
    assert read(write(tmp_path / 'link', numbered(1)))
    assert (tmp_path / 'empty' / 'data.mdb').exists()


KILLED = """
import sys, time
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
with DatabaseWriter(sys.argv[1], 1000, batch_bytes=1) as writer:
    for index in range(500):
        writer.add(Record(b'x' * 5000, (index,)))
    print('writing', flush=True)
    time.sleep(60)
"""


def test_a_killed_writer_leaves_no_database(tmp_path):
    path = tmp_path / 'db'
    arguments = [sys.executable, '-c', KILLED, str(path)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'writing\n'
        assert not path.exists()
        write(tmp_path / 'db2', numbered(1))  # a name that begins like it
        with (  # a second writer leaves the live one's work alone
            pytest.raises(InputError, match=f'/db is being written by process {process.pid} on '),
            DatabaseWriter(path, 1),
        ):
            pass
        process.send_signal(signal.SIGKILL)
    assert not path.exists()
    assert len(partials(tmp_path)) == 1
    assert read(write(path, numbered(2))) == numbered(2)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ['db', 'db2']


def partials(folder):
    return [entry for entry in folder.iterdir() if '.partial-' in entry.name]


FULL = """
import resource, sys
from r2plus1d.cli.main import run
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
def main():
    with DatabaseWriter(sys.argv[1], 100) as writer:
        for index in range(100):
            writer.add(Record(b'x' * 50_000, (index,)))
run(main)
"""


def test_a_full_disk_is_one_line(tmp_path):
    arguments = [sys.executable, '-c', FULL, str(tmp_path / 'db')]
    done = subprocess.run(arguments, capture_output=True, text=True)
    assert done.returncode == 1
    assert f'{tmp_path}/db cannot be written: ' in done.stderr
    assert 'MB are free there' in done.stderr
    assert done.stderr.count('\n') == 1
    assert list(tmp_path.iterdir()) == []


# Lists


@pytest.fixture
def videos(tmp_path, monkeypatch):
    """Files a.mp4 to d.mp4, an empty one and a folder, in the current directory."""
    monkeypatch.chdir(tmp_path)
    for name in 'abcd':
        (tmp_path / f'{name}.mp4').write_bytes(VIDEO + name.encode())
    (tmp_path / 'empty.mp4').touch()
    (tmp_path / 'folder.mp4').mkdir()
    return tmp_path


def write_list(text, name='list.csv'):
    pathlib.Path(name).write_text(text)
    return name


def test_a_list_is_read_by_the_names_of_its_columns(videos):
    path = write_list(
        '\ufefflabel, note,org_video ,video_id,start_frm\r\n'
        '3,"x, y",a.mp4,17,30\r\n\r\n , ,,\r\n 4;5 ,,b.mp4, -1, 0,\r\n+6 7,,"c.mp4",8,9\r\n'
    )
    assert lists.read_rows(path) == [
        Row('a.mp4', (3,)), Row('b.mp4', (4, 5)), Row('c.mp4', (6, 7)),
    ]  # fmt: skip
    assert lists.read_rows(path, use_start_frame=True, use_video_id=True) == [
        Row('a.mp4', (3,), 30, 17), Row('b.mp4', (4, 5), 0, -1), Row('c.mp4', (6, 7), 9, 8),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('org_video,label,video_id\n', True),
        ('\ufefflabel,, org_video ,video_id \r\n3,,a.mp4,17\r\n', True),
        ('\n , ,\n"video_id",label\n', True),
        ('org_video,label\nvideo_id,3\n', False),
        ('org_video,label,video_ids\n', False),
        ('', False),
    ],
)
def test_a_column_is_looked_for_in_the_first_line(videos, text, expected):
    assert lists.has_column(write_list(text), 'video_id') is expected


def test_no_column_is_looked_for_in_what_is_no_csv(videos):
    with pytest.raises(InputError, match='list.csv: line 1: field larger than field limit'):
        lists.has_column(write_list('a' * 200_000), 'video_id')


def test_a_name_that_is_no_utf8_is_found(videos):
    name = os.fsdecode('größe, 1.mp4'.encode('latin-1'))
    pathlib.Path(name).write_bytes(VIDEO)
    rows = [Row(name, (1, 2), 3, 4), Row('a.mp4', (0,), 0, 0)]
    lists.write_rows('list.csv', rows)
    assert lists.read_rows('list.csv', use_start_frame=True, use_video_id=True) == rows


def test_a_list_is_written_whole_or_not_at_all(videos):
    lists.write_rows('list.csv', [Row('a.mp4', (1,)), Row('b.mp4', (2,))])
    assert pathlib.Path('list.csv').read_text() == 'org_video,label\na.mp4,1\nb.mp4,2\n'
    with pytest.raises(AttributeError):
        lists.write_rows('list.csv', [Row('c.mp4', (1,)), None])
    assert lists.read_rows('list.csv') == [Row('a.mp4', (1,)), Row('b.mp4', (2,))]
    assert not partials(videos)


@pytest.mark.parametrize(
    ('row', 'problem'),
    [
        ('nope.mp4,1,0,0', 'nope.mp4 does not exist in /'),
        ('/nope.mp4,1,0,0', '/nope.mp4 does not exist$'),
        ('empty.mp4,1,0,0', 'empty.mp4 is empty'),
        ('folder.mp4,1,0,0', 'folder.mp4 is not a regular file but a folder'),
        ('/dev/null,1,0,0', '/dev/null is not a regular file but a device'),
        ('a.mp4\u2028,1,0,0', r"'a.mp4\\u2028' does not exist in /"),
        ('a.mp4,-1,0,0', 'label is -1; the first class is 0'),
        ('a.mp4,3;-2,0,0', 'label is -2; the first class is 0'),
        pytest.param(
            f'a.mp4,{"7" * 5000},0,0', 'label has 5000 digits, which need more', id='digits'
        ),
        pytest.param(
            f'a.mp4,{"x" * 5000},0,0', r"label is 'x{30}\.\.\.', not an integer$", id='letters'
        ),
        ('a.mp4/b,1,0,0', "'a.mp4/b': Not a directory"),
        (' ,1,0,0', 'org_video is empty'),
        ('a.mp4,,0,0', 'label is empty'),
        ('a.mp4', 'label is empty'),
        ('a.mp4,cat,0,0', "label is 'cat', not an integer"),
        ('a.mp4,1.5,0,0', "label is '1.5', not an integer"),
        ('a.mp4,1_0,0,0', "label is '1_0', not an integer"),
        ('a.mp4,1;x,0,0', "label is 'x', not an integer"),
        ('a.mp4,1;,0,0', 'label is empty'),
        ('a.mp4,2147483648,0,0', 'label is 2147483648, which needs more than 32 bits'),
        ('a.mp4,1,-1,0', 'start_frm is -1; the first frame is 0'),
        ('a.mp4,1,x,0', "start_frm is 'x', not an integer"),
        ('a.mp4,1,0,9223372036854775808', 'video_id is 9223372036854775808, which needs more than'),
        ('a.mp4,1,0', 'video_id is empty'),
        ('a.mp4,b.mp4,1,0,0', 'more fields than columns'),
        ('d.mp4,1,0,0', 'd.mp4 has 50 bytes; a record takes 49 at most'),
    ],
)
def test_a_bad_row_is_named(videos, row, problem):
    (videos / 'd.mp4').write_bytes(b'd' * 50)
    path = write_list(f'org_video,label,start_frm,video_id\na.mp4,1,0,0\n\n{row}\n')
    with pytest.raises(InputError, match='list.csv: 1 of 2 rows cannot be used:') as caught:
        lists.read_rows(path, use_start_frame=True, use_video_id=True, max_video_bytes=49)
    assert len(str(caught.value).splitlines()) == 2
    with pytest.raises(InputError, match=f'line 4: {problem}'):
        lists.read_rows(path, use_start_frame=True, use_video_id=True, max_video_bytes=49)


@pytest.mark.skipif(os.geteuid() == 0, reason='root may read every file')
def test_a_file_that_may_not_be_read_is_named(videos):
    (videos / 'a.mp4').chmod(0)
    with pytest.raises(InputError, match='line 2: a.mp4 may not be read'):
        lists.read_rows(write_list('org_video,label\na.mp4,1\n'))


STRAY_QUOTES = {
    'in a path': ('{0}.mp4,{1}\n', '"{0}.mp4,{1}\n'),
    'around a path and more': ('{0}.mp4,{1}\n', '"{0}.mp4",{1}"\n'),
    'in a label': ('{0}.mp4,{1}\n', '{0}.mp4,"{1}\n'),
}


@pytest.mark.parametrize('kind', STRAY_QUOTES)
@pytest.mark.parametrize('stray', [{3}, {3, 9}, {0, 15}, {15}])
def test_a_stray_quote_swallows_no_rows(videos, kind, stray):
    good, bad = STRAY_QUOTES[kind]
    lines = [(bad if i in stray else good).format('abcd'[i % 4], i) for i in range(16)]
    with pytest.raises(
        InputError, match=f'list.csv: (line |[12] of 16 rows.*\n  line ){min(stray) + 2}'
    ):
        lists.read_rows(write_list('org_video,label\n' + ''.join(lines)))


@pytest.mark.parametrize('end', ['"\n', '\n'])
def test_a_stray_quote_in_another_column_swallows_no_rows(videos, end):
    path = write_list(f'org_video,label,note\na.mp4,0,"x\nb.mp4,1,y\nc.mp4,2,z{end}d.mp4,3,\n')
    with pytest.raises(InputError, match='list.csv: line 2( to 4)?:? .*double quote'):
        lists.read_rows(path)


def test_a_quote_that_is_part_of_a_name_will_do(videos):
    names = ['5" long.mp4', '"quoted".mp4', 'two\nlines.mp4', 'a,b.mp4']
    for name in names:
        (videos / name).write_bytes(VIDEO)
    rows = [Row(name, (label,)) for label, name in enumerate(names)]
    lists.write_rows('list.csv', rows)
    assert lists.read_rows('list.csv') == rows
    assert lists.read_rows(write_list('org_video,label\n5" long.mp4,0\n')) == rows[:1]


def test_good_rows_and_bad_ones(videos):
    good, bad = lists.examine_rows(write_list('org_video,label\na.mp4,0\n\nx.mp4,1\na.mp4,\n'))
    assert good == [(2, Row('a.mp4', (0,)))]
    assert bad == [
        (4, 'x.mp4', f'x.mp4 does not exist in {videos}'), (5, 'a.mp4', 'label is empty'),
    ]  # fmt: skip


def test_many_bad_rows_are_counted(videos):
    text = 'org_video,label\na.mp4,1\n' + ''.join(f'x{i}.mp4,1\n' for i in range(25))
    with pytest.raises(InputError, match='25 of 26 rows cannot be used') as caught:
        lists.read_rows(write_list(text))
    lines = str(caught.value).splitlines()
    assert len(lines) == 12
    assert lines[1].startswith('  line 3: x0.mp4 does not exist')
    assert lines[-1] == '  and 15 more'


@pytest.mark.parametrize(
    ('text', 'problem'),
    [
        ('', 'list.csv is empty; its first line should be org_video,label,video_id'),
        ('org_video,label,video_id\n\n', 'list.csv has no rows under its header'),
        ('a.mp4,1,2\n', "line 1 names no column org_video; it should .* is 'a.mp4,1,2'"),
        ('\norg_video,label\na.mp4,1\n', 'line 2 names no column video_id'),
        ('org_video,label,video_id,label\na.mp4,1,2,3\n', 'line 1 names several columns label'),
        ('org_video,label,video_id\n' + 'a' * 200_000, 'line 2: field larger than field limit'),
    ],
)
def test_a_bad_list_is_refused(videos, text, problem):
    with pytest.raises(InputError, match=problem):
        lists.read_rows(write_list(text), use_video_id=True)


# The tool and the script


def run_tool(*arguments):
    return subprocess.run(
        [sys.executable, TOOL, *arguments], capture_output=True, text=True, check=False
    )


def create(*arguments, text='org_video,label\na.mp4,0\nb.mp4,1\nc.mp4,2\nd.mp4,3\n'):
    list_file = f'--list_file={write_list(text)}'
    return run_tool(list_file, '--output_file=db', '--check=0', *arguments)  # no real videos


def test_the_tool_stores_videos(videos):
    done = create()
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == 'wrote 4 records (0.0 MB) to db\n'
    expected = [Record(VIDEO + name.encode(), (label,)) for label, name in enumerate('abcd')]
    assert sorted(read('db'), key=lambda one: one.labels) == expected
    check_kind(Database('db'), use_local_file=False)


def test_the_tool_stores_paths(videos):
    text = 'org_video,label,start_frm,video_id\na.mp4,5,0,70\na.mp4,5,16,70\nb.mp4,6,0,71\n'
    flags = ['--use_list=1', '--use_video_id=1', '--use_start_frame=1', '--shuffle=0']
    done = create(*flags, text=text)
    assert done.returncode == 0
    assert done.stderr == f'relative paths are stored as they are: they hold from {videos} only\n'
    assert read('db') == [
        Record(b'a.mp4', (5,), 0, 70),
        Record(b'a.mp4', (5,), 16, 70),
        Record(b'b.mp4', (6,), 0, 71),
    ]
    check_kind(Database('db'), use_local_file=True)


def test_the_shuffle_follows_its_seed(videos):
    orders = []
    for flag in '--shuffle=0', '--seed=0', '--seed=0', '--seed=1':
        assert create(flag, '--overwrite=1').returncode == 0
        orders.append([one.labels[0] for one in read('db')])
    assert orders[0] == [0, 1, 2, 3]
    assert orders[0] != orders[1] == orders[2] != orders[3]
    assert all(sorted(order) == orders[0] for order in orders)


@pytest.mark.parametrize(
    ('arguments', 'text', 'problem'),
    [
        ([], 'org_video,label\na.mp4,0\nnope.mp4,1\n', 'list.csv: 1 of 2 rows cannot be used:\n'),
        (['--use_video_id=1'], 'org_video,label\na.mp4,0\n', 'no column video_id'),
        ([], 'label,youtube_id,time_start,time_end\n', 'data/create_list.py makes a list from'),
        (['--use_start_frame=1'], 'org_video,label,start_frm\na.mp4,0,0\n', 'needs --use_list=1'),
        (['--list_file=none.csv'], 'org_video,label\n', 'none.csv: No such file or directory'),
        (['--output_file=.'], 'org_video,label\na.mp4,0\n', '. exists and is not a database'),
    ],
)
def test_nothing_is_written_of_what_cannot_be(videos, arguments, text, problem):
    before = {*videos.iterdir(), videos / 'list.csv'}
    done = create(*arguments, text=text)
    assert (done.returncode, done.stdout) == (1, '')
    assert problem in done.stderr
    assert 'Traceback' not in done.stderr
    assert set(videos.iterdir()) == before


def test_the_tool_asks_before_it_overwrites(videos):
    assert create().returncode == 0
    again = create()
    assert (again.returncode, again.stderr) == (
        1, 'create_video_db.py: db exists already; --overwrite=1 replaces it\n',
    )  # fmt: skip
    assert create('--overwrite=1').stdout == 'unchanged: 4 records (0.0 MB) in db\n'
    other = create('--overwrite=1', text='org_video,label\na.mp4,9\n')
    assert (other.returncode, other.stdout) == (0, 'wrote 1 records (0.0 MB) to db\n')
    assert read('db') == [Record(VIDEO + b'a', (9,))]


@pytest.fixture
def script(tmp_path):
    """The script in a repository whose environment is ready and whose sample is two small files."""
    root = tmp_path / 'a root'
    (root / 'scripts').mkdir(parents=True)
    (root / 'data').mkdir()
    shutil.copy(SCRIPT, root / 'scripts')
    for path in (TOOL, TOOL.with_name('_start.py')):
        shutil.copy(path, root / 'data')
    (root / 'scripts' / 'setup.sh').write_text(f'echo "{sys.executable}"\n')
    (root / 'data' / 'create_sample.py').write_text(
        'import pathlib, sys\n'
        'output, split = (argument.split("=")[1] for argument in sys.argv[1:])\n'
        'folder = pathlib.Path(output)\n'
        'folder.mkdir(exist_ok=True)\n'
        '(folder / "v.mp4").write_bytes(bytes(9))\n'
        '(folder / f"{split}_list.csv").write_text(f"org_video,label\\n{folder}/v.mp4,5\\n")\n'
    )

    def run(*arguments, **variables):
        settings = re.findall(r'^[A-Z_]+(?==)', SCRIPT.read_text(), re.MULTILINE)
        settings.append('R2PLUS1D_VENV')
        inherited = {k: v for k, v in os.environ.items() if k not in settings}
        return subprocess.run(
            [shutil.which('dash') or 'sh', root / 'scripts' / SCRIPT.name, *arguments],
            env={**inherited, **variables}, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return root, run


def test_the_script_without_a_list_takes_the_sample(script):
    root, run = script
    for outcome in 'wrote', 'unchanged:':  # a second run makes it anew, and finds it the same
        done = run('--check=0')
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f'{outcome} 1 records')
        assert done.stderr.startswith(
            'create_kinetics_lmdb.sh: no LIST_FILE: the bundled sample ->'
        )
    assert read(root / 'data' / 'sample' / 'test_lmdb') == [Record(bytes(9), (5,))]


def test_the_sample_replaces_no_other_database(script, videos):
    _, run = script
    write('mine_lmdb', [Record(b'a', (1,))])
    done = run('--check=0', OUTPUT='mine_lmdb', LIST='mine.csv')
    assert done.returncode == 1
    assert 'mine_lmdb exists already; --overwrite=1 replaces it' in done.stderr
    assert len(read('mine_lmdb')) == 1


def test_the_script_takes_a_list_and_arguments(script, videos):
    _, run = script
    path = write_list('org_video,label,video_id\na.mp4,1,5\nb.mp4,2,6\n', 'my list.csv')
    done = run('--check=0', '--shuffle=0', LIST_FILE=path, USE_LIST='1', USE_VIDEO_ID='1')
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[0] == 'create_kinetics_lmdb.sh: my list.csv -> my list_lmdb'
    assert read('my list_lmdb') == [
        Record(b'a.mp4', (1,), None, 5), Record(b'b.mp4', (2,), None, 6),
    ]  # fmt: skip
    refused = run(LIST_FILE=path)
    assert refused.returncode == 1
    assert 'my list_lmdb exists already' in refused.stderr
    moved = run('--check=0', LIST_FILE=path, OUTPUT='other', OVERWRITE='1')
    assert moved.stdout == 'wrote 2 records (0.0 MB) to other\n'


@pytest.mark.parametrize('start', [0, 1, 4, 5])
def test_unmapping_on_the_way_leaves_nothing_out(tmp_path, monkeypatch, start):
    records = numbered(5)
    path = write(tmp_path / 'db', records)
    with Database(path) as database:
        whole = list(database.records(start))
        opened = []
        environment_of = database._environment_of
        monkeypatch.setattr(
            database, '_environment_of', lambda data: opened.append(1) or environment_of(data)
        )
        monkeypatch.setattr('r2plus1d.datasets.database.MAPPED_BYTES', 1)
        assert list(database.records(start)) == whole
        assert len(opened) == max(0, 4 - start)
    assert [decode(value) for _, _, value in whole] == records[start:]
    assert [index for index, _, _ in whole] == list(range(start, 5))


def test_pages_are_let_go_of_without_the_garbage_collector(tmp_path, monkeypatch):
    path = write(tmp_path / 'db', numbered(4))
    monkeypatch.setattr('r2plus1d.datasets.database.MAPPED_BYTES', 1)
    opened = []
    original = lmdb.open
    monkeypatch.setattr(
        'r2plus1d.datasets.database.lmdb.open',
        lambda *a, **k: opened.append(1) or original(*a, **k),
    )
    gc.disable()
    try:
        with Database(path) as database:
            check_kind(database, use_local_file=False)
            list(database.records())
            assert len(opened) == 4
            for key in list(database.keys()):
                database.get(key)
            assert len(opened) == 8
    finally:
        gc.enable()


def test_a_database_that_is_replaced_meanwhile_is_noticed(tmp_path, monkeypatch):
    path = write(tmp_path / 'db', numbered(4))
    monkeypatch.setattr('r2plus1d.datasets.database.MAPPED_BYTES', 1)
    with Database(path) as database:
        records = database.records()
        next(records)
        with DatabaseWriter(path, 2, overwrite=True) as writer:
            for record in numbered(2):
                writer.add(record)
        with pytest.raises(InputError, match='was replaced while it was read'):
            list(records)


def test_all_who_read_a_replaced_database_are_told_so(tmp_path, monkeypatch):
    path = write(tmp_path / 'db', numbered(4))
    monkeypatch.setattr('r2plus1d.datasets.database.MAPPED_BYTES', 1)
    with Database(path) as database:
        keys = database.keys()
        with DatabaseWriter(path, 2, overwrite=True) as writer:
            for record in numbered(2):
                writer.add(record)
        for key in keys:
            with pytest.raises(InputError, match='was replaced while it was read'):
                database.get(key)


def test_threads_may_read_while_the_file_is_opened_again(tmp_path, monkeypatch):
    path = write(tmp_path / 'db', numbered(4))
    monkeypatch.setattr('r2plus1d.datasets.database.MAPPED_BYTES', 1)
    with Database(path) as database, concurrent.futures.ThreadPoolExecutor(4) as pool:
        keys = database.keys()
        found = list(pool.map(lambda i: decode(database.get(keys[i % 4])), range(400)))
    assert found == 100 * numbered(4)


def test_a_reader_survives_an_identical_rebuild(tmp_path, monkeypatch):
    path = write(tmp_path / 'db', numbered(4))
    monkeypatch.setattr('r2plus1d.datasets.database.MAPPED_BYTES', 1)
    with Database(path) as database:
        records = database.records()
        values = [next(records)[2]]
        assert rebuild(path, numbered(4)) is True
        values += [value for _, _, value in records]
    assert [decode(value) for value in values] == numbered(4)


def test_progress_is_lines_in_a_log(monkeypatch, caplog, tmp_path):
    monkeypatch.syspath_prepend(TOOL.parent)
    import create_video_db

    monkeypatch.setattr(create_video_db, 'RECORDS_BETWEEN_LINES', 2)
    caplog.set_level('INFO')
    (tmp_path / 'video.mp4').write_bytes(bytes(100_000))
    rows = [Row(str(tmp_path / 'video.mp4'), (label,)) for label in range(5)]
    with DatabaseWriter(tmp_path / 'db', len(rows)) as writer:
        create_video_db.write(rows, writer, use_list=False)
    lines = [line.rpartition(', ')[0] for line in caplog.messages]  # without what is left
    assert lines == ['2 of 5 records, 0.2 MB', '4 of 5 records, 0.4 MB']


def test_the_file_is_opened_again_only_after_many_bytes(tmp_path, monkeypatch):
    with Database(write(tmp_path / 'db', [Record(VIDEO, (7,))] * 5)) as database:
        got, opened, unmap = [], [], database._unmap
        monkeypatch.setattr(database, '_unmap', lambda: (opened.append(len(got)), unmap()))
        size = len(encode(Record(VIDEO, (7,))))
        monkeypatch.setattr('r2plus1d.datasets.database.MAPPED_BYTES', 3 * size)
        for key in '01234':
            got.append(database.get(key))
        assert opened == [3], 'with the fourth record there are more than three'
        assert len(set(got)) == 1
