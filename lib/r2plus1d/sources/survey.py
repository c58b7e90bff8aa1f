"""Every record of a database, list or folder looked at, before a long run meets it."""

import contextlib
import dataclasses
import itertools
import logging
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Optional, Protocol, Union

from r2plus1d.datasets import lists
from r2plus1d.datasets.database import DATA_FILE, Database
from r2plus1d.datasets.record import Record, decode, holds_path
from r2plus1d.errors import RecordError
from r2plus1d.sources.file_state import states_of
from r2plus1d.sources.sample import RecordNeeds, open_record, require_record
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.look import Look, look_at_video
from r2plus1d.video.prefetch import prefetch

log = logging.getLogger(__name__)

Video = Union[bytes, str, None]
LOOKED_FOR_KIND = 100  # records, of which the first that can be read says what a database holds


class Entry(NamedTuple):
    """One record before its video is looked at.

    Attributes:
        name: the record's key, the list's line, or the file's number.
        path: of the video, empty for one in the database.
        video: its bytes or its path; None for a record that failed already.
        labels, video_id, start_frame: as stored.
        failure: what is wrong with the record itself, or None.
    """

    name: str
    path: str = ''
    video: Video = None
    labels: tuple[int, ...] = ()
    video_id: Optional[int] = None
    start_frame: Optional[int] = None
    failure: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found of one record.

    Attributes:
        name, path, labels, video_id, start_frame: of its Entry.
        look: Look of the video, None where it cannot be used.
        failure: why the record would fail, or None.
    """

    name: str
    path: str
    labels: tuple[int, ...]
    video_id: Optional[int]
    start_frame: Optional[int]
    look: Optional[Look]
    failure: Optional[str]


def _identity(place: pathlib.Path, videos: Iterable[Union[bytes, str]]) -> str:
    """Text that differs if a database or list does, or one of the video files that it names."""
    of_one_video = itertools.groupby(videos)  # several clips of it follow each other
    return states_of(itertools.chain([place], (path for path, _ in of_one_video)))


class Entries(Protocol):
    """Records in an order that is always the same."""

    identity: str

    def __len__(self) -> int:
        """Number of records."""

    def entries(self, first: int) -> Iterator[Entry]:
        """Yield the Entry of each record from number `first` on."""


class DatabaseEntries:
    """The records of a database, of videos or of their paths, whichever the first one holds.

    Args:
        path: the LMDB.
        needs: RecordNeeds; `use_local_file` is found out.
    """

    def __init__(self, path: pathlib.Path, needs: RecordNeeds) -> None:
        self._database = Database(path)
        paths = _holds_paths(self._database)
        self._needs = dataclasses.replace(needs, use_local_file=paths)
        self.identity = _identity(path / DATA_FILE, self._videos() if paths else ())

    def __len__(self) -> int:
        return len(self._database)

    def entries(self, first: int) -> Iterator[Entry]:
        for index, key, value in self._database.records(first):
            sample, video = open_record(index, key, value, self._needs)
            yield Entry(
                key, sample.path or '', video, sample.labels, sample.video_id,
                sample.start_frame, sample.failure,
            )  # fmt: skip

    def _videos(self) -> Iterator[bytes]:
        for _, _, value in self._database.records():
            with contextlib.suppress(RecordError):
                yield decode(value).video


def _holds_paths(database: Database) -> bool:
    for _, _, value in itertools.islice(database.records(), LOOKED_FOR_KIND):
        try:
            return holds_path(decode(value))
        except RecordError:
            continue
    return False


class ListEntries:
    """The rows of a CSV list, those that cannot be used included.

    Args:
        path: of the list.
        needs: RecordNeeds.
    """

    def __init__(self, path: pathlib.Path, needs: RecordNeeds) -> None:
        with_starts = lists.has_column(path, lists.START_FRAME)
        with_ids = lists.has_column(path, lists.VIDEO_ID)
        good, bad = lists.examine_rows(path, use_start_frame=with_starts, use_video_id=with_ids)
        found = [self._of_row(line, row, needs) for line, row in good]
        found += [
            (row.line, Entry(f'line {row.line}', row.video, failure=row.reason)) for row in bad
        ]
        self._entries = [entry for _, entry in sorted(found, key=lambda pair: pair[0])]
        self.identity = _identity(path, (entry.path for entry in self._entries))

    @staticmethod
    def _of_row(line: int, row: lists.Row, needs: RecordNeeds) -> tuple[int, Entry]:
        record = Record(os.fsencode(row.video), row.labels, row.start_frame, row.video_id)
        entry = Entry(
            f'line {line}', row.video, row.video, row.labels, row.video_id, row.start_frame
        )
        try:
            require_record(record, row.video, dataclasses.replace(needs, use_local_file=True))
        except RecordError as error:
            entry = entry._replace(video=None, failure=error.reason)
        return line, entry

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self, first: int) -> Iterator[Entry]:
        return iter(self._entries[first:])


class FileEntries:
    """Video files.

    Args:
        paths: of the files; datasets.video_files.find_videos looks for them.
    """

    def __init__(self, paths: Sequence[pathlib.Path]) -> None:
        self._paths = [os.fspath(path) for path in paths]
        self.identity = states_of(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def entries(self, first: int) -> Iterator[Entry]:
        for number, path in enumerate(self._paths[first:], first):
            yield Entry(str(number), path, path)


def survey(
    source: Entries,
    *,
    first: int = 0,
    last: Optional[int] = None,
    required: int,
    decode_all: bool,
    threads: int,
) -> Iterator[Finding]:
    """Yield the Finding of each record from number `first` to before `last`, in order.

    A video is looked at once, however many records of it follow each other. A warning names one
    that can be read, and of which something is wrong.

    Args:
        required: frames that a clip needs.
        decode_all: decode every frame.
        threads: videos looked at at the same time.
    """
    before: tuple[Video, Union[Look, str]] = (None, '')
    count = None if last is None else last - first
    for entry, found in prefetch(
        _looked_at,
        _tasks(itertools.islice(source.entries(first), count), decode_all),
        threads=threads,
        ahead=threads,
    ):
        if isinstance(found, _Same):
            found = before[1]
        elif isinstance(found, Look) and found.complaint:
            log.warning('%s: %s', entry.path or f'record {entry.name}', found.complaint)
        before = entry.video, found
        yield _finding(entry, found, required)


class _Same:
    """In the place of a Look: the video of the record before is this record's too."""


def _tasks(entries: Iterator[Entry], decode_all: bool) -> Iterator[tuple[Entry, bool, bool]]:
    before: Video = None
    for entry in entries:
        same = entry.video is not None and entry.video == before
        before = entry.video
        yield entry, decode_all, same


def _looked_at(entry: Entry, decode_all: bool, same: bool) -> tuple[Entry, Union[Look, str, _Same]]:
    if same:
        return entry, _Same()
    if entry.failure is not None or entry.video is None:
        return entry, entry.failure or 'no video'
    try:
        look = DECODERS.call(
            DEFAULT_BUDGET, look_at_video, entry.video, DEFAULT_BUDGET, decode_all=decode_all
        )
    except RecordError as error:
        return entry, error.reason
    return entry, look


def _finding(entry: Entry, found: Union[Look, str], required: int) -> Finding:
    look = found if isinstance(found, Look) else None
    failure = entry.failure or (found if isinstance(found, str) else None)
    start = entry.start_frame or 0
    if failure is None and look is not None and look.frames < start + required:
        begin = f' from frame {start}' if entry.start_frame else ''
        failure = f'too few frames: {look.frames}, and a clip{begin} needs {required}'
    return Finding(
        entry.name, entry.path, entry.labels, entry.video_id, entry.start_frame, look, failure
    )
