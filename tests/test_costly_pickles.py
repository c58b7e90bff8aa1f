"""Pickles of a few bytes that would take gigabytes or hours: refused before they are built."""

import collections
import os
import pickle
import resource
import struct
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.errors import InputError
from r2plus1d.weights import files, pickle_steps, safe_pickle
from r2plus1d.weights.files import read_weights

CASES = ROOT.parent / 'shared' / 'cases' / 'weights'
ENCODE = b'c_codecs\nencode\n'
LATIN1 = b'X\x06\x00\x00\x00latin1'


@pytest.fixture
def written(tmp_path):
    """Return a function that writes bytes and gives the path."""

    def write(raw):
        path = tmp_path / 'weights.pkl'
        path.write_bytes(raw)
        return path

    return write


def laughs(levels, last=b''):
    """A tuple of ten times the same tuple, and so on: 10 ** levels empty tuples written out."""
    raw = b')'
    for i in range(levels):
        raw += b'q' + bytes([i]) + b'0(' + 10 * (b'h' + bytes([i])) + b't'
    return raw + last


def string(size):
    return b'X' + struct.pack('<I', size) + size * b'a'


@pytest.mark.parametrize(
    ('steps', 'message'),
    [
        (b'}' + laughs(19) + b'K\x01s.', 'builds far more than the file holds'),
        (b'(' + laughs(19) + b'K\x01d.', 'builds far more than the file holds'),
        (b'\x8f(' + laughs(19) + b'\x90.', 'builds far more than the file holds'),
        (b'(' + laughs(19) + b'\x91.', 'builds far more than the file holds'),
        (laughs(19, b'.'), 'builds far more than the file holds'),
        (
            string(1 << 20) + b'q\x000' + 100 * (ENCODE + b'h\x00' + LATIN1 + b'\x86R0') + b'N.',
            'builds far more than the file holds',
        ),
        (b'Nr' + struct.pack('<I', 10**9) + b'.', 'numbers an object 1000000000 after 2 steps'),
        (b'Np1000000000\n.', 'numbers an object 1000000000 after 2 steps'),
        (b'B' + struct.pack('<I', 1 << 31) + b'abc', 'truncated: it states 2147483648 bytes'),
        (b'\x8e' + struct.pack('<Q', 1 << 62) + b'abc', 'truncated: it states 4611686018427387904'),
        (b'\x95' + struct.pack('<Q', 1 << 62) + b'N.', 'truncated: it states 4611686018427387904'),
        (b'T' + struct.pack('<i', -1) + b'abc', 'truncated: it states -1 bytes'),
        (b'L' + b'9' * 1000 + b'L\n.', 'an integer of 1002 bytes'),
        (b'I' + b'9' * 1000 + b'\n.', 'an integer of 1001 bytes'),
        (b'\x8b' + struct.pack('<i', 1000) + bytes(1000) + b'.', 'an integer of 1000 bytes'),
        (b'N' * 1000, 'truncated'),
        (b'0.', 'nothing on the stack'),
        (b'q\x00.', 'nothing on the stack'),
        (b'(q\x00.', 'nothing on the stack'),
        (b'(N\x86.', 'a mark in the place of an object'),
        (b'h\x05.', 'nothing under this number'),
        (b'Npx\n.', 'no number'),
        (b'K', 'truncated'),
        (b'Np1', 'truncated'),
    ],
    ids=lambda value: value if isinstance(value, str) else '',
)
def test_what_costs_too_much_is_refused(written, steps, message):
    path = written(b'\x80\x02' + steps)
    with pytest.raises(InputError, match=f'^{path}: .*{message}'):
        safe_pickle.load(path)


def test_keys_that_all_collide_are_refused(written):
    """The hash of an integer is its remainder by 2 ** 61 - 1: all of these have the same."""
    keys = {(i + 1) * (2**61 - 1): None for i in range(1000)}
    assert safe_pickle.load(written(pickle.dumps(keys, 4))) == keys
    others = dict.fromkeys(range(pickle_steps.MOST_OTHER_KEYS - 1000))
    safe_pickle.load(written(pickle.dumps([keys, others], 4)))
    with pytest.raises(InputError, match='more than 10000 keys that are not text'):
        safe_pickle.load(written(pickle.dumps([keys, {**others, -1: None}], 4)))


def test_a_pickle_of_too_many_steps_is_refused(written, monkeypatch):
    monkeypatch.setattr(pickle_steps, 'MOST_STEPS', 100)
    assert safe_pickle.load(written(b'N0' * 49 + b'N.')) is None
    with pytest.raises(InputError, match='refused: it takes more than 100 steps'):
        safe_pickle.load(written(b'N0' * 50 + b'N.'))


def ordered_dict_of(pairs):
    """The pickle of an OrderedDict whose items are in the call, as Python 2 writes it."""
    arguments = pickle.dumps((pairs,), 2)[2:-1]
    return b'\x80\x02ccollections\nOrderedDict\n' + arguments + b'R.'


def test_an_ordered_dict_has_keys_of_text(written):
    got = safe_pickle.load(written(ordered_dict_of([['a', 1], [b'b', 2]])))
    assert got == collections.OrderedDict({'a': 1, b'b': 2})
    with pytest.raises(InputError, match='an OrderedDict with keys that are not text'):
        safe_pickle.load(written(ordered_dict_of([[(1, 2), 1]])))


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_the_steps_of_weights_are_followed_to_their_end(written, protocol):
    state = {'a': np.zeros((300, 400), np.float32), 'b': [1, (2.0, 'three'), {'four'}, None, b'5']}
    shared = np.arange(100_000)
    state.update({f'shared {i}': shared for i in range(1000)}, more=frozenset({1, (2, 3)}))
    raw = pickle.dumps(state, protocol)
    with written(raw + b'more').open('rb') as file:
        assert pickle_steps.require_bounded(file) == len(raw)


def test_what_follows_a_pickle_is_refused_where_that_is_asked_for(written):
    path = written(pickle.dumps({'a': 1}, 2) + b'more')
    assert safe_pickle.load(path) == {'a': 1}
    with pytest.raises(InputError, match='weights.pkl: 4 bytes follow the end of the pickle'):
        safe_pickle.require_end(path)
    safe_pickle.require_end(written(pickle.dumps({'a': 1}, 2)))


@pytest.mark.parametrize('name', ['laughs_as_key', 'memo_bomb_1e9'])
def test_cases_of_costly_pickles(name):
    path = CASES / f'{name}.pkl'
    if not path.is_file():
        pytest.skip(f'no costly pickles at {CASES}')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(InputError, match=f'^{path}: refused: '):
        read_weights(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + 100_000  # kilobytes


def test_a_pipe_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / 'x.pkl')
    with pytest.raises(InputError, match='x.pkl is not a regular file but a FIFO'):
        safe_pickle.load(tmp_path / 'x.pkl')


LITTLE_MEMORY = """
import resource, sys
sys.path.insert(0, {lib!r})
from r2plus1d.cli.main import run
from r2plus1d.weights.files import read_weights

def main():
    pages = int(open('/proc/self/statm').read().split()[0])
    most = pages * resource.getpagesize() + (100 << 20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    read_weights({path!r})

run(main)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='needs /proc and RLIMIT_AS')
@pytest.mark.parametrize('suffix', ['pkl', 'mdl'])
def test_a_lack_of_memory_is_no_fault_of_the_file(tmp_path, suffix):
    path = tmp_path / f'large.{suffix}'
    blobs = {'a': np.zeros(40 << 20, np.float32)}  # 160 MB
    (files.save_pickle if suffix == 'pkl' else files.save_minidb)(path, blobs)
    code = LITTLE_MEMORY.format(lib=str(ROOT / 'lib'), path=str(path))
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stdout) == (1, '')
    assert done.stderr.endswith(f': {path}: memory ran out while it was read\n')
    assert len(done.stderr.splitlines()) == 1
