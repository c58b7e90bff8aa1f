"""Features as a file for each video and blob, each complete when it appears.

    OUT/sub/a.mp4_final_avg.npy   clips x channels, or channels where clips are pooled
    OUT/sub/a.mp4_times.json      when each clip begins and ends, and what the arrays are of
    OUT/failures.csv              videos that could not be used, if there are any

A video whose times are there is done: the times are written last.
"""

import errno
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.features.entry import Entry
from r2plus1d.features.npy_rows import Column
from r2plus1d.results.arguments import differing, require_same
from r2plus1d.results.complete import complete_csv, complete_file
from r2plus1d.results.failures import FailureList
from r2plus1d.results.hold import holding
from r2plus1d.sources.file_state import describe_state, look_at

TIMES = 'times.json'
FAILURES = 'failures.csv'
POOLS: dict[str, Optional[Callable[..., np.ndarray]]] = {
    'none': None,
    'mean': np.mean,
    'max': np.max,
}


class VideoTotals(NamedTuple):
    """What became of the videos.

    Attributes:
        written, skipped, failed: made now; there before; listed in failures.csv.
    """

    written: int
    skipped: int
    failed: int


def names_below(paths: Sequence[pathlib.Path]) -> dict[str, str]:
    """Return {path: its name below the folder that all of them are in}, different names."""
    whole = {os.fspath(path): os.path.abspath(path) for path in paths}  # noqa: PTH100 - links stay
    root = os.path.commonpath([os.path.dirname(path) for path in whole.values()])  # noqa: PTH120
    return {path: os.path.relpath(there, root) for path, there in whole.items()}


class VideoFolder:
    """Takes rows of clips, video by video, as a Store does; writes a video when it is complete.

    Args:
        folder: where the files go.
        names: of names_below.
        columns: {blob: Column}.
        pool: a key of POOLS, over the clips of a video.
        arguments: plain data that decides the numbers.
        overwrite: make what is there anew.
        replace_different: the same, of what was made with other arguments.

    Attributes:
        done: records, which are clips, that were taken.

    Raises:
        InputError: two videos or blobs would have one file; a blob that cannot be pooled.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        names: Mapping[str, str],
        columns: Mapping[str, Column],
        *,
        pool: str,
        arguments: Mapping[str, Any],
        overwrite: bool = False,
        replace_different: bool = False,
    ) -> None:
        self.folder, self.columns, self.done = folder, columns, 0
        self._names, self._pool, self._overwrite = names, pool, overwrite
        self._replace_different = replace_different
        self._arguments = json.loads(json.dumps({**arguments, 'pool': pool}))
        self._require_own_files()
        self._entries: list[Entry] = []
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in columns}
        self._failed: list[Entry] = []
        self._written = self._skipped = 0

    def _require_own_files(self) -> None:
        for blob, column in self.columns.items():
            if POOLS[self._pool] and not column.dtype.startswith('float'):
                raise InputError(f'pool is {self._pool}; {blob} is a number of each clip')
        owners: dict[pathlib.Path, str] = {}
        for path in self._names:
            for file in (*(self._file(path, blob) for blob in self.columns), self._times(path)):
                if file in owners:
                    raise InputError(f'{file} would be of {owners[file]} and of {path}')
                owners[file] = path

    def _file(self, path: str, blob: str) -> pathlib.Path:
        return self.folder / f'{self._names[path]}_{blob.replace("/", "_")}.npy'

    def _times(self, path: str) -> pathlib.Path:
        return self.folder / f'{self._names[path]}_{TIMES}'

    def missing(self, begin: int = 0, end: Optional[int] = None) -> list[pathlib.Path]:
        """Return the paths of the videos that are not done, in order; the others are skipped.

        Args:
            begin, end: numbers of the first video that is looked at, and of the first after them.

        Raises:
            InputError: what is there was made with other arguments.
        """
        paths = list(self._names)[begin:end]
        left = [path for path in paths if self._overwrite or not self._is_done(path)]
        self._skipped = len(paths) - len(left)
        return [pathlib.Path(path) for path in left]

    def _is_done(self, path: str) -> bool:
        try:
            found = json.loads(self._times(path).read_text('utf-8'))
            before, state = dict(found['arguments']), found['state']
            is_different = bool(differing(before, self._arguments))
        except (OSError, ValueError, KeyError, TypeError):
            return False
        if is_different and self._replace_different:
            return False
        require_same(self._times(path), before, self._arguments)
        return state == _state(path) and all(self._file(path, b).is_file() for b in self.columns)

    def add(self, entries: Sequence[Entry], arrays: Mapping[str, np.ndarray]) -> None:
        """Take entries in order, and the rows of those that did not fail."""
        row = 0
        for entry in entries:
            if self._entries and self._entries[0].file != entry.file:
                self._finish_video()
            self._entries.append(entry)
            if entry.failure is None:
                end = row + len(entry.starts)
                for name, rows in self._rows.items():
                    rows.append(np.array(arrays[name][row:end], self.columns[name].dtype))
                row = end
        self.done += len(entries)

    def _finish_video(self) -> None:
        entries, rows = self._entries, self._rows
        self._entries, self._rows = [], {name: [] for name in self.columns}
        failed = [entry for entry in entries if entry.failure is not None]
        self._failed += failed
        if failed:  # not complete, so it does not appear
            return
        path = str(entries[0].file)
        try:
            with holding(self._times(path)):  # a shard of another run may have come to it as well
                self._write(path, entries, rows)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            self._failed.append(entries[0]._replace(failure='its name is too long for features'))
        else:
            self._written += 1

    def _write(
        self, path: str, entries: Sequence[Entry], rows: Mapping[str, Sequence[np.ndarray]]
    ) -> None:
        self._times(path).unlink(missing_ok=True)  # what it says is no longer so
        for name, parts in rows.items():
            with complete_file(self._file(path, name)) as file:
                np.save(file, self._pooled(_squeezed(np.concatenate(parts))))
        content = {
            'video': path,
            'clips': [
                {'start_frame': start, 'begin': begin, 'end': end}
                for entry in entries
                for start, (begin, end) in zip(entry.starts, entry.seconds)
            ],
            'state': _state(path),
            'arguments': self._arguments,
        }
        with complete_file(
            self._times(path), 'w', encoding='utf-8', errors='surrogateescape'
        ) as file:
            file.write(json.dumps(content, indent=1) + '\n')

    def _pooled(self, clips: np.ndarray) -> np.ndarray:
        pool = POOLS[self._pool]
        return clips if pool is None else pool(clips.astype(np.float64), axis=0).astype(clips.dtype)

    def finish(self, failures: Optional[pathlib.Path] = None) -> VideoTotals:
        """Write the last video and the list of failures; return the VideoTotals.

        A failure has the number of its video among all, whichever of them an earlier run has done.

        Args:
            failures: where the list goes, if not into the folder.
        """
        if self._entries:
            self._finish_video()
        numbers = {path: number for number, path in enumerate(self._names)}
        rows = ([numbers[str(e.file)], e.file, numbers[str(e.file)], e.failure]
                for e in self._failed)  # fmt: skip
        write_failures(failures or self.folder / FAILURES, rows)
        failed = len({entry.file for entry in self._failed})
        return VideoTotals(self._written, self._skipped, failed)

    def shapes(self) -> Iterator[str]:
        """Yield a line for each blob: its dtype and the shape of a video's array."""
        for name, column in self.columns.items():
            shape = [str(n) for n in _squeezed(np.empty((1, *column.shape), np.bool_)).shape[1:]]
            clips = ['clips'] if POOLS[self._pool] is None else []
            yield f'{name}: {column.dtype}, {"x".join(clips + shape) or "1"}'


def write_failures(path: pathlib.Path, rows: Iterable[Sequence[Any]]) -> None:
    """Write a list of failures, or remove the one at `path` if there are none."""
    rows = iter(rows)
    first = next(rows, None)
    if first is None:
        path.unlink(missing_ok=True)
        return
    with complete_csv(path, FailureList.HEADER) as write_row:
        for row in itertools.chain([first], rows):
            write_row(row)


def _squeezed(rows: np.ndarray) -> np.ndarray:
    """Rows without the sizes of 1: clips x 512 of clips x 512 x 1 x 1 x 1."""
    return rows.reshape(len(rows), *(size for size in rows.shape[1:] if size != 1))


def _state(path: str) -> str:
    return describe_state(path, look_at(path))
