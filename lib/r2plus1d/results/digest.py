"""A file that is read once and of which the SHA-256 is known then."""

import hashlib
import io
import pathlib
from typing import Union

from r2plus1d.results.given_file import open_given


class DigestReader(io.RawIOBase):
    """Reads a file; `io.BufferedReader` goes around it.

    What is read in order, from the beginning, is read only once; the digest needs what was skipped.

    Args:
        path: of the file.

    Raises:
        InputError: it is no regular file.
    """

    def __init__(self, path: Union[str, pathlib.Path]) -> None:
        self._file = open_given(path).detach()
        self._digest, self._num_digested = hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        begin = self.tell()
        count = self._file.readinto(buffer)
        new = self._num_digested - begin
        if 0 <= new < count:
            self._digest.update(memoryview(buffer)[new:count])
            self._num_digested = begin + count
        return count

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def fileno(self) -> int:
        return self._file.fileno()

    def sha256(self) -> str:
        """Return the SHA-256 of the whole file, what was not read yet included, in hexadecimal."""
        self.seek(self._num_digested)
        while self.read(1 << 20):
            pass
        return self._digest.hexdigest()

    def close(self) -> None:
        self._file.close()
        super().close()


def sha256_of(path: Union[str, pathlib.Path]) -> str:
    """Return the SHA-256 of a file, in hexadecimal; the file is not held in memory.

    Raises:
        InputError: it is no regular file.
    """
    with DigestReader(path) as file:
        return file.sha256()
