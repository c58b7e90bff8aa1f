"""Pickles written block by block: what plain pickle reads, and what it takes to write them."""

import io
import pickle
import pickletools
import tracemalloc

import numpy as np
import pytest

from r2plus1d.features import array_pickle
from r2plus1d.weights import safe_pickle

RNG = np.random.default_rng(0)
ARRAYS = {
    'softmax': RNG.standard_normal((37, 8)).astype(np.float32),
    'data': RNG.standard_normal((5, 3, 2, 4, 4)).astype(np.float32),
    'label': RNG.integers(-(2**31), 2**31, 37).astype(np.int32),
    'video_id': RNG.integers(-(2**63), 2**63, 37, dtype=np.int64),
    'high': np.full((9, 3), -1, np.int32),  # no byte is ASCII
    'low': np.zeros((300, 2), np.float32),
    'nan': np.array([np.nan, np.inf, -0.0], np.float32),
    'none': np.zeros((0, 4), np.float32),
}


def parts(array, step):
    return lambda: (array[i : i + step] for i in range(0, len(array), step))


def written(arrays, step=4):
    file = io.BytesIO()
    rows = [(name, a.dtype.name, a.shape, parts(a, step)) for name, a in arrays.items()]
    array_pickle.write(file, rows)
    return file.getvalue()


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()
        assert found[name].flags['C_CONTIGUOUS']


@pytest.mark.parametrize('step', [1, 4, 1000])
@pytest.mark.parametrize('options', [{}, {'encoding': 'latin1'}, {'encoding': 'bytes'}])
def test_plain_pickle_reads_it(step, options):
    content = pickle.loads(written(ARRAYS, step), **options)
    assert_same(content, ARRAYS)
    content['label'][0] = 5  # an array as any other


def test_our_own_reader_reads_it(tmp_path):
    (tmp_path / 'f.pkl').write_bytes(written(ARRAYS))
    assert_same(safe_pickle.load(tmp_path / 'f.pkl'), ARRAYS)


def test_blocks_do_not_show_in_the_bytes():
    assert len({written(ARRAYS, step) for step in (1, 3, 10**6)}) == 1


def test_python_2_knows_every_opcode():
    operations = [op for op, _, _ in pickletools.genops(written(ARRAYS))]
    assert max(op.proto for op in operations) == 2
    assert {op.name for op in operations} <= {
        'PROTO', 'EMPTY_DICT', 'BINUNICODE', 'GLOBAL', 'BININT1', 'BININT2', 'BININT', 'BINPUT',
        'BINGET', 'TUPLE1', 'TUPLE2', 'TUPLE3', 'TUPLE', 'MARK', 'REDUCE', 'BUILD', 'SETITEM',
        'NEWFALSE', 'NEWTRUE', 'NONE', 'STOP', 'LONG1',
    }  # fmt: skip


def test_it_is_what_pickle_itself_says():
    """The same calls with the same arguments as pickle.dump(..., protocol=2) without its memo."""

    def said(content):
        memo = ('BINPUT', 'BINGET', 'LONG_BINPUT')
        return [
            (op.name, argument)
            for op, argument, _ in pickletools.genops(content)
            if op.name not in (*memo, 'GLOBAL', 'BINUNICODE', 'MARK', 'SETITEM', 'SETITEMS')
        ]

    arrays = {name: ARRAYS[name] for name in ('label',)}  # one: nothing is repeated
    assert said(written(arrays)) == said(pickle.dumps(arrays, protocol=2))


def test_no_global_but_those_of_arrays():
    named = {arg for op, arg, _ in pickletools.genops(written(ARRAYS)) if op.name == 'GLOBAL'}
    assert named == {
        'numpy.core.multiarray _reconstruct', 'numpy ndarray', 'numpy dtype', '_codecs encode',
    }  # fmt: skip


def test_memory_is_a_few_blocks():
    class Sink:
        size = 0

        def write(self, data):
            self.size += len(data)

    def blocks():
        for _ in range(64):
            yield np.full(1 << 18, -1, np.int32)

    sink = Sink()
    tracemalloc.start()
    array_pickle.write(sink, [('x', 'int32', (64 << 18,), blocks)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sink.size > 128 << 20
    assert peak < 8 << 20


def test_the_largest_array_that_python_2_reads():
    """Its length is a signed number of 32 bits, and each byte may take two."""
    assert 2 * array_pickle.MAX_BYTES <= 2**31 - 1
