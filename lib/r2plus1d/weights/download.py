"""Fetch published weights into a cache folder: resumed after a break, kept only if they load."""

import http.client
import logging
import os
import pathlib
import re
import ssl
import sys
import time
import urllib.error
import urllib.request

from tqdm import tqdm

from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network
from r2plus1d.networks.published import KINETICS_LABELS
from r2plus1d.weights.files import load_parameters

log = logging.getLogger(__name__)

ATTEMPTS = 5  # in a row that bring nothing new
PAUSE_S = 1  # times the number of failures
TIMEOUT_S = 30  # without a byte
CHUNK = 1 << 18
LOG_EVERY = 0.1  # of the file
CONTENT_RANGE = re.compile(r'bytes (?:(\d+)-\d+|\*)/(\d+|\*)')
PARTIAL, RANGE_NOT_SATISFIABLE, TIMED_OUT, TOO_MANY_REQUESTS = 206, 416, 408, 429
MIRROR_HINT = 'if it has moved, give its new place with --mirror'


class _Broken(Exception):
    """The connection failed before the file was complete; what has arrived is kept."""


def cache_folder():
    """Return the folder of downloaded weights: R2PLUS1D_CACHE, or ~/.cache/r2plus1d."""
    return pathlib.Path(os.environ.get('R2PLUS1D_CACHE') or '~/.cache/r2plus1d').expanduser()


def network_of(row):
    """Return the Network of a row of zoo.PUBLISHED."""
    depth = {} if row.depth is None else {'depth': row.depth}
    return Network(
        architecture=row.architecture,
        **depth,
        clip_length=row.clip_length,
        num_channels=row.num_channels,
        num_labels=KINETICS_LABELS,
    )


def url_of(row, mirror=None):
    """Return the address of a row's weights; in `mirror`, {key} and {name} stand for the row's."""
    if mirror is None:
        return row.link
    if not mirror.startswith(('http://', 'https://')):
        raise InputError(f'mirror is {mirror}; it begins with http:// or https://')
    return mirror.replace('{key}', row.key).replace('{name}', row.name)


def fetch(row, folder, *, mirror=None):
    """Return the path of a row's weights in `folder`, downloaded unless they are there and load.

    Args:
        row: of zoo.PUBLISHED.
        mirror: another place of the files, such as https://example.org/{name}.pkl.

    Raises:
        InputError: not to be had, incomplete, or not this network's weights. What has arrived of
            an incomplete file stays beside it, as NAME.pkl.part, and the next call continues it.
    """
    url, folder = url_of(row, mirror), pathlib.Path(folder)
    path, part = folder / f'{row.name}.pkl', folder / f'{row.name}.pkl.part'
    if path.exists():
        try:
            load_parameters(path, 'pickle', network_of(row))
            return path
        except InputError as error:
            log.warning('downloading anew: %s', error)
    folder.mkdir(parents=True, exist_ok=True)
    _complete(url, part)
    try:
        load_parameters(part, 'pickle', network_of(row))
    except InputError as error:
        fault = 'a web page' if _is_markup(part) else str(error).replace(str(part), 'the file')
        part.unlink()
        raise InputError(f'{url}: not weights of {row.name}: {fault}; {MIRROR_HINT}') from None
    return part.replace(path)


def _is_markup(path):
    with path.open('rb') as file:
        return file.read(64).lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'<')


def _complete(url, part):
    """Bring `part` to the length that the server states, over as many connections as it takes."""
    most, failures = _size(part), 0
    while True:
        try:
            return _transfer(url, part)
        except _Broken as error:
            failures = 1 if _size(part) > most else failures + 1
            most = max(most, _size(part))
            if failures == ATTEMPTS:
                kept = f' ({_size(part)} bytes are kept to continue)' if _size(part) else ''
                message = f'{url}: {error}, {failures} times; try again later{kept}'
                raise InputError(message) from None
            log.warning('%s: %s; trying again', url, error)
            time.sleep(PAUSE_S * failures)


def _transfer(url, part):
    """Add to `part` what one request brings.

    Raises:
        _Broken: it is not complete, but may be after another request.
        InputError: another request would not help.
    """
    offset = _size(part)
    headers = {'Range': f'bytes={offset}-'} if offset else {}
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
        )
    except urllib.error.HTTPError as error:
        return _refused(error, url, part)
    except (ValueError, http.client.InvalidURL) as error:
        raise InputError(f'{url}: {error}') from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise InputError(f'{url}: the server is not trusted: {reason.verify_message}') from None
        raise _broken(reason) from None
    with response:
        if response.headers.get_content_type() == 'text/html':
            raise InputError(f'{url} answers with a web page instead of the file; {MIRROR_HINT}')
        start, total = _span(response)
        if start not in (0, offset):
            raise InputError(f'{url}: the server sent bytes from {start}, not from {offset}')
        _receive(response, part, start, total)
    if total is not None and _size(part) != total:
        raise _Broken(f'{_size(part)} of {total} bytes arrived')
    return None


def _refused(error, url, part):
    """Act on an HTTP error: return if the file is complete, or raise as _transfer does."""
    with error:
        if error.code == RANGE_NOT_SATISFIABLE and _size(part):
            if _content_range(error) == (None, _size(part)):
                return
            part.unlink()  # of another file, longer than this one
            raise _Broken('the part from an earlier download does not belong to this file')
        if error.code >= 500 or error.code in (TIMED_OUT, TOO_MANY_REQUESTS):
            raise _Broken(f'HTTP {error.code} {error.reason}')
        raise InputError(f'{url}: HTTP {error.code} {error.reason}; {MIRROR_HINT}')


def _broken(error):
    return _Broken(f'the connection failed ({error or type(error).__name__})')


def _span(response):
    """Return (offset of the first byte, length of the whole file or None) of a response."""
    if response.status == PARTIAL:
        return _content_range(response)
    return 0, response.length


def _content_range(response):
    found = CONTENT_RANGE.fullmatch(response.headers['Content-Range'] or '')
    start, total = found.groups() if found else (None, None)
    return int(start) if start else None, int(total) if total and total != '*' else None


def _receive(response, part, start, total):
    with part.open('r+b' if start else 'wb') as file:
        file.seek(start)
        with _Progress(part.stem, start, total) as progress:
            while chunk := _read(response):
                _write(file, chunk)
                progress.add(len(chunk))


def _read(response):
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error) from None


def _write(file, chunk):
    try:
        file.write(chunk)
    except OSError as error:
        raise InputError(f'{file.name}: {error.strerror}') from None


def _size(path):
    return path.stat().st_size if path.exists() else 0


class _Progress:
    """A bar on a terminal, a line now and then in a log."""

    def __init__(self, name, start, total):
        self.name, self.done, self.total = name, start, total
        self.logged = start
        self.bar = tqdm(
            desc=name, initial=start, total=total, unit='B', unit_scale=True,
            disable=not sys.stderr.isatty(),
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.bar.close()

    def add(self, size):
        self.bar.update(size)
        self.done += size
        step = (self.total or 1e9) * LOG_EVERY
        if self.bar.disable and (self.done >= self.logged + step or self.done == self.total):
            of = f' of {self.total / 1e6:.1f}' if self.total else ''
            log.info('%s: %.1f%s MB', self.name, self.done / 1e6, of)
            self.logged = self.done
