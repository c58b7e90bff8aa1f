"""Lines of JSON in the order in which things were done. An interruption costs the last line."""

import json
import logging
import os
import pathlib
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from r2plus1d.results.complete import AnyPath, full_disk_named

log = logging.getLogger(__name__)


def _line_of(content):
    text = json.dumps(content).encode()
    return b'%s\t%08x\n' % (text, zlib.crc32(text))


def _content_of(line):
    """What a line holds; ValueError if it is damaged."""
    text, tab, checksum = line.rstrip(b'\n').partition(b'\t')
    if tab and checksum != b'%08x' % zlib.crc32(text):
        raise ValueError(f'{line[:99]!r} is damaged')
    return json.loads(text)


class Journal:
    """A file of lines that only grows; it is made if it is not there. Closed by `close`.

    What follows the last whole line, as an interruption leaves it, counts for nothing. A line ends
    with the CRC-32 of its JSON, behind a tab, which JSON does not have; those of older releases do
    not. What follows a damaged line counts for nothing either, and a warning says so.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = pathlib.Path(path)
        self._file = self.path.open('ab', buffering=0)
        self._reader = self.path.open('rb')

    def lines(self, first: int = 0) -> Iterator[tuple[Any, int]]:
        """Yield (content, where its line ends) from the byte `first` on, up to a torn line."""
        self._reader.seek(first)
        end = first
        for line in self._reader:
            if not line.endswith(b'\n'):
                return
            try:
                content = _content_of(line)
            except ValueError:
                log.warning('%s is damaged at byte %d; what follows does not count', self.path, end)
                return
            end += len(line)
            yield content, end

    def read(self, place: int) -> Any:
        """Return the content of the line that begins at the byte `place`."""
        self._reader.seek(place)
        return _content_of(self._reader.readline())

    def cut(self, end: int) -> None:
        """Remove everything from the byte `end` on."""
        self._file.truncate(end)
        self._reader.close()  # it may hold what was cut off
        self._reader = self.path.open('rb')

    def add(self, contents: Iterable[Any]) -> None:
        """Append lines, which then outlive this process; `sync` brings them to the disk."""
        data = memoryview(b''.join(map(_line_of, contents)))
        with full_disk_named(self.path):
            while data:
                data = data[self._file.write(data) :]

    def sync(self) -> None:
        """Bring everything to the disk."""
        with full_disk_named(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._reader.close()
