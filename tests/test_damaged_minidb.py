"""Minidbs that are damaged or made to do harm: one line each, and no memory beyond the file's."""

import os
import random
import struct
import tracemalloc

import numpy as np
import pytest

from conftest import ROOT
from minidb_records import joined, piece, split, tensor
from r2plus1d.errors import InputError
from r2plus1d.results.given_file import open_given
from r2plus1d.weights import card, minidb, wire
from r2plus1d.weights.files import read_weights
from tool_here import run_here

CASES = ROOT.parent / 'shared' / 'cases' / 'weights'
EIGHT, FOUR = range(8), range(8, 12)


def read_tensors(path):
    with open_given(path) as file:
        return minidb.read(path, file)[0]


@pytest.fixture
def written(tmp_path):
    """Return a function that writes bytes and gives the path."""

    def write(raw):
        path = tmp_path / 'model.mdl'
        path.write_bytes(raw)
        return path

    return write


@pytest.mark.parametrize(
    'records',
    [
        [piece([3, 4], EIGHT, (0, 8)), piece([3, 4], FOUR, (8, 12))],
        [piece([3, 4], FOUR, (8, 12)), piece([3, 4], EIGHT, (0, 8))],
        [piece([3, 4], range(12))],
        [piece([3, 4], range(12), (0, 12)), piece([3, 4], [], (12, 12))],
    ],
)
def test_pieces_make_up_a_tensor_in_any_order(written, records):
    ((name, array),) = read_tensors(written(joined(records)))
    assert (name, array.dtype) == ('x', np.float32)
    assert np.array_equal(array, np.arange(12).reshape(3, 4))


def test_a_tensor_may_be_empty_or_of_one_number(written):
    records = [piece([0, 3], [], name=b'none'), piece([], [7], name=b'one')]
    none, one = (array for _, array in read_tensors(written(joined(records))))
    assert (none.shape, one.shape, float(one)) == ((0, 3), (), 7)


@pytest.mark.parametrize(
    ('records', 'message'),
    [
        (
            [piece([3, 4], EIGHT, (0, 8)), piece([3, 4], FOUR, (0, 4))],
            'x has two pieces with value 0',
        ),
        (
            [piece([3, 4], EIGHT, (0, 8)), piece([3, 4], FOUR, (7, 11))],
            'x has two pieces with value 7',
        ),
        ([piece([12], range(12)), piece([12], range(12))], 'x has two pieces with value 0'),
        (
            [piece([3, 4], [1] * 3, (0, 3)), piece([3, 4], EIGHT, (4, 12))],
            'x is cut short: values 3 to 4 are missing',
        ),
        ([piece([3, 4], FOUR, (8, 12))], 'x is cut short: values 0 to 8 are missing'),
        ([piece([3, 4], EIGHT, (0, 8))], 'x is cut short: 8 of 12 values'),
        ([piece([3], EIGHT, (0, 8))], r'x holds 8 values, more than its shape \[3\]'),
        ([piece([3, 4], EIGHT, (-4, 4))], 'x has 8 values in a piece of -4 to 4'),
        ([piece([3, 4], EIGHT, (0, 12))], 'x has 8 values in a piece of 0 to 12'),
        ([piece([3, 4], EIGHT, (4, 0))], 'x has 8 values in a piece of 4 to 0'),
        (
            [piece([3, 4], EIGHT, (0, 8)), piece([4, 3], FOUR, (8, 12))],
            'x has pieces of tensors of different shapes or types',
        ),
        ([piece([-1], EIGHT)], r'x has the shape \[-1\], which no tensor has'),
        ([piece([1 << 40], EIGHT)], 'x is cut short: 8 of 1099511627776 values'),
        ([piece([1 << 31] * 3, EIGHT)], r'x has the shape \[2147483648, .*\], which no tensor'),
        ([piece([0, 1 << 62], [])], r'x has the shape \[0, 4611686018427387904\], which no tensor'),
        ([piece([1] * 33, [1])], 'x has more than 32 dimensions'),
        ([piece([1] * 99999, [1])], 'x has more than 32 dimensions'),
        ([(b'x', tensor(wire.field(2, b'\1\1')))], 'x is cut short: 0 of 1 values'),
        ([(b'x', tensor(wire.field(3, b'12345')))], 'not a readable minidb: record 1'),
        ([(b'x', tensor(wire.field(3, 5)))], 'not a readable minidb: record 1'),
        ([(b'x', tensor(wire.field(1, b'\x80')))], 'not a readable minidb: record 1'),
        ([(b'x', tensor(wire.field(1, b'\x80' * 11 + b'\0')))], 'not a readable minidb: record 1'),
        ([(b'x', b'\0\0')], 'not a readable minidb: record 1'),
        ([(b'', b'')] * 100_001, 'more than 100000 records'),
        ([(b'x', tensor(wire.field(1, 1) * 600_000))] * 2, 'record 2: more than 1048576 fields'),
    ],
)
def test_what_is_not_one_tensor_is_refused(written, records, message):
    path = written(joined(records))
    with pytest.raises(InputError, match=f'^{path}.*{message}'):
        read_tensors(path)


@pytest.mark.parametrize('name', ['overlap', '33dims', 'zerodims'])
def test_cases_of_damaged_minidbs(tmp_path, name):
    path = CASES / f'mdb_{name}.mdl'
    if not path.is_file():
        pytest.skip(f'no damaged minidbs at {CASES}')
    done = run_here(
        'tools/minidb_to_pickle.py',
        f'--load_model_path={path}',
        f'--save_model_path={tmp_path}/out.pkl',
    )
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.startswith(f'minidb_to_pickle.py: {path}')
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('count', [1, 2, minidb.MOST_DIMS, 70_000])
def test_numbers_alone_and_packed_are_the_same(count):
    numbers = [(-1) ** i * (i * 7919) ** (i % 5) for i in range(count)]
    signed = np.array([(n + (1 << 63)) % (1 << 64) - (1 << 63) for n in numbers], np.int64)
    assert np.array_equal(wire.integers(wire.packed(signed)), signed)
    alone = b''.join(wire.packed_form(0, int(n) % (1 << 64), alone=0) for n in signed)
    assert np.array_equal(wire.integers(alone), signed)


def test_a_minidb_takes_no_memory_beyond_its_size(written):
    raw = joined([piece([1 << 20], [1], name=b'%d' % i) for i in range(1000)])
    path = written(raw)
    tracemalloc.start()
    with pytest.raises(InputError, match='cut short: 1 of 1048576'):
        read_tensors(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40 * len(raw)  # of objects; the tensors that it tells of would have 4 GB


def test_a_pipe_is_refused_unopened(tmp_path):
    path = tmp_path / 'model.mdl'
    os.mkfifo(path)
    for db_type in ('minidb', 'pickle', None):
        with pytest.raises(InputError, match=f'^{path} is a FIFO, not a weight file'):
            read_weights(path, db_type)
    for read in (read_tensors, minidb.is_minidb):
        with pytest.raises(InputError, match=f'^{path} is not a regular file but a FIFO'):
            read(path)


@pytest.mark.parametrize(
    'text',
    ['[' * 100_000, '9' * 1_000_000, '{"a": ' + '9' * 1_000_000 + '}', '{"a": 5}', '[]', 'null'],
    ids=lambda text: text[:6],
)
def test_a_card_that_is_not_texts_is_refused(tmp_path, text):
    path = tmp_path / 'model.mdl'
    minidb.write(path, {'x': np.zeros(3, np.float32)}, {'r2plus1d_card': text})
    if text == 'null':
        assert read_weights(path)[1] is None
        return
    with pytest.raises(InputError, match=f'^{path}: its r2plus1d_card is not texts by name'):
        read_weights(path)


def test_a_card_of_any_length_is_not_parsed(tmp_path, monkeypatch):
    path, text = tmp_path / 'model.mdl', '{"a": "b"}'
    minidb.write(path, {'x': np.zeros(3, np.float32)}, {'r2plus1d_card': text})
    assert read_weights(path)[1] == {'a': 'b'}
    monkeypatch.setattr(card, 'LONGEST_JSON', len(text) - 1)
    with pytest.raises(InputError, match='its r2plus1d_card is not texts by name'):
        read_weights(path)


def mutated(raw, rng):
    """`raw` with a few bytes changed, cut out, put in or repeated."""
    raw = bytearray(raw)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(len(raw) + 1)
        to = min(len(raw), at + rng.choice([1, 1, 4, 40]))
        change = rng.randrange(4)
        if change == 0 and at < len(raw):
            raw[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif change == 1:
            del raw[at:to]
        elif change == 2:
            raw[at:at] = rng.randbytes(to - at)
        else:
            raw[at:at] = raw[at:to]
    return bytes(raw)


def test_a_damaged_minidb_is_read_or_refused(tmp_path, written):
    minidb.write(
        tmp_path / 'whole',
        {'x': np.ones((3, 4), np.float32), 'n': np.array([5, -1]), 'd': np.zeros((), np.float64)},
        {'r2plus1d_card': '{"a": "b"}', 'note': 'a text'},
    )
    whole = (tmp_path / 'whole').read_bytes()
    whole += joined([piece([3, 4], EIGHT, (0, 8), b'y'), piece([3, 4], FOUR, (8, 12), b'y')])
    assert len(split(whole)) == 7
    rng, refused = random.Random(0), 0
    for _ in range(500):
        path = written(mutated(whole, rng))
        try:
            read_weights(path, 'minidb')
        except InputError as error:
            assert str(error).startswith(str(path))
            refused += 1
    assert 100 < refused < 500


def test_a_record_longer_than_the_file_is_refused(written):
    raw = struct.pack('<ii', 1, (1 << 31) - 1) + b'x'
    with pytest.raises(InputError, match='cut short at byte 8'):
        read_tensors(written(raw))
