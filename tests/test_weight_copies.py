"""Other publishers' weights: their rows, and downloads whose name tells the checksum."""

import concurrent.futures
import hashlib
import time

import pytest

from onnx_models import parameters_of
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks import copies as rows
from r2plus1d.networks.copies import COPIES, Copy
from r2plus1d.networks.network import Network
from r2plus1d.weights import copies, stored, torch_file
from r2plus1d.weights.state_dict import to_state_dict
from tool_here import run_here
from weight_server import names, serving

SMALL = Network('r3d', 10, num_labels=5, width=0.125)


@pytest.fixture
def row(tmp_path, monkeypatch):
    """A Copy of a small network, known by its name, and the bytes of its file."""
    torch_file.write(tmp_path / 'x.pth', to_state_dict(SMALL, parameters_of(SMALL)))
    raw = (tmp_path / 'x.pth').read_bytes()
    (tmp_path / 'x.pth').unlink()
    name = f'small-{hashlib.sha256(raw).hexdigest()[:8]}'
    row = Copy(name, 'small', 'http://127.0.0.1/{name}.pth', 'r3d', 10, 16, 2, 1e-5)
    monkeypatch.setitem(COPIES, name, row)
    return row, raw


def fetch(server, folder, row):
    mirror = server.mirror.replace('{key}/', '').replace('.pkl?dl=1', '.pth')
    return copies.fetch_copy(row, folder, mirror=mirror)


def test_a_file_is_fetched_once(tmp_path, monkeypatch, row):
    row, raw = row
    with serving(raw, monkeypatch) as server:
        path = fetch(server, tmp_path, row)
        assert path == tmp_path / f'{row.name}.pth'
        assert fetch(server, tmp_path, row) == path
        assert server.paths == [f'/{row.name}.pth']
        path.write_bytes(raw[:-1])  # damaged since
        assert fetch(server, tmp_path, row).read_bytes() == raw
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize('etag', ['"first"', None])
def test_processes_that_need_a_file_together_download_it_once(tmp_path, monkeypatch, row, etag):
    (row, raw), digest_of = row, copies.sha256_of

    def take_long(path):
        time.sleep(0.2)
        return digest_of(path)

    monkeypatch.setattr(copies, 'sha256_of', take_long)
    with serving(raw, monkeypatch) as server, concurrent.futures.ThreadPoolExecutor(3) as pool:
        server.etag = etag
        paths = list(pool.map(lambda _: fetch(server, tmp_path, row), range(3)))
        assert server.asked == [None]
    assert {path.read_bytes() for path in paths} == {raw}
    assert names(tmp_path) == [f'{row.name}.pth']


def test_another_file_is_refused(tmp_path, monkeypatch, row):
    row, raw = row
    changed = bytearray(raw)
    changed[-1] ^= 1
    with (
        serving(bytes(changed), monkeypatch) as server,
        pytest.raises(InputError, match=f'which does not begin with {row.digest}'),
    ):
        fetch(server, tmp_path, row)
    assert names(tmp_path) == []
    with pytest.raises(InputError, match='mirror is ftp://x; it begins with'):
        copies.fetch_copy(row, tmp_path, mirror='ftp://x')


def test_every_tool_asks_the_mirror(tmp_path, monkeypatch, row):
    row, raw = row
    with serving(raw, monkeypatch) as server:
        monkeypatch.setenv('R2PLUS1D_MIRROR', server.mirror.replace('{key}/', ''))
        monkeypatch.setenv('R2PLUS1D_CACHE', str(tmp_path))
        assert Model.load(row.name).network.architecture == 'r3d'
    monkeypatch.setenv('R2PLUS1D_MIRROR', 'ftp://x')
    with pytest.raises(InputError, match='R2PLUS1D_MIRROR is ftp://x; it begins with'):
        copies.fetch_copy(row, tmp_path / 'other')


def test_a_name_is_enough(tmp_path, monkeypatch, row):
    row, raw = row
    monkeypatch.setenv('R2PLUS1D_CACHE', str(tmp_path))
    (tmp_path / f'{row.name}.pth').write_bytes(raw)
    model = Model.load(row.name)
    assert (model.network.bn_epsilon, model.network.clip_length, model.input.rate) == (1e-5, 16, 2)
    with pytest.raises(InputError, match=r'length is 8, and .* is of 16'):
        Model.load(row.name, length=8)


def test_a_file_of_that_name_and_another_network_is_not_the_row(tmp_path, row):
    row, _ = row
    other = Network('mc3', 10, num_labels=5, width=0.125)
    path = tmp_path / f'{row.name}.pth'
    torch_file.write(path, to_state_dict(other, parameters_of(other)))
    assert 'clip_length' not in stored.open_weights(path).network


def test_rows_name_networks_that_are_there():
    for row in rows.ROWS:
        network = Network(row.architecture, row.depth, row.clip_length, bn_epsilon=row.bn_epsilon)
        assert row.input.length == network.clip_length
        assert len(row.digest) == 8
        assert int(row.digest, 16)
        assert row.link.startswith('https://')
        assert row.link.endswith(f'/{row.name}.pth')


def test_the_zoo_lists_them():
    listed = run_here('tools/model_zoo.py')
    assert listed.returncode == 0
    for row in rows.ROWS:
        assert row.address in listed.stdout
        assert f'{row.name} | {row.label}' in listed.stdout


def test_the_zoo_downloads_them(tmp_path, monkeypatch, row):
    name = 'r3d_18-b3b3357e'
    monkeypatch.setitem(COPIES, name, row[0])
    with serving(row[1], monkeypatch) as server:
        made = run_here(
            'tools/model_zoo.py', f'--download={name}', f'--cache={tmp_path}',
            f'--mirror=http://127.0.0.1:{server.server_port}/{{name}}.pth',
        )  # fmt: skip
    assert (made.returncode, made.stdout) == (0, f'{tmp_path}/{row[0].name}.pth\n')
