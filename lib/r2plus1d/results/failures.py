"""The list of records that failed."""

import csv
import pathlib
from typing import IO, Optional, Protocol, Union

from r2plus1d.errors import InputError
from r2plus1d.results.complete import CSV_FILE, full_disk_named, make_folder_of


class FailedRecord(Protocol):
    """What the list says of a record, such as a Sample without clips."""

    @property
    def key(self) -> str: ...

    @property
    def path(self) -> Optional[str]: ...

    @property
    def video_id(self) -> Optional[int]: ...

    @property
    def failure(self) -> Optional[str]: ...


class FailureList:
    """The records that could not be used, one a line, flushed as they come.

    The file is made at the first failure. One that an earlier run left is removed at the start,
    so that what is found there afterwards is of this run, or of the run that it continues.

    Args:
        path: of the file, or None: nothing is written.
        keep: a list that is there goes on, that of the run which this one continues.

    Attributes:
        count: records so far.

    Raises:
        InputError: there is another file, which is not replaced.
    """

    HEADER = ('record', 'path', 'video_id', 'reason')

    def __init__(self, path: Union[str, pathlib.Path, None], *, keep: bool = False) -> None:
        self.path, self.count = None if path is None else pathlib.Path(path), 0
        self._file: Optional[IO[str]] = None
        self._keep = keep
        if self.path and self._is_there() and not keep:
            self.path.unlink()

    def __enter__(self) -> 'FailureList':
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.path and self._file:
            with full_disk_named(self.path):
                self._file.close()

    def add(self, sample: FailedRecord) -> None:
        """Write a line of the record, at once."""
        self.count += 1
        if self.path is None:
            return
        if self._file is None:
            goes_on = self._is_there() and self._keep  # another file may have come meanwhile
            make_folder_of(self.path)
            self._file = self.path.open('a' if goes_on else 'w', **CSV_FILE)
            if not goes_on:
                csv.writer(self._file).writerow(self.HEADER)
        with full_disk_named(self.path):
            self._write(sample)

    @property
    def where(self) -> str:
        """Where to find the records that are not logged, in words."""
        if self.path is None:
            return 'they are only counted; failures=PATH lists them'
        return f'see {self.path}'

    def _write(self, sample):
        video_id = '' if sample.video_id is None else sample.video_id
        csv.writer(self._file).writerow([sample.key, sample.path or '', video_id, sample.failure])
        self._file.flush()

    def _is_there(self):
        """Whether a list is there; InputError if it is another file that has something in it."""
        if not self.path.is_file():
            return False
        with self.path.open(encoding='utf-8', errors='replace') as file:
            header = ','.join(self.HEADER)
            line = file.readline(2 * len(header))  # another file may be one line of gigabytes
        if line and line.strip() != header:
            raise InputError(
                f'{self.path} is no list of failed records: its first line is not {header}; '
                'move the file away, or name another place for the list'
            )
        return bool(line)
