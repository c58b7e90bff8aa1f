"""A full Store into what the user asked for: a pickle or a folder of .npy files, and its lists.

For a pickle X.pkl: X.rows.csv, X.failures.csv and X.arguments.json beside it. A folder has
rows.csv, failures.csv and arguments.json in it. Where every record failed there is nothing but
OUTPUT.partial/failures.csv.

Where the class probabilities are among the features, rows.csv has the best class of each clip too.
"""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.features import array_pickle, parquet
from r2plus1d.features.npy_rows import Column
from r2plus1d.features.store import Store, discard, is_begun, remove_held
from r2plus1d.results.arguments import (
    Arguments,
    differing,
    read_arguments,
    require_same,
    write_arguments,
)
from r2plus1d.results.complete import complete_csv, require_writable, sync
from r2plus1d.results.failures import FailureList

LISTS = ('rows.csv', 'failures.csv', 'arguments.json')
FAILURES = FailureList.HEADER
ROWS = ('row', 'record', 'file', 'label', 'video_id', 'start_frame', 'start_seconds', 'end_seconds')
BEST = ('top1', 'probability1')


class Classes(NamedTuple):
    """Whose best class a row of rows.csv names.

    Attributes:
        blob: of the class probabilities.
        names: of the classes, or None for numbers.
    """

    blob: str
    names: Optional[Sequence[str]] = None

    def best(self, store: Store, failed: np.ndarray) -> Iterator[list[Any]]:
        """Yield (class, probability) of each row, or nothing in it where the blob is not there."""
        if self.blob not in store.columns:
            return
        for block in store.blocks(self.blob, failed):
            for row in block:
                best = int(row.argmax())
                yield [self.names[best] if self.names else best, f'{row[best]:.6f}']


class Totals(NamedTuple):
    """What became of the records.

    Attributes:
        records, failed: how many there are, and how many of them have no rows.
        rows, right: rows, and those whose most probable class is the label (None: not asked for).
    """

    records: int
    failed: int
    rows: int
    right: Optional[int]


class FeatureOutput:
    """Where features go.

    Args:
        path: of the pickle, or of the folder.
        is_folder: a folder of .npy files instead of a pickle.
        is_parquet: a Parquet file instead of a pickle, see features.parquet.

    Attributes:
        partial: the folder of the Store.

    Raises:
        InputError: the path cannot be used.
    """

    def __init__(
        self, path: Union[str, pathlib.Path], *, is_folder: bool, is_parquet: bool = False
    ) -> None:
        self.path, self._is_folder = pathlib.Path(path), is_folder
        self._is_parquet = is_parquet
        if is_parquet:
            parquet.require_pyarrow()
        if self.path.name in ('', '..'):
            raise InputError(f'output_path {self.path} is no name of a file or folder to make')
        require_writable(self.path)
        if self.path.exists() and self.path.is_dir() != is_folder:
            kind, wanted = ('a file', 'npy writes a folder')
            if self.path.is_dir():
                form = 'parquet' if is_parquet else 'pickle'
                kind, wanted = ('a folder', f'{form} writes a file')
            raise InputError(f'output_path {self.path} is {kind}; output_format {wanted}')
        self._require_ending()
        self.partial = self.path.with_name(f'{self.path.name}.partial')
        self._given_up = self.partial / 'failures.csv'

    def _require_ending(self) -> None:
        """Raise InputError for a file whose name is that of another format; a folder has any."""
        made = 'Parquet file' if self._is_parquet else 'pickle'
        endings = {'.pkl': 'pickle', '.parquet': 'Parquet file', '.npy': 'file of one array'}
        meant = endings.get(self.path.suffix, made)
        if meant != made and not self._is_folder:
            raise InputError(
                f'output_path {self.path} is the name of a {meant}, and a {made} is made: '
                'output_format says which'
            )

    def beside(self, name: str) -> pathlib.Path:
        """The path of a list that goes with the features."""
        if self._is_folder:
            return self.path / name
        return self.path.with_name(f'{self.path.stem}.{name}')

    def check(self, columns: Mapping[str, Column], rows: int) -> None:
        """Raise InputError if arrays of so many rows do not fit into a pickle."""
        for name, column in columns.items():
            size = column.row_bytes * rows
            is_pickle = not self._is_folder and not self._is_parquet
            if is_pickle and size > array_pickle.MAX_BYTES:
                raise InputError(
                    f'{name} of {rows} clips has {size / 1e9:.1f} GB; a pickle takes arrays of '
                    f'{array_pickle.MAX_BYTES / 1e9:.1f} GB at most: --output_format=npy'
                )

    def finished(self, arguments: Arguments, *, overwrite: bool) -> Optional[Totals]:
        """Return the Totals of an output that is already there, None if there is none.

        With `overwrite` there is none, and what an interrupted run left is removed. A folder that
        holds anything but features is not replaced.

        Raises:
            InputError: one is there of other arguments, or that does not say what it is, or
                another process is making one.
        """
        self._require_own_lists()
        self._given_up.unlink(missing_ok=True)
        if overwrite:
            self._require_no_strangers()
            discard(self.partial)
            return None
        if not self.path.exists():
            return None
        found = read_arguments(self.beside('arguments.json'))
        if found is None or not {'arguments', 'totals'} <= found.keys():
            raise InputError(
                f'{self.path} is there already, and not known to be of this run: '
                'name another --output_path, or --overwrite=1 replaces it'
            )
        require_same(self.path, found['arguments'], arguments)
        discard(self.partial)
        return Totals(*found['totals'])

    def differs(self, arguments: Arguments) -> bool:
        """Whether there is an output, complete or begun, that was made with other arguments."""
        whole = read_arguments(self.beside('arguments.json')) or {}
        begun = read_arguments(self.partial / 'arguments.json') if is_begun(self.partial) else None
        found = [whole.get('arguments') if self.path.exists() else None, begun]
        return any(before is not None and differing(before, arguments) for before in found)

    def _require_own_lists(self):
        """Refuse to take the lists of another pickle, whose name differs in its suffix only."""
        note = read_arguments(self.beside('arguments.json')) or {}
        owner = note.get('output', self.path.name)
        if not self._is_folder and owner != self.path.name:
            raise InputError(
                f'{self.beside("arguments.json")} is of {owner}; name another --output_path'
            )

    def _require_no_strangers(self):
        """Refuse to replace a folder that is more than one of features."""
        entries = self.path.iterdir() if self.path.is_dir() else ()
        strangers = sorted(e.name for e in entries if e.suffix != '.npy' and e.name not in LISTS)
        if strangers:
            raise InputError(
                f'{self.path} holds {strangers[0]}, which is not of features; it is not replaced'
            )

    def finish(
        self, store: Store, arguments: Arguments, classes: Optional[Classes] = None
    ) -> Totals:
        """Write everything from a full `store`, the features last, and return the Totals."""
        failed = store.failed()
        if failed.all():
            self._give_up(store)
        ready = self.partial / 'complete'
        ready.mkdir(exist_ok=True)
        totals = _write_lists(store, ready, failed, classes)
        note = {'output': self.path.name, 'arguments': arguments, 'totals': totals}
        write_arguments(ready / 'arguments.json', note)
        if self._is_folder:
            store.complete_arrays(failed)
        elif self._is_parquet:
            parquet.write(ready / self.path.name, store, failed)
        else:
            _write_pickle(store, ready / self.path.name, failed, totals.rows)
        for path in (*ready.iterdir(), ready):
            sync(path)
        if self._is_folder:
            self._publish_folder(ready)
        else:
            self._publish_pickle(ready)
        sync(self.path.parent)
        remove_held(self.partial)
        return totals

    def _give_up(self, store):
        """Leave the list of failures alone, for there is nothing to go on with, and say so.

        It stays in `partial`: under its own name it would go with the features that may be there.
        """
        first = next(store.entries())
        with complete_csv(self._given_up, FAILURES) as write_failure:
            for entry in store.entries():
                write_failure(_failure(entry))
        for path in self.partial.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path != self._given_up:
                path.unlink()
        raise InputError(
            f'none of {store.num_records} records can be used; record {first.key}: '
            f'{first.failure}. All are listed in {self._given_up}'
        )

    def _publish_folder(self, ready):
        if self.path.exists():
            self.path.replace(self.partial / 'old')
        ready.replace(self.path)

    def _publish_pickle(self, ready):
        """What is there goes first: lists of one run beside the features of another would lie."""
        self.path.unlink(missing_ok=True)
        for name in LISTS:
            if (ready / name).exists():
                (ready / name).replace(self.beside(name))
            else:
                self.beside(name).unlink(missing_ok=True)
        (ready / self.path.name).replace(self.path)


def _write_lists(store, folder, failures, classes):
    """Write rows.csv and, if any failed, failures.csv; return the Totals."""
    records = rows = failed = 0
    right, best = None, classes.best(store, failures) if classes else iter(())
    has_best = classes and classes.blob in store.columns
    columns = ROWS + BEST if has_best else ROWS
    with contextlib.ExitStack() as stack:
        write_row = stack.enter_context(complete_csv(folder / 'rows.csv', columns))
        write_failure = stack.enter_context(complete_csv(folder / 'failures.csv', FAILURES))
        for entry in store.entries():
            records += 1
            if entry.failure is not None:
                failed += 1
                write_failure(_failure(entry))
                continue
            for start, seconds in zip(entry.starts, entry.seconds):
                write_row([rows, *_row(entry, start, seconds), *next(best, [])])
                rows += 1
            if entry.right is not None:
                right = (right or 0) + entry.right
    if not failed:
        (folder / 'failures.csv').unlink()
    return Totals(records, failed, rows, right)


def _failure(entry):
    return [entry.key, entry.file, entry.video_id, entry.failure]


def _row(entry, start, seconds):
    labels = ' '.join(map(str, entry.labels))
    times = [None if s is None else f'{s:.3f}' for s in seconds]
    return [entry.key, entry.file, labels, entry.video_id, start, *times]


def _write_pickle(store, path, failed, rows):
    with path.open('wb') as file:
        array_pickle.write(file, [
            (name, column.dtype, (rows, *column.shape), lambda n=name: store.blocks(n, failed))
            for name, column in store.columns.items()
        ])  # fmt: skip
