"""A weight file is read once: its blobs, its card and its SHA-256 come from the same reading."""

import dataclasses
import hashlib
import io
import pathlib

import pytest

from conftest import ROOT
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.networks.published import PUBLISHED
from r2plus1d.results import given_file
from r2plus1d.results.digest import DigestReader
from r2plus1d.weights import download
from r2plus1d.weights.card import CARD
from r2plus1d.weights.files import read_weights, save_minidb, save_pickle
from r2plus1d.weights.stored import open_weights
from tool_here import run_here

NETWORK = Network('r2d', 10, clip_length=8, num_labels=5, width=0.5)
LOOK = 8  # bytes that tell a minidb from a pickle
ROOM = 300_000  # bytes around the arrays, which are looked at before a pickle is read


@pytest.fixture
def bytes_read(monkeypatch):
    """{name of a file: bytes read of it}, of files that a user names."""
    counts = {}

    class Counted(io.FileIO):
        def readinto(self, buffer):
            count = super().readinto(buffer)
            counts[pathlib.Path(self.name).name] += count
            return count

        def readall(self):
            content = super().readall()
            counts[pathlib.Path(self.name).name] += len(content)
            return content

    def open_counted(path, mode, opener):
        counts.setdefault(pathlib.Path(path).name, 0)
        return io.BufferedReader(Counted(path, mode, opener=opener), LOOK)

    monkeypatch.setattr(given_file, 'open', open_counted, raising=False)
    return counts


@pytest.mark.parametrize(('save', 'name'), [(save_pickle, 'x.pkl'), (save_minidb, 'x.mdl')])
def test_a_file_is_read_once(tmp_path, bytes_read, save, name):
    path = tmp_path / name
    save(path, random_parameters(NETWORK, 0), {'a': 'b'})
    size, digest = path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()
    bytes_read.clear()
    found = read_weights(path)
    assert size <= bytes_read[name] <= size + ROOM
    assert (found.card, found.sha256) == ({'a': 'b'}, digest)
    assert set(found.blobs) == set(random_parameters(NETWORK, 0))


def test_published_weights_in_the_cache_are_read_once(tmp_path, bytes_read, monkeypatch):
    row = dataclasses.replace(PUBLISHED['r2d_d18_l8'], name='small')
    monkeypatch.setitem(PUBLISHED, 'small', row)
    monkeypatch.setattr(download, 'network_of', lambda row, **_: NETWORK)
    monkeypatch.setenv('R2PLUS1D_CACHE', str(tmp_path))
    path = tmp_path / 'small.pkl'
    save_pickle(path, random_parameters(NETWORK, 0))
    stored = open_weights('small')
    assert (stored.path, stored.sha256) == (path, hashlib.sha256(path.read_bytes()).hexdigest())
    bytes_read.clear()
    open_weights('small')
    assert bytes_read['small.pkl'] <= path.stat().st_size + ROOM


def test_an_export_reads_its_weights_once(tmp_path, bytes_read):
    pytest.importorskip('onnx', reason='needs ONNX')
    path = tmp_path / 'x.pkl'
    save_pickle(path, random_parameters(NETWORK, 0))
    bytes_read.clear()
    flags = (f'--load_model_path={path}', f'--output={tmp_path / "x.onnx"}')
    done = run_here('tools/export_onnx.py', *flags)
    assert done.returncode == 0, done.stderr
    assert bytes_read['x.pkl'] <= path.stat().st_size + ROOM
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:12] in done.stdout


def test_the_digest_is_of_the_whole_file_however_much_was_read(tmp_path):
    path = tmp_path / 'x'
    path.write_bytes(bytes(range(256)) * 1000)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for size in (0, 100, 200_000, 300_000):
        with DigestReader(path) as raw, io.BufferedReader(raw) as file:
            file.read(size)
            assert raw.sha256() == digest


def test_what_follows_a_pickle_is_in_the_digest(tmp_path):
    path = tmp_path / 'x.pkl'
    content = (ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl').read_bytes() + b'more'
    path.write_bytes(content)
    found = read_weights(path)
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert found.card is not None
    assert CARD not in found.blobs
