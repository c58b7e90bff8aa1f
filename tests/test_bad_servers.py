"""Weights that change, go on, stall or come from elsewhere: nothing of that is taken for them."""

import concurrent.futures
import hashlib
import itertools
import time
import urllib.request

import pytest

from r2plus1d.errors import InputError
from r2plus1d.results import made_once
from r2plus1d.results.hold import Hold
from r2plus1d.weights import download, transfer
from weight_server import SMALL, fetch, held, names, pickle_of, serving

DATE = 'Wed, 21 Oct 2015 07:28:00 GMT'


@pytest.fixture(scope='module')
def small_weights():
    return pickle_of(SMALL)


@pytest.fixture(scope='module')
def other():
    """Other weights of the same network, of the same length."""
    return pickle_of(SMALL, seed=1)


@pytest.fixture
def server(small_weights, monkeypatch):
    with serving(small_weights, monkeypatch) as server:
        yield server


@pytest.mark.parametrize(('etag', 'changed'), [('"one"', None), (None, DATE), ('W/"x"', DATE)])
def test_what_is_continued_is_asked_for_by_its_version(
    server, small_weights, tmp_path, etag, changed
):
    server.etag, server.changed, server.breaks = etag, changed, [300_000]
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [None, 'bytes=300000-']
    assert server.versions == [None, DATE if changed else etag]
    assert names(tmp_path) == ['small.pkl', 'small.pkl.sha256']


@pytest.mark.parametrize('etag', [None, 'W/"weak"', 'no quotes', '"\xe4"'])
def test_what_has_no_version_is_not_continued(server, small_weights, tmp_path, etag):
    server.etag, server.breaks = etag, [300_000]
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [None, None]


@pytest.mark.parametrize('heeds_if_range', [True, False])
@pytest.mark.parametrize(('etag', 'changed'), [('"second"', None), (None, DATE)])
def test_a_file_that_changed_is_not_put_together(
    server, small_weights, tmp_path, heeds_if_range, etag, changed
):
    older = '"first"' if etag else 'Tue, 20 Oct 2015 07:28:00 GMT'
    held(tmp_path, small_weights[:1000] + bytes(200_000), older)
    server.etag, server.changed, server.heeds_if_range = etag, changed, heeds_if_range
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == ['bytes=201000-'] + [None] * (not heeds_if_range)


def test_a_whole_part_of_a_file_that_changed_is_not_taken(server, small_weights, tmp_path):
    held(tmp_path, bytes(len(small_weights)), '"zeroth"')
    assert fetch(server, tmp_path).read_bytes() == small_weights


@pytest.mark.parametrize('version', ['', 'x', '"a"\nX: y', '"' + 'a' * 3 + '"x'])
def test_a_part_of_no_known_version_starts_anew(server, small_weights, tmp_path, version):
    held(tmp_path, small_weights[:1000], version)
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == [None]


@pytest.mark.parametrize('length', [True, False])
def test_bytes_after_the_end_are_refused(server, small_weights, tmp_path, length):
    server.content, server.length = small_weights + b'more', length
    with pytest.raises(InputError, match='not weights of small: the file: 4 bytes follow the end'):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_file_that_states_more_than_weights_have_is_not_begun(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, 'MOST_PER_PARAMETER', 0)
    size = len(server.content)
    with pytest.raises(InputError, match=f'has {size} bytes; these weights have at most 1048576'):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_file_without_an_end_is_broken_off(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, 'MOST_PER_PARAMETER', 0)
    server.length, server.endless, server.content = False, True, bytes(1000)
    with pytest.raises(InputError, match='goes on after 1048576 bytes; these weights have no more'):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_the_bound_leaves_room_for_the_weights(small_weights):
    most = download._most_bytes(download.network_of(SMALL))
    assert 2 * len(small_weights) < most < 4 * len(small_weights)


def test_a_connection_that_drips_is_given_up(server, tmp_path, monkeypatch):
    """By a clock on which an hour passes between two looks."""
    monkeypatch.setattr(transfer.time, 'monotonic', itertools.count(0, 3600).__next__)
    monkeypatch.setattr(transfer, 'LEAST', 1 << 30)
    with pytest.raises(InputError, match=r'the connection stalls: \d+ bytes in 3600 s, 5 times'):
        fetch(server, tmp_path)
    assert len(server.asked) == transfer.ATTEMPTS


def test_a_connection_that_breaks_and_brings_little_is_given_up(server, tmp_path):
    server.breaks = [1000] * 20
    with pytest.raises(
        InputError, match=r'5000 of \d+ bytes arrived, 5 times; .*5000 bytes are kept'
    ):
        fetch(server, tmp_path)


@pytest.mark.parametrize('target', ['ftp://127.0.0.1/x', 'file:///etc/passwd', 'data:,x', '//'])
def test_a_redirect_leads_to_the_web_only(server, tmp_path, target):
    server.redirect = target
    with pytest.raises(InputError, match='^http://127.*'):
        fetch(server, tmp_path)
    assert names(tmp_path) == []


def test_a_redirect_does_not_lead_out_of_https():
    request = urllib.request.Request('https://example.org/x')
    with pytest.raises(
        InputError, match='redirects to http://example.org/x, which is not followed'
    ):
        transfer._Redirects().redirect_request(
            request, None, 302, 'Found', {}, 'http://example.org/x'
        )


@pytest.mark.parametrize('error', [TimeoutError(), ConnectionError(''), OSError('a text')])
def test_a_broken_connection_is_named(error):
    text = str(error) or type(error).__name__
    assert str(transfer._broken(error)) == f'the connection failed ({text})'


# The file that was first there


def test_the_checksum_is_kept(server, tmp_path):
    path = fetch(server, tmp_path)
    digest, name = (tmp_path / 'small.pkl.sha256').read_text().split()
    assert (digest, name) == (hashlib.sha256(path.read_bytes()).hexdigest(), 'small.pkl')


def test_a_changed_file_in_the_cache_is_named(server, other, tmp_path):
    path = fetch(server, tmp_path)
    path.write_bytes(other)
    with pytest.raises(
        InputError, match=f'^{path} is not the file that was first there: .* sha256'
    ):
        fetch(server, tmp_path)
    (tmp_path / 'small.pkl.sha256').unlink()
    assert fetch(server, tmp_path).read_bytes() == other
    assert len(server.asked) == 1


def test_a_changed_file_on_the_server_is_named(server, small_weights, other, tmp_path):
    fetch(server, tmp_path).write_bytes(b'damaged')
    server.content, server.etag = other, '"second"'
    with pytest.raises(InputError, match=r'^http://127.* is not the file that was first there'):
        fetch(server, tmp_path)
    (tmp_path / 'small.pkl.sha256').unlink()
    assert fetch(server, tmp_path).read_bytes() == other
    assert server.asked[-1] == f'bytes={len(other)}-'  # it was kept


def test_a_damaged_file_is_fetched_anew(server, small_weights, tmp_path):
    fetch(server, tmp_path).write_bytes(small_weights[:-1])
    assert fetch(server, tmp_path).read_bytes() == small_weights


def test_a_cache_that_cannot_be_written_serves(server, small_weights, tmp_path, monkeypatch):
    (tmp_path / 'small.pkl').write_bytes(small_weights)

    def refuse(*arguments, **options):
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(download, 'complete_file', refuse)
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert names(tmp_path) == ['small.pkl']


def test_a_lack_of_memory_does_not_cost_the_download(server, small_weights, tmp_path, monkeypatch):
    def run_out(*arguments):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(download, 'read_weights', run_out)
        with pytest.raises(MemoryError):
            fetch(server, tmp_path)
    assert (tmp_path / 'small.pkl.part').stat().st_size == len(small_weights)


# Several processes at once


@pytest.mark.parametrize('etag', ['"first"', None])
def test_processes_that_need_a_file_together_download_it_once(
    server, small_weights, tmp_path, monkeypatch, etag
):
    server.etag, complete = etag, transfer.complete

    def take_long(*arguments, **options):
        complete(*arguments, **options)
        time.sleep(0.2)

    monkeypatch.setattr(transfer, 'complete', take_long)
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        paths = list(pool.map(lambda _: fetch(server, tmp_path), range(3)))
    assert {path.read_bytes() for path in paths} == {small_weights}
    assert server.asked == [None]
    assert names(tmp_path) == ['small.pkl', 'small.pkl.sha256']


def test_a_file_that_is_of_no_use_is_read_once_while_another_process_replaces_it(
    server, small_weights, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(made_once, 'SECONDS_BETWEEN_LOOKS', 0.01)
    path = tmp_path / 'small.pkl'
    path.write_bytes(b'damaged')
    hold = Hold(path)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(fetch, server, tmp_path)
        time.sleep(0.2)
        assert not waiting.done()
        (tmp_path / 'new').write_bytes(small_weights)
        (tmp_path / 'new').replace(path)
        hold.release()
        assert waiting.result(30) == path
    assert server.asked == []
    assert caplog.text.count('downloading anew') == 1


def test_what_a_killed_process_left_is_continued(server, small_weights, tmp_path):
    held(tmp_path, small_weights[:1000])
    (tmp_path / 'small.pkl.lock').write_text('{}')
    assert fetch(server, tmp_path).read_bytes() == small_weights
    assert server.asked == ['bytes=1000-']
    assert names(tmp_path) == ['small.pkl', 'small.pkl.sha256']


def test_what_is_there_needs_no_lock(server, small_weights, tmp_path, monkeypatch):
    (tmp_path / 'small.pkl').write_bytes(small_weights)
    monkeypatch.setattr(made_once, 'Hold', None)
    assert fetch(server, tmp_path).read_bytes() == small_weights
