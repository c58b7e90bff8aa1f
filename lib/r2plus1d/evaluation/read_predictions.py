"""Predictions from the CSV that tools/test_net.py and tools/dense_prediction_*.py write."""

import csv
import math
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.evaluation.outcomes import SEVERAL, Outcome
from r2plus1d.results.class_names import require_different
from r2plus1d.results.failures import FailureList
from r2plus1d.results.given_file import open_text

MOST_LABELS = 2**17  # of a network
NUMBER, NUMBERS = re.compile('[0-9]+'), re.compile('[0-9]+( [0-9]+)*')
WANTED = 'the predictions that tools/test_net.py or tools/dense_prediction_*.py writes'


class _Row(NamedTuple):
    """One row of the CSV as text; `place` names its line in messages."""

    place: str
    key: str
    video: str
    label: str
    best: Sequence[str]
    probabilities: Sequence[str]
    clips_right: Optional[str]
    clips: Optional[str]


class Predictions:
    """A CSV of predictions, of which one row is in memory at a time. It is read once to know it.

    Args:
        path: of the CSV.
        class_names: of the classes, in order; None takes the names, or numbers, that it has.

    Attributes:
        class_names: in order, or None where the CSV has numbers and nothing names them.
        num_labels: how many classes there are, as far as the CSV shows them.
        top_k: classes of each video.
        has_videos: whether each row has its own path or video id.
        has_keys: whether each row has its own key.

    Raises:
        InputError: no such CSV, a row that is none, or a class that has no name.
    """

    def __init__(self, path: pathlib.Path, class_names: Optional[Sequence[str]] = None) -> None:
        self.path = path
        with open_text(path, errors='surrogateescape', newline='') as file:
            self._columns = _columns_of(path, _header_of(path, file))
        self.top_k = sum(name.startswith('top') for name in self._columns)
        found = self._look()
        self._are_numbers = all(map(NUMBER.fullmatch, found))
        _require_one_label_each(found)
        if class_names is None and not self._are_numbers:
            class_names = sorted(found)
        self.class_names = None if class_names is None else tuple(class_names)
        self._require_telling_names()
        self._numbers = {name: i for i, name in reversed([*enumerate(self.class_names or ())])}
        self.num_labels = self._count_of(found)

    def _look(self):
        """The classes by the line in which they are first met; sees whether rows have names."""
        found, keys, videos, count = {}, set(), set(), 0
        for row in self._rows():
            count += 1
            keys.add(hash(row.key) if row.key else None)
            videos.add(hash(row.video) if row.video else None)
            for name in (row.label, *row.best):
                found.setdefault(name, row.place)
        if not count:
            raise InputError(f'{self.path} has no predictions')
        self._found, self._count = found, count
        self.has_keys = len(keys) == count and None not in keys
        self.has_videos = len(videos) == count and None not in videos
        return found

    def _require_telling_names(self):
        """Refuse names that are shared, or that are numbers of other classes."""
        names = self.class_names or ()
        require_different(names)
        odd = [name for i, name in enumerate(names) if NUMBER.fullmatch(name) and name != str(i)]
        if odd and self._are_numbers:
            raise InputError(
                f'{self.path}: whether {odd[0]} is the name or the number of a class cannot be '
                'told; leave the names out, which a CSV that was written with them has'
            )

    def _count_of(self, found):
        if not self._are_numbers:
            for name, place in found.items():
                if name not in self._numbers:
                    raise InputError(f'{place}: {name!r} is none of the class names')
            return len(self.class_names)
        most = MOST_LABELS if self.class_names is None else len(self.class_names)
        for name, place in found.items():
            if len(name) > len(str(most)) or int(name) >= most:
                raise InputError(f'{place}: class {name:.20} is out of range: 0 to {most - 1}')
        return len(self.class_names or ()) or max(map(int, found)) + 1

    def __len__(self) -> int:
        """Videos."""
        return self._count

    def __iter__(self) -> Iterator[Outcome]:
        """Yield the Outcome of each row, in their order."""
        for row in self._rows():
            try:
                counts = _counts_of(row)
                probabilities = tuple(map(_probability, row.probabilities))
            except ValueError:
                raise InputError(f'{row.place}: a probability or count is none') from None
            best = tuple(map(self._number_of, row.best))
            yield Outcome(
                row.key, row.video, self._number_of(row.label), best, probabilities, *counts
            )

    def _number_of(self, name):
        if name not in self._found:
            raise InputError(f'{self.path} was changed while it was read; start again')
        return int(name) if self._are_numbers else self._numbers[name]

    def _rows(self):
        places = self._columns
        tops = [places[f'top{k}'] for k in range(1, self.top_k + 1)]
        probabilities = [places[f'probability{k}'] for k in range(1, self.top_k + 1)]
        video = places.get('video', places.get('video_id'))
        with open_text(self.path, errors='surrogateescape', newline='') as file:
            reader = csv.reader(file, strict=True)
            for cells in _rows_below_header(self.path, reader, len(places)):
                yield _Row(
                    f'{self.path}: line {reader.line_num}',
                    cells[places['key']] if 'key' in places else '',
                    cells[video],
                    cells[places['label']],
                    [cells[i] for i in tops],
                    [cells[i] for i in probabilities],
                    cells[places['clips_right']] if 'clips_right' in places else None,
                    cells[places['clips']] if 'clips' in places else None,
                )


def _require_one_label_each(found):
    """Numbers with spaces between them are the labels of a network with several for a video."""
    for name, place in found.items():
        if not name:
            raise InputError(f'{place}: a class is empty')
    if all(map(NUMBERS.fullmatch, found)):
        for name, place in found.items():
            if not NUMBER.fullmatch(name):
                raise InputError(f'{place}: label {name!r}; videos with one label each are needed')


def _counts_of(row):
    """(clips_right, clips) of a row, each None where the CSV does not have it."""
    right, clips = (n if n is None else int(n) for n in (row.clips_right, row.clips))
    if right is not None and clips is not None and not 0 <= right <= clips:
        raise ValueError
    return right, clips


def _probability(text):
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _header_of(path, file):
    try:
        return next(csv.reader(file), [])
    except csv.Error as error:
        raise InputError(f'{path}: line 1: {error}') from None


def _rows_below_header(path, reader, width):
    """Yield the cells of each row, all of one width."""
    try:
        next(reader)
        for cells in reader:
            if len(cells) != width:
                raise InputError(
                    f'{path}: line {reader.line_num} has {len(cells)} cells, its header {width}'
                )
            yield cells
    except csv.Error as error:
        raise InputError(f'{path}: line {reader.line_num}: {error}') from None


def _columns_of(path, header):
    """{name: place} of the columns."""
    columns = {name: place for place, name in enumerate(header)}
    count = sum(name.startswith('top') for name in header)
    if SEVERAL in columns:
        raise InputError(f'{path} has several labels a video; those with one label are needed')
    wanted = {'label', *(f'{name}{k + 1}' for name in ('top', 'probability') for k in range(count))}
    has_video = not {'video', 'video_id'}.isdisjoint(columns)
    if not count or not has_video or not wanted <= columns.keys() or len(columns) < len(header):
        raise InputError(f'{path} is not {WANTED}: its header is {",".join(header)[:100]!r}')
    return columns


def read_failures(path: Union[str, pathlib.Path]) -> Iterator[tuple[str, str]]:
    """Yield (name, reason) of each record in a CSV of failures, as FailureList writes it.

    Raises:
        InputError: it is none.
    """
    with open_text(path, errors='surrogateescape', newline='') as file:
        if tuple(_header_of(path, file)) != FailureList.HEADER:
            raise InputError(f'{path} is no list of failures: {",".join(FailureList.HEADER)}')
    with open_text(path, errors='surrogateescape', newline='') as file:
        reader = csv.reader(file, strict=True)
        for key, video, video_id, reason in _rows_below_header(path, reader, 4):
            known = video or (f'video {video_id}' if video_id else '')
            yield f'record {key}' + (f' ({known})' if known else ''), reason
