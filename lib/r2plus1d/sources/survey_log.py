"""What a survey has found so far, on disk: a line of JSON for each record, so that it can go on."""

import dataclasses
import json
import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from r2plus1d.errors import InputError
from r2plus1d.results.complete import make_folder_of
from r2plus1d.results.journal import Journal
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
        self._journal = Journal(path)
        header = json.loads(json.dumps(dict(arguments)))
        before, self._first = next(self._journal.lines(), (None, 0))
        if before != header:
            if before is not None:
                log.warning('%s is of another survey; it is begun again', path)
            self._journal.cut(0)
            self._journal.add([header])
            _, self._first = next(self._journal.lines())
        end = self._first
        for row, after in self._journal.lines(end):
            if _finding(row) is None:
                break
            end, self.done = after, self.done + 1
        self._journal.cut(end)

    def __enter__(self) -> 'SurveyLog':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._journal.close()

    def add(self, finding: Finding) -> None:
        self._journal.add([dataclasses.asdict(finding)])
        self.done += 1

    def findings(self) -> Iterator[Finding]:
        """Yield every Finding in the file, in order.

        Raises:
            InputError: the file was changed.
        """
        count = 0
        for row, _ in self._journal.lines(self._first):
            finding = _finding(row)
            if finding is None:
                break
            yield finding
            count += 1
        if count != self.done:
            raise InputError(f'{self.path} is damaged; remove it to begin again')

    def remove(self) -> None:
        self.path.unlink()


def _finding(row: Any) -> Optional[Finding]:
    try:
        look = row.pop('look')
        return Finding(**{**row, 'labels': tuple(row['labels'])}, look=look and Look(*look))
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
