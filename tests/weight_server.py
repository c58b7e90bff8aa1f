"""A server of weights on this machine, and what it takes to make it a bad one."""

import contextlib
import http.server
import pickle
import threading

import numpy as np

from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.published import RGB, Published
from r2plus1d.weights import download, transfer

SMALL = Published(
    'small', 'R2D-10', 'r2d', 10, 8, RGB, 'nothing', 0, 0, 0, None, None, 'key'
)  # fmt: skip


def pickle_of(row, seed=0):
    """The bytes of weights that fit a row, with a blob more as published files have."""
    parameters = random_parameters(download.network_of(row), seed=seed)
    return pickle.dumps({'blobs': {**parameters, 'lr': np.float32(0.1)}}, 2)


class Server(http.server.ThreadingHTTPServer):
    """Serves `content`; keeps the Range and the If-Range of each request.

    Attributes:
        ranges: answers 206 to them; otherwise they are ignored.
        breaks: how many bytes of each coming response are sent before the connection drops.
        length: states the Content-Length.
        etag, changed: how it names the version of the file; None if it does not.
        heeds_if_range: sends all of a file that is not the version asked for.
        redirect: where it sends every request.
        endless: sends zeros without end after the content.
        status, content_type: of the answer.
    """

    content = b''
    etag, changed = '"first"', None
    heeds_if_range = True
    redirect = None
    endless = False
    ranges = True
    length = True
    status = 200
    content_type = 'application/octet-stream'

    def __init__(self):
        super().__init__(('127.0.0.1', 0), Handler)
        self.asked, self.versions, self.paths, self.breaks = [], [], [], []
        self.mirror = f'http://127.0.0.1:{self.server_port}/{{key}}/{{name}}.pkl?dl=1'


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append(self.headers['Range'])
        server.paths.append(self.path)
        server.versions.append(self.headers['If-Range'])
        if server.redirect:
            self.send_response(302)
            self.send_header('Location', server.redirect)
            self.end_headers()
            return
        if server.status != 200:
            self.send_error(server.status)
            return
        total, start = len(server.content), 0
        asked = self.headers['If-Range']
        is_same = asked in (None, server.etag, server.changed) or not server.heeds_if_range
        if server.ranges and self.headers['Range'] and is_same:
            start = int(self.headers['Range'].removeprefix('bytes=').removesuffix('-'))
            if start >= total:
                self.send_response(416)
                self.send_header('Content-Range', f'bytes */{total}')
                self.end_headers()
                return
            self.send_response(206)
            self.send_header('Content-Range', f'bytes {start}-{total - 1}/{total}')
        else:
            self.send_response(200)
        self.send_header('Content-Type', server.content_type)
        for name, version in (('ETag', server.etag), ('Last-Modified', server.changed)):
            if version:
                self.send_header(name, version)
        if server.length:
            self.send_header('Content-Length', str(total - start))
        self.end_headers()
        end = start + server.breaks.pop(0) if server.breaks else total
        with contextlib.suppress(ConnectionError):
            self.wfile.write(server.content[start:end])
            while server.endless:
                self.wfile.write(bytes(1 << 16))

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serving(content, monkeypatch):
    """Give a Server of `content`; between two attempts nobody waits."""
    monkeypatch.setattr(transfer, 'PAUSE_S', 0)
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    with Server() as server:
        server.content = content
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.endless = False
        server.shutdown()


def fetch(server, folder, row=SMALL):
    return download.fetch(row, folder, mirror=server.mirror)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def held(folder, content, version='"first"'):
    """Put there what an earlier download left of the file."""
    (folder / 'small.pkl.part').write_bytes(content)
    (folder / 'small.pkl.part.version').write_text(version)
