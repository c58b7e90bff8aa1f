"""The format safetensors, read and written without the package of that name."""

import json
import struct

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.weights import safetensors_file
from torch_entries import assert_same

ARRAYS = {
    'a.weight': np.arange(3, dtype=np.float32),
    'count': np.array(7, np.int64),
    'half': np.arange(6, dtype=np.float16).reshape(2, 3),
    'empty': np.empty((0, 3), np.float32),
}


def written(path, header, numbers=b''):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + numbers)
    return path


def row(begin, end, shape=(1,), dtype='F32'):
    return {'dtype': dtype, 'shape': list(shape), 'data_offsets': [begin, end]}


def test_there_and_back(tmp_path):
    path = tmp_path / 'x.safetensors'
    safetensors_file.write(path, ARRAYS, {'format': 'pt', 'b': 'ü'})
    assert safetensors_file.is_safetensors(path)
    found = safetensors_file.read(path)
    assert_same(found.arrays, ARRAYS)
    assert found.metadata == {'format': 'pt', 'b': 'ü'}
    first = path.read_bytes()
    safetensors_file.write(path, ARRAYS, {'b': 'ü', 'format': 'pt'})
    assert path.read_bytes() == first


def test_every_number_is_at_a_multiple_of_its_size(tmp_path):
    path = tmp_path / 'x.safetensors'
    safetensors_file.write(path, ARRAYS)
    raw = path.read_bytes()
    (length,) = struct.unpack('<Q', raw[:8])
    assert length % 8 == 0
    for name, described in json.loads(raw[8 : 8 + length]).items():
        assert described['data_offsets'][0] % ARRAYS[name].itemsize == 0


def test_the_package_reads_it_and_the_reverse(tmp_path):
    package = pytest.importorskip('safetensors.numpy', reason='needs safetensors')
    safetensors_file.write(tmp_path / 'a', ARRAYS, {'format': 'pt'})
    assert_same(package.load_file(tmp_path / 'a'), ARRAYS)
    package.save_file(ARRAYS, tmp_path / 'b', {'format': 'pt'})
    assert_same(safetensors_file.read(tmp_path / 'b').arrays, ARRAYS)


def test_bfloat16_becomes_float32(tmp_path):
    numbers = np.array([1.5, -2], np.float32)
    halves = (numbers.view(np.uint32) >> 16).astype('<u2').tobytes()
    path = written(tmp_path / 'x', {'a': row(0, 4, (2,), 'BF16')}, halves)
    assert_same(safetensors_file.read(path).arrays, {'a': numbers})


@pytest.mark.parametrize(
    ('header', 'numbers', 'message'),
    [
        ({'a': row(0, 4)}, b'123', 'have 4 bytes, and 3 are there'),
        ({'a': row(0, 4)}, b'12345', 'have 4 bytes, and 5 are there'),
        ({'a': row(0, 4), 'b': row(0, 4)}, b'1234', 'overlap or leave a gap'),
        ({'a': row(0, 4), 'b': row(5, 9)}, b'123456789', 'overlap or leave a gap'),
        ({'a': row(4, 0)}, b'', 'overlap or leave a gap'),
        ({'a': row(0, 4, (2,))}, b'1234', 'a has 4 bytes, which its shape'),
        ({'a': row(0, 4, (-1, -1))}, b'1234', 'a has the shape'),
        ({'a': row(0, 4, (1,), 'F8')}, b'1234', 'a is of F8; known: F64'),
        ({'a': {'dtype': 'F32'}}, b'', 'data_offsets'),
        ({'a': 3}, b'', ''),
        ({'a': row(0, 0, [9999] * 100_000)}, b'', 'a has 100000 dimensions, more than 32'),
        ({'a': row(0, 0, [0] * 33)}, b'', 'a has 33 dimensions, more than 32'),
        ({'a': {**row(0, 4), 'shape': 'text'}}, b'1234', 'a has no list as its shape'),
        ({'a': {**row(0, 4), 'shape': {}}}, b'1234', 'a has no list as its shape'),
        (
            b'{"a": {"data_offsets": [0, ' + b'9' * 10_000 + b']}}',
            b'',
            'an integer of 10000 digits',
        ),
        ({'__metadata__': {'a': 1}}, b'', '__metadata__ is not texts by name'),
        ({'__metadata__': []}, b'', '__metadata__ is not texts by name'),
        ({'__metadata__': 'text'}, b'', '__metadata__ is not texts by name'),
        (b'{"a": 1, "a": 2}', b'', 'a name is there twice'),
        (b'{"a": ', b'', ''),
        (b'{"a": [' + b'{},' * 100_001 + b'{}]}', b'', 'more than 100000 objects'),
        (b'{' + b' ' * 16_000_001 + b'}', b'', 'header has 16000003 bytes, more than 16000000'),
        (b'[' * 100_000, b'', ''),
    ],
)
def test_damaged_files(tmp_path, header, numbers, message):
    path = written(tmp_path / 'x', header, numbers)
    with pytest.raises(InputError, match=f'x is no readable .safetensors file: .*{message}'):
        safetensors_file.read(path)


def test_a_file_that_is_cut_anywhere(tmp_path):
    path = tmp_path / 'x'
    safetensors_file.write(path, ARRAYS)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match='no readable'):
            safetensors_file.read(path)
