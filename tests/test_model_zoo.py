"""The published tables, the tool that shows a network, and downloads, also from bad servers."""

import contextlib
import dataclasses
import io
import json
import logging
import pathlib
import socket

import pytest

from r2plus1d.cli.main import BAD_USAGE, FAILED
from r2plus1d.errors import InputError
from r2plus1d.networks import cost, published
from r2plus1d.networks.network import Network
from r2plus1d.networks.published import (
    FLOW,
    HEADS,
    LATER,
    PUBLISHED,
    TABLE_2,
    TABLE_5,
    find,
)
from r2plus1d.weights import download, transfer
from tool_here import run_here
from weight_server import SMALL, fetch, held, names, pickle_of, serving

ROOT = pathlib.Path(__file__).resolve().parents[1]


# The tables


def test_every_row_agrees(run_tool):
    done = run_tool('tools/model_zoo.py', '--check')
    later = 'later networks: 11 of 11 rows with published figures agree\n'
    assert (done.returncode, done.stdout) == (0, '28 of 28 rows agree\n' + later)


@pytest.mark.parametrize(
    ('name', 'change', 'told'),
    [
        ('irCSN_152_kinetics_from_scratch', {'glops': 96.715669503}, '96.716 ours'),
        ('irCSN_152_kinetics_from_scratch', {'params': 29.551745}, '29.552 ours'),
        ('ipCSN_152_kinetics_from_scratch', {'architecture': 'ir-csn'}, '96.716 ours'),
        ('r2plus1d_34_clip8_ft_kinetics_from_ig65m', {'glops': 49.7}, '49.750 ours'),
        ('r2plus1d_152_kinetics_from_scratch', {'cost_crop_size': None}, '251.997 ours'),
    ],
)
def test_a_false_later_row_fails_the_check(monkeypatch, name, change, told):
    false = dataclasses.replace(PUBLISHED[name], **change)
    monkeypatch.setattr(published, 'LATER', (false,))
    done = run_here('tools/model_zoo.py', '--check')
    assert done.returncode == FAILED
    assert done.stdout.startswith(f'{name}: ')
    assert told in done.stdout
    assert done.stdout.endswith('later networks: 0 of 1 rows with published figures agree\n')


@pytest.mark.parametrize(
    ('change', 'told'),
    [
        ({'glops': 20.8}, '20.8 GLOPs published, 20.748 ours'),
        ({'params': 33.4}, 'params 33.4 published, 33.344 ours'),
        ({'architecture': 'r3d'}, '20.7 GLOPs published, 20.348 ours'),
    ],
)
def test_a_false_row_fails_the_check(monkeypatch, change, told):
    monkeypatch.setattr(published, 'TABLE_2', (dataclasses.replace(TABLE_2[0], **change),))
    done = run_here('tools/model_zoo.py', '--check')
    assert done.returncode == FAILED
    assert told in done.stdout
    assert '\n3 of 4 rows agree\n' in done.stdout


def test_the_zoo_is_shown_in_120_columns(run_tool):
    done = run_tool('tools/model_zoo.py')
    assert done.returncode == 0, done.stderr
    tables, links = done.stdout.split('Weights\n')
    assert links.splitlines() == [f'{row.name} {row.link}' for row in PUBLISHED.values()]
    lines = tables.splitlines()
    assert max(map(len, lines)) <= 120
    for row in PUBLISHED.values():
        (shown,) = [line for line in lines if line.startswith(f'{row.name} ')]
        size = f'{row.clip_length}x{row.crop_size}x{row.crop_size}'
        top5 = '' if row.video_top5 is None else f'{row.video_top5:.1f}'
        modality = '' if row in LATER + HEADS else row.modality
        for cell in (row.label, size, modality, row.pretrained, top5):
            assert cell in shown
    (first,) = [line for line in lines if line.startswith('r2.5d_d18_l8 ')]
    assert first.split()[5:] == ['53.2', '65.3', '85.2', '20.7', '20.7', '33.3', '33.3']
    (flow,) = [line for line in lines if 'Optical Flow' in line]
    assert flow.split()[-2:] == ['152.1', '63.6']
    later = next(line for line in lines if line.startswith('r2plus1d_34_clip8_ft_kinetics'))
    assert later.split()[4:] == ['74.9', '91.8', '49.8', '49.8', '63.6', '63.6']
    (head,) = [line for line in lines if line.startswith('irCSN_152_ig65m_from_scratch ')]
    assert head.split()[3:5] == ['IG-65M', '359']


def test_links_are_direct_downloads():
    assert len(TABLE_2 + TABLE_5) == 28
    assert len(LATER + HEADS) == 24
    assert len({row.key for row in PUBLISHED.values()}) == len(PUBLISHED) == 28 + 24
    assert PUBLISHED['r2plus1d_34_clip8_ft_kinetics_from_ig65m'].link == (
        'https://www.dropbox.com/s/p81twy88kwrrcop/'
        'r2plus1d_34_clip8_ft_kinetics_from_ig65m_%20f128022400.pkl?dl=1'
    )
    assert PUBLISHED['irCSN_152_ft_kinetics_from_ig65m'].link == (
        'https://www.dropbox.com/s/gmd8r87l3wmkn3h/irCSN_152_ft_kinetics_from_ig65m_f126851907.pkl'
        '?dl=1'
    )
    assert PUBLISHED['c3d_l16'].link == (
        'https://www.dropbox.com/s/hbzn4ykva64avxu/c3d_l16.pkl?dl=1'
    )


def test_the_page_on_models_shows_the_tables():
    page = (ROOT / 'docs' / 'models.md').read_text().splitlines()
    for row in PUBLISHED.values():
        (line,) = [line for line in page if line.startswith(f'| `{row.name}` |')]
        multiply_adds, params = cost.totals(download.cost_network_of(row))
        accuracies = (row.clip_top1, row.video_top1, row.video_top5)
        assert f'({row.link})' in line
        assert ' | '.join(f'{a:.1f}' for a in accuracies if a is not None) in line
        assert f'({multiply_adds / 1e9:.3f})' in line
        assert f'({params / 1e6:.3f})' in line


def test_a_row_is_found_by_its_name_and_by_its_file():
    for row in PUBLISHED.values():
        assert find(row.name) is find(row.file) is row
        assert find(row.file.replace(' ', '%20')) is row
        assert find(row.file.replace(' ', '')) is row
    assert find('irCSN_152_f1') is None


def test_a_mirror_may_have_the_names_of_the_files():
    row = PUBLISHED['r2plus1d_34_clip8_ft_kinetics_from_ig65m']
    assert download.url_of(row, 'https://e.org/{file}.pkl') == (
        'https://e.org/r2plus1d_34_clip8_ft_kinetics_from_ig65m_%20f128022400.pkl'
    )
    assert download.url_of(row, 'https://e.org/{name}.pkl') == f'https://e.org/{row.name}.pkl'


# show_net


@pytest.mark.parametrize('name', ['c3d_d18_l16', 'r2plus1d_d18_l8', 'r2plus1d_d34_l32'])
def test_show_net_json_equals_golden(golden, run_tool, name):
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    expected = json.loads((golden / 'nets' / f'{name}.json').read_text())
    flags = [f'--{key}={expected[key]}' for key in expected if key not in ('ops', 'params')]
    flags = [flag.replace('--clip_length=', '--clip_length_rgb=') for flag in flags]
    assert json.loads(run_tool('tools/show_net.py', '--json', *flags).stdout) == expected


def test_show_net_table(run_tool):
    done = run_tool('tools/show_net.py', '--clip_length_rgb=8', '--num_labels=400')
    lines = done.stdout.splitlines()
    assert lines[1].split() == ['conv1_middle', 'Conv', '45x8x56x56', '6,615', '165,957,120']
    assert lines[-2].split() == ['softmax', 'SoftmaxWithLoss', '400']
    assert lines[-1] == 'FLOPs: 20.748, params: 33.344'


def test_show_net_of_optical_flow(run_tool):
    flags = ('--input_type=flow', '--clip_length_of=8', '--model_name=r2d', '--model_depth=10')
    conv1 = run_tool('tools/show_net.py', *flags).stdout.splitlines()[1].split()
    assert conv1[2:4] == ['64x1x56x56', f'{64 * 2 * 8 * 7 * 7:,}']


def test_show_net_of_training(run_tool):
    pytest.importorskip('caffe2.python', reason='needs Caffe2')
    flags = ('--model_name=r2d', '--model_depth=10', '--training=1')
    ops = json.loads(run_tool('tools/show_net.py', '--json=1', *flags).stdout)['ops']
    assert {op['args']['is_test'] for op in ops if op['type'] == 'SpatialBN'} == {0}


@pytest.mark.parametrize(
    ('flags', 'status', 'message'),
    [
        (['--training=1'], FAILED, 'training is 1 without --json'),
        (['--model_depth=ten'], BAD_USAGE, "'ten' is not an integer"),
    ],
)
def test_show_net_refuses_in_one_line(run_tool, flags, status, message):
    done = run_tool('tools/show_net.py', *flags)
    assert (done.returncode, done.stdout) == (status, '')
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


# Downloads


@pytest.fixture(scope='module')
def small_weights():
    return pickle_of(SMALL)


@pytest.fixture
def server(small_weights, monkeypatch):
    with serving(small_weights, monkeypatch) as server:
        yield server


def test_download(server, small_weights, tmp_path):
    path = fetch(server, tmp_path / 'new' / 'cache')
    assert path == tmp_path / 'new' / 'cache' / 'small.pkl'
    assert path.read_bytes() == small_weights
    assert names(path.parent) == ['small.pkl', 'small.pkl.sha256']
    assert server.paths == ['/key/small.pkl?dl=1']


def test_what_is_there_is_not_fetched(server, small_weights, tmp_path):
    (tmp_path / 'small.pkl').write_bytes(small_weights)
    assert fetch(server, tmp_path) == tmp_path / 'small.pkl'
    assert server.asked == []


def test_the_file_says_how_many_classes(server, tmp_path):
    for labels in (359, 487):
        row = dataclasses.replace(SMALL, name=f'of_{labels}', num_labels=labels)
        server.content = pickle_of(row)
        fetch(server, tmp_path, dataclasses.replace(row, num_labels=None))
        with pytest.raises(InputError, match=f'of_{labels}: the file does not hold this network'):
            fetch(server, tmp_path / 'other', dataclasses.replace(row, num_labels=401))


def test_what_does_not_load_is_fetched_anew(server, small_weights, tmp_path):
    (tmp_path / 'small.pkl').write_bytes(small_weights[:1000])
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [None]


def test_a_partial_file_is_continued(server, small_weights, tmp_path):
    held(tmp_path, small_weights[:1000])
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == ['bytes=1000-']
    assert names(tmp_path) == ['small.pkl', 'small.pkl.sha256']


def test_dropped_connections_are_resumed(server, small_weights, tmp_path):
    server.breaks = [300_000, 0, 500_000]
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [None, 'bytes=300000-', 'bytes=300000-', 'bytes=800000-']


def test_a_server_that_ignores_ranges_starts_over(server, small_weights, tmp_path):
    server.ranges = False
    server.breaks = [300_000]
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [None, 'bytes=300000-']


def test_a_server_that_always_drops_is_given_up(server, tmp_path):
    server.breaks = [300_000] + [0] * 20
    with pytest.raises(InputError, match=r'300000 of \d+ bytes arrived, 5 times; .*300000 .* kept'):
        fetch(server, tmp_path)
    assert server.asked == [None] + ['bytes=300000-'] * (transfer.ATTEMPTS - 1)
    assert names(tmp_path) == ['small.pkl.part', 'small.pkl.part.version']
    server.breaks = []
    fetch(server, tmp_path)
    assert server.asked[-1] == 'bytes=300000-'


def test_truncation_by_a_server_that_ignores_ranges(server, tmp_path):
    server.ranges = False
    server.breaks = [300_000] * 20
    with pytest.raises(InputError, match=r'300000 of \d+ bytes arrived, 5 times'):
        fetch(server, tmp_path)
    assert names(tmp_path) == ['small.pkl.part', 'small.pkl.part.version']
    assert (tmp_path / 'small.pkl.part').stat().st_size == 300_000


def test_a_complete_partial_file_is_taken(server, small_weights, tmp_path):
    held(tmp_path, small_weights)
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [f'bytes={len(small_weights)}-']


def test_a_longer_partial_file_is_another_file(server, small_weights, tmp_path):
    held(tmp_path, bytes(len(small_weights) + 1))
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [f'bytes={len(small_weights) + 1}-', None]


def test_the_start_of_another_file_is_not_kept(server, small_weights, tmp_path):
    held(tmp_path, b'another file')
    with pytest.raises(InputError, match='not weights of small'):
        fetch(server, tmp_path)
    assert names(tmp_path) == []
    assert fetch(server, tmp_path).read_bytes() == small_weights


def test_a_length_that_is_not_stated(server, small_weights, tmp_path):
    server.length = False
    assert fetch(server, tmp_path).read_bytes() == small_weights


def test_a_file_that_ends_early_without_a_stated_length(server, tmp_path):
    server.length = False
    server.breaks = [300_000]
    with pytest.raises(InputError, match='not weights of small: the file: .*truncated'):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ('status', 'message', 'requests'),
    [
        (404, 'HTTP 404 Not Found', 1),
        (403, 'HTTP 403 Forbidden', 1),
        (503, 'HTTP 503 .* 5 times', 5),
    ],
)
def test_refusals(server, tmp_path, status, message, requests):
    held(tmp_path, b'kept')
    server.status = status
    with pytest.raises(InputError, match=f'^http://127.*/key/small.pkl.dl=1: {message}'):
        fetch(server, tmp_path)
    assert len(server.asked) == requests
    assert names(tmp_path) == ['small.pkl.part', 'small.pkl.part.version']


@pytest.mark.parametrize('content_type', ['text/html; charset=utf-8', 'application/octet-stream'])
def test_a_web_page_is_no_weights(server, tmp_path, content_type):
    server.content = b'\n<!DOCTYPE html><html><body>Sign in</body></html>'
    server.content_type = content_type
    with pytest.raises(InputError, match='a web page.*set R2PLUS1D_MIRROR'):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_web_page_does_not_replace_a_partial_file(server, tmp_path):
    held(tmp_path, b'kept')
    server.content, server.content_type, server.ranges = b'<html></html>', 'text/html', False
    with pytest.raises(InputError, match='a web page'):
        fetch(server, tmp_path)
    assert (tmp_path / 'small.pkl.part').read_bytes() == b'kept'


def test_weights_of_another_network_are_refused(server, tmp_path):
    row = dataclasses.replace(SMALL, name='wider', modality=FLOW)
    with pytest.raises(InputError, match='conv1_w is 64x3x8x7x7, not 64x2x8x7x7') as caught:
        fetch(server, tmp_path, row)
    assert server.mirror.split('{')[0] in str(caught.value)
    assert names(tmp_path) == []


def test_an_interrupt_keeps_what_has_arrived(server, tmp_path, monkeypatch):
    def interrupt(self, size):
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer._Progress, 'add', interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(server, tmp_path)
    assert names(tmp_path) == ['small.pkl.part', 'small.pkl.part.version']
    assert (tmp_path / 'small.pkl.part').stat().st_size > 0


def test_a_silent_server_times_out(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, 'PAUSE_S', 0)
    monkeypatch.setattr(transfer, 'TIMEOUT_S', 0.05)
    with contextlib.closing(_listening()) as listener:
        mirror = f'http://127.0.0.1:{listener.getsockname()[1]}/'
        with pytest.raises(InputError, match=r'the connection failed \(.*timed out.*\), 5 times'):
            download.fetch(SMALL, tmp_path, mirror=mirror)


def _listening():
    return socket.create_server(('127.0.0.1', 0))


def test_nobody_there(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, 'PAUSE_S', 0)
    with contextlib.closing(_listening()) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(InputError, match='the connection failed .*refused'):
        download.fetch(SMALL, tmp_path, mirror=f'http://127.0.0.1:{port}/')


@pytest.mark.parametrize('mirror', ['ftp://example.org/{name}', 'example.org', '/files/{name}.pkl'])
def test_mirrors_are_web_addresses(tmp_path, mirror):
    with pytest.raises(InputError, match=r'mirror is .*; it begins with http'):
        download.fetch(SMALL, tmp_path, mirror=mirror)


def test_the_mirror_of_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv('R2PLUS1D_MIRROR', server.mirror)
    download.fetch(SMALL, tmp_path / 'a')
    assert server.paths == ['/key/small.pkl?dl=1']
    monkeypatch.setenv('R2PLUS1D_MIRROR', 'example.org')
    download.fetch(SMALL, tmp_path / 'b', mirror=server.mirror)  # what is given wins
    with pytest.raises(InputError, match='^R2PLUS1D_MIRROR is example.org; it begins with http'):
        download.fetch(SMALL, tmp_path / 'c')
    monkeypatch.setenv('R2PLUS1D_MIRROR', '')
    assert download.url_of(SMALL) == SMALL.link


def test_progress_in_a_log_is_sparse(server, small_weights, tmp_path, caplog):
    caplog.set_level(logging.INFO, 'r2plus1d.weights.transfer')
    fetch(server, tmp_path)
    lines = [message for message in caplog.messages if message.startswith('small.pkl: ')]
    size = f'{len(small_weights) / 1e6:.1f}'
    assert lines[-1] == f'small.pkl: {size} of {size} MB'
    assert 5 <= len(lines) <= 11


def test_progress_on_a_terminal_is_a_bar(server, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr('sys.stderr', terminal)
    fetch(server, tmp_path)
    assert 'small.pkl: 100%' in terminal.getvalue()


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv('R2PLUS1D_CACHE', str(tmp_path / 'mine'))
    assert download.cache_folder() == tmp_path / 'mine'
    monkeypatch.setenv('R2PLUS1D_CACHE', '')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert download.cache_folder() == tmp_path / '.cache' / 'r2plus1d'


def test_networks_of_the_rows():
    flow = PUBLISHED['r2.5d_d34_l32_ft_sports1m_optical_flow']
    assert download.network_of(flow) == Network(
        'r2plus1d', 34, clip_length=32, num_channels=2, num_labels=400
    )


def test_download_as_a_user_does(server, run_tool, tmp_path, monkeypatch):
    row = PUBLISHED['r2d_d18_l8']
    server.content = pickle_of(row)
    monkeypatch.setenv('R2PLUS1D_CACHE', str(tmp_path / 'cache'))
    flags = ('--download', row.name, f'--mirror={server.mirror}')
    done = run_tool('tools/model_zoo.py', *flags)
    assert (done.returncode, done.stdout) == (0, f'{tmp_path}/cache/r2d_d18_l8.pkl\n')
    assert server.paths == [f'/{row.key}/r2d_d18_l8.pkl?dl=1']

    server.status = 404
    done = run_tool('tools/model_zoo.py', *flags, f'--cache={tmp_path}/other')
    assert (done.returncode, done.stdout) == (FAILED, '')
    assert done.stderr.startswith('model_zoo.py: http://127.0.0.1')
    assert len(done.stderr.splitlines()) == 1


def test_every_tool_takes_the_mirror(
    server, run_tool, make_video, make_database, tmp_path, monkeypatch
):
    """A name as --load_model_path: the address that fails is named, and what to set instead."""
    server.status = 404
    monkeypatch.setenv('R2PLUS1D_CACHE', str(tmp_path))
    monkeypatch.setenv('R2PLUS1D_MIRROR', server.mirror)
    database = make_database([(make_video().read_bytes(), 0)])
    for tool, *flags in (
        ('tools/test_net.py', f'--test_data={database}'),
        ('tools/extract_features.py', f'--test_data={database}'),
        ('tools/show_clips.py', f'--test_data={database}', '--sheet=x.png'),
        ('tools/export_onnx.py', '--output=x.onnx'),
    ):
        done = run_tool(tool, *flags, '--load_model_path=r2d_d18_l8')
        assert done.returncode == FAILED
        (line,) = done.stderr.splitlines()
        assert ': HTTP 404 Not Found; if it has moved, set R2PLUS1D_MIRROR to its new' in line
    assert server.paths == [f'/{PUBLISHED["r2d_d18_l8"].key}/r2d_d18_l8.pkl?dl=1'] * 4


def test_an_unknown_name(run_tool):
    done = run_tool('tools/model_zoo.py', '--download', 'r2.5d_d18_l4')
    assert done.returncode == BAD_USAGE
    assert "'r2.5d_d18_l4' is unknown; known: r2.5d_d18_l8, r3d_d18_l8" in done.stderr
