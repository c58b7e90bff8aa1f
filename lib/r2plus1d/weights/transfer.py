"""One file over HTTP: continued after a break, never put together of two versions of it.

What has arrived lies in a PART. Beside it, in PART.version, lies how the server names this version
of the file: its ETag, or the time of its last change.
"""

import http.client
import logging
import os
import pathlib
import re
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import Any, BinaryIO, Optional, Union

from tqdm import tqdm

from r2plus1d.errors import InputError

log = logging.getLogger(__name__)

ATTEMPTS = 5  # in a row that bring less than LEAST
PAUSE_S = 1  # times the number of failures
TIMEOUT_S = 30  # without a byte
WINDOW_S, LEAST = 60, 1 << 16  # fewer bytes than this in such a time are a stalled connection
CHUNK = 1 << 18
LOG_EVERY = 0.1  # of the file
CONTENT_RANGE = re.compile(r'bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)')
VERSION = re.compile(r'"[!#-~]*"|\w{3}, [\w: ]{10,40}')  # a strong ETag, or a time
PARTIAL, RANGE_NOT_SATISFIABLE, TIMED_OUT, TOO_MANY_REQUESTS = 206, 416, 408, 429
MIRROR = 'R2PLUS1D_MIRROR'  # environment variable, for every tool that takes a published name
MIRROR_HINT = f'if it has moved, set {MIRROR} to its new place, such as https://HOST/{{name}}.pkl'
WEB = ('http', 'https')


def mirror_of(given: Optional[str]) -> Optional[str]:
    """Return the other place of weights: `given`, or R2PLUS1D_MIRROR; None if neither is set.

    Raises:
        InputError: it is no address.
    """
    name, mirror = ('mirror', given) if given else (MIRROR, os.environ.get(MIRROR))
    if mirror and not mirror.startswith(('http://', 'https://')):
        raise InputError(f'{name} is {mirror}; it begins with http:// or https://')
    return mirror or None


class _Broken(Exception):
    """The connection failed before the file was complete; what has arrived is kept."""


def complete(url: str, part: pathlib.Path, *, most: int) -> None:
    """Bring `part` to the length that the server states, over as many connections as it takes.

    Args:
        most: bytes that the file can have.

    Raises:
        InputError: not to be had, or longer. What can be continued is kept, and the text says so.
    """
    held, failures = _size(part), 0
    while True:
        try:
            _transfer(url, part, most)
            return
        except _Broken as error:
            failures = 1 if _size(part) >= held + LEAST else failures + 1
            held = max(held, _size(part))
            if failures == ATTEMPTS:
                size, _ = _held(part)
                kept = f' ({size} bytes are kept to continue)' if size else ''
                message = f'{url}: {error}, {failures} times; try again later{kept}'
                raise InputError(message) from None
            log.warning('%s: %s; trying again', url, error)
            time.sleep(PAUSE_S * failures)


def forget(part: pathlib.Path) -> None:
    """Remove what has arrived of a file, and which version it is of."""
    part.unlink(missing_ok=True)
    _version_file(part).unlink(missing_ok=True)


def finish(part: pathlib.Path) -> None:
    """Remove what is kept for continuing; `part` itself is complete and stays."""
    _version_file(part).unlink(missing_ok=True)


def _version_file(part: pathlib.Path) -> pathlib.Path:
    return part.with_name(f'{part.name}.version')


def _held(part: pathlib.Path) -> tuple[int, str]:
    """(Number of bytes that can be continued, their version); (0, '') where there is no telling."""
    file = _version_file(part)
    version = file.read_text('latin1').strip() if file.is_file() else ''
    return (_size(part), version) if _size(part) and VERSION.fullmatch(version) else (0, '')


def _version_of(headers: Message) -> str:
    """How a server names the version of what it sends; '' if it does not, or vaguely."""
    named = (headers['ETag'], headers['Last-Modified'])
    return next((name for name in named if name and VERSION.fullmatch(name)), '')


def _is_of(headers: Message, version: str) -> bool:
    """Whether an answer is of the version; one that does not say is, since it was asked for."""
    return headers['ETag' if version.startswith('"') else 'Last-Modified'] in (None, version)


def _transfer(url: str, part: pathlib.Path, most: int) -> None:
    """Add to `part` what one request brings.

    Raises:
        _Broken: it is not complete, but may be after another request.
        InputError: another request would not help.
    """
    offset, version = _held(part)
    try:
        response = _open(url, offset, version)
    except urllib.error.HTTPError as error:
        _refused(error, url, part)
        return
    with response:
        if response.headers.get_content_type() == 'text/html':
            raise InputError(f'{url} answers with a web page instead of the file; {MIRROR_HINT}')
        start, total = _span(response)
        if start not in (0, offset):
            raise InputError(f'{url}: the server sent bytes from {start}, not from {offset}')
        if total is not None and total > most:
            raise InputError(f'{url} has {total} bytes; these weights have at most {most}')
        if not start:
            forget(part)
            part.touch()
            _version_file(part).write_text(_version_of(response.headers), 'latin1')
        elif not _is_of(response.headers, version):
            forget(part)
            raise _Broken('the file has changed since a part of it arrived')
        _receive(response, part, start, total, most)
    if total is not None and _size(part) != total:
        raise _Broken(f'{_size(part)} of {total} bytes arrived')


def _open(url: str, offset: int, version: str) -> http.client.HTTPResponse:
    headers = {'Range': f'bytes={offset}-', 'If-Range': version} if offset else {}
    opener = urllib.request.build_opener(_Redirects)
    try:
        response: http.client.HTTPResponse = opener.open(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
        )
        return response
    except urllib.error.HTTPError:
        raise
    except (ValueError, http.client.InvalidURL) as error:
        raise InputError(f'{url}: {error}') from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise InputError(f'{url}: the server is not trusted: {reason.verify_message}') from None
        raise _broken(reason) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect from web address to web address, and from https to https only."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Optional[urllib.request.Request]:
        scheme = urllib.parse.urlsplit(newurl).scheme
        if scheme not in WEB or (req.type == 'https' and scheme != 'https'):
            raise InputError(f'the server redirects to {newurl}, which is not followed')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refused(error: urllib.error.HTTPError, url: str, part: pathlib.Path) -> None:
    """Act on an HTTP error: return if the file is complete, or raise as _transfer does."""
    with error:
        offset, version = _held(part)
        if error.code == RANGE_NOT_SATISFIABLE and offset:
            if _content_range(error) == (None, offset) and _is_of(error.headers, version):
                return
            forget(part)  # of another file, longer than this one
            raise _Broken('the part from an earlier download does not belong to this file')
        if error.code >= 500 or error.code in (TIMED_OUT, TOO_MANY_REQUESTS):
            raise _Broken(f'HTTP {error.code} {error.reason}')
        raise InputError(f'{url}: HTTP {error.code} {error.reason}; {MIRROR_HINT}')


def _broken(error: Union[str, Exception]) -> _Broken:
    """The _Broken of what urllib gives as the reason; some of its exceptions have no text."""
    return _Broken(f'the connection failed ({str(error) or type(error).__name__})')


def _span(response: http.client.HTTPResponse) -> tuple[Optional[int], Optional[int]]:
    """Return (offset of the first byte, length of the whole file or None) of a response."""
    if response.status == PARTIAL:
        return _content_range(response)
    return 0, response.length


def _content_range(
    response: Union[http.client.HTTPResponse, urllib.error.HTTPError],
) -> tuple[Optional[int], Optional[int]]:
    found = CONTENT_RANGE.fullmatch(response.headers['Content-Range'] or '')
    start, total = found.groups() if found else (None, None)
    return int(start) if start else None, int(total) if total and total != '*' else None


def _receive(
    response: http.client.HTTPResponse,
    part: pathlib.Path,
    start: int,
    total: Optional[int],
    most: int,
) -> None:
    began, count = time.monotonic(), 0
    with part.open('r+b') as file:
        file.seek(start)
        with _Progress(part.stem, start, total) as progress:
            while chunk := _read(response):
                _write(file, chunk)
                progress.add(len(chunk))
                if progress.done > most:
                    break
                count += len(chunk)
                waited = time.monotonic() - began
                if waited >= WINDOW_S:
                    if count < LEAST:
                        raise _Broken(f'the connection stalls: {count} bytes in {waited:.0f} s')
                    began, count = time.monotonic(), 0
    if progress.done > most:
        forget(part)
        raise InputError(f'{response.url} goes on after {most} bytes; these weights have no more')


def _read(response: http.client.HTTPResponse) -> bytes:
    """What has arrived, at least a byte of it; nothing at the end."""
    try:
        return response.read1(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _broken(error) from None


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        raise InputError(f'{file.name}: {error.strerror}') from None


def _size(path: pathlib.Path) -> int:
    return path.stat().st_size if path.exists() else 0


class _Progress:
    """A bar on a terminal, a line now and then in a log."""

    def __init__(self, name: str, start: int, total: Optional[int]) -> None:
        self.name, self.done, self.total = name, start, total
        self.logged = start
        self.bar = tqdm(
            desc=name, initial=start, total=total, unit='B', unit_scale=True,
            disable=not sys.stderr.isatty(),
        )  # fmt: skip

    def __enter__(self) -> '_Progress':
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def add(self, size: int) -> None:
        self.bar.update(size)
        self.done += size
        step = (self.total or 1e9) * LOG_EVERY
        if self.bar.disable and (self.done >= self.logged + step or self.done == self.total):
            of = f' of {self.total / 1e6:.1f}' if self.total else ''
            log.info('%s: %.1f%s MB', self.name, self.done / 1e6, of)
            self.logged = self.done
