"""What a survey has found so far, on disk: a line of JSON for each record, so that it can go on."""

import dataclasses
import json
import logging
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from r2plus1d.errors import InputError
from r2plus1d.results.complete import make_folder_of
from r2plus1d.sources.survey import Finding
from r2plus1d.video.look import Look

log = logging.getLogger(__name__)


class SurveyLog:
    """Findings in a file, each flushed as it comes. Use as a context manager.

    Args:
        path: of the file; what an interrupted survey of the same `arguments` left is kept.
        arguments: plain data that decides the findings.

    Attributes:
        done: findings that are in the file.
    """

    def __init__(self, path: pathlib.Path, arguments: Mapping[str, Any]) -> None:
        self.path, self.done = path, 0
        make_folder_of(path)
        header = json.dumps(dict(arguments), sort_keys=True).encode() + b'\n'
        end = self._end_of_whole_lines(header)
        if end is None:
            path.write_bytes(header)
        else:
            os.truncate(path, end)
        self._file = path.open('ab')

    def _end_of_whole_lines(self, header: bytes) -> Optional[int]:
        """Where the findings end that can be used; None if there are none."""
        if not self.path.is_file():
            return None
        with self.path.open('rb') as file:
            if file.readline() != header:
                log.warning('%s is of another survey; it is begun again', self.path)
                return None
            end = file.tell()
            for line in file:
                if not line.endswith(b'\n') or _finding(line) is None:
                    break  # a run was killed while it wrote this line
                end, self.done = end + len(line), self.done + 1
        return end

    def __enter__(self) -> 'SurveyLog':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._file.close()

    def add(self, finding: Finding) -> None:
        row = dataclasses.asdict(finding)
        self._file.write(json.dumps(row).encode() + b'\n')
        self._file.flush()
        self.done += 1

    def findings(self) -> Iterator[Finding]:
        """Yield every Finding in the file, in order.

        Raises:
            InputError: the file was changed.
        """
        with self.path.open('rb') as file:
            file.readline()
            for line in file:
                finding = _finding(line)
                if finding is None:
                    raise InputError(f'{self.path} is damaged; remove it to begin again')
                yield finding

    def remove(self) -> None:
        self.path.unlink()


def _finding(line: bytes) -> Optional[Finding]:
    try:
        row = json.loads(line)
        look = row.pop('look')
        return Finding(**{**row, 'labels': tuple(row['labels'])}, look=look and Look(*look))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
