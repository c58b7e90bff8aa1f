"""Lines of JSON in the order in which things were done. An interruption costs the last line."""

import json
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

from r2plus1d.results.complete import AnyPath, full_disk_named


class Journal:
    """A file of lines that only grows; it is made if it is not there. Closed by `close`.

    What follows the last whole line, as an interruption leaves it, counts for nothing.
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
            end += len(line)
            try:
                yield json.loads(line), end
            except ValueError:
                return

    def read(self, place: int) -> Any:
        """Return the content of the line that begins at the byte `place`."""
        self._reader.seek(place)
        return json.loads(self._reader.readline())

    def cut(self, end: int) -> None:
        """Remove everything from the byte `end` on."""
        self._file.truncate(end)
        self._reader.close()  # it may hold what was cut off
        self._reader = self.path.open('rb')

    def add(self, contents: Iterable[Any]) -> None:
        """Append lines, which then outlive this process; `sync` brings them to the disk."""
        lines = ''.join(json.dumps(content) + '\n' for content in contents)
        data = memoryview(lines.encode())
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
