"""CSV lists of videos; the first line names the columns org_video,label[,start_frm][,video_id]."""

import csv
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Optional, Union

from r2plus1d.datasets.record import Record, holds_path
from r2plus1d.datasets.strict_csv import Line, read_csv
from r2plus1d.errors import InputError
from r2plus1d.results.complete import CSV_FILE, complete_file
from r2plus1d.results.given_file import problem_with

VIDEO, LABEL, START_FRAME, VIDEO_ID = 'org_video', 'label', 'start_frm', 'video_id'
INT32_BITS, INT64_BITS = 32, 64
INTEGER = re.compile(r'[+-]?[0-9]+')
MOST_DIGITS = 30  # that are looked at, and shown, of a number
SHOWN_PROBLEMS = 10


class Row(NamedTuple):
    """One row of a list.

    Attributes:
        video: path of the file, as the list has it.
        labels: class indices, at least one.
        start_frame, video_id: int, or None where the list was read or is written without.
    """

    video: str
    labels: tuple[int, ...]
    start_frame: Optional[int] = None
    video_id: Optional[int] = None


class GoodRow(NamedTuple):
    """A row that can be used, and the line of the list on which it begins."""

    line: int
    row: Row


class BadRow(NamedTuple):
    """A row that cannot be used.

    Attributes:
        line: of the list, on which it begins.
        video: its path as the list has it; empty if that is not known.
        reason: what is wrong.
    """

    line: int
    video: str
    reason: str


def has_column(path: Union[str, pathlib.Path], name: str) -> bool:
    """Whether the list at `path` has the column `name`.

    Raises:
        InputError: `path` is no regular file, or its first line is none of a CSV.
    """
    header = next(read_csv(path, broken=VIDEO), None)
    return header is not None and name in [field.strip() for field in header.fields]


def read_rows(
    path: Union[str, pathlib.Path],
    *,
    use_start_frame: bool = False,
    use_video_id: bool = False,
    max_video_bytes: Optional[int] = None,
) -> list[Row]:
    """Return the rows of the list at `path`, every one checked, its video file included.

    Relative paths of videos are looked for from the current directory. Columns other than the
    asked ones, and blank lines, are ignored.

    Args:
        max_video_bytes: larger files are refused; None takes any.

    Raises:
        InputError: a column is missing, there are no rows, or some are bad: names them by line.
    """
    good, bad = examine_rows(
        path,
        use_start_frame=use_start_frame,
        use_video_id=use_video_id,
        max_video_bytes=max_video_bytes,
    )
    require_no_bad_rows(path, good, bad)
    return [row for _, row in good]


def examine_rows(
    path: Union[str, pathlib.Path],
    *,
    use_start_frame: bool = False,
    use_video_id: bool = False,
    max_video_bytes: Optional[int] = None,
    paths_are_stored: bool = False,
) -> tuple[list[GoodRow], list[BadRow]]:
    """Return (rows that can be used, rows that cannot); see `read_rows`.

    Args:
        paths_are_stored: a record is to hold the path, which not every path can be.

    Raises:
        InputError: a column is missing, there are no rows, or double quotes leave open where a row
            ends.
    """
    columns = [VIDEO, LABEL] + [START_FRAME] * use_start_frame + [VIDEO_ID] * use_video_id
    good, bad, files = [], [], {}
    for line, fields in _lines(pathlib.Path(path), columns):
        video = (fields or {}).get(VIDEO, '')
        try:
            row = _row(fields)
            if video not in files:
                files[video] = _problem_with_video(video, max_video_bytes)
                if paths_are_stored and not files[video]:
                    files[video] = _problem_with_stored(video)
            if files[video]:
                raise InputError(files[video])
            good.append(GoodRow(line.first, row))
        except InputError as error:
            if line.last > line.first:  # the rows that a stray quote would swallow
                raise InputError(
                    f'{path}: {line.place} is one row, as double quotes hold it together: {error}'
                ) from None
            bad.append(BadRow(line.first, video, str(error)))
    if not good and not bad:
        raise InputError(f'{path} has no rows under its header')
    return good, bad


def require_no_bad_rows(
    path: Union[str, pathlib.Path], good: Sequence[GoodRow], bad: Sequence[BadRow]
) -> None:
    """Raise InputError if rows are bad; it counts them and names the first ones by line."""
    if not bad:
        return
    lines = [f'{path}: {len(bad)} of {len(good) + len(bad)} rows cannot be used:']
    lines += [f'line {row.line}: {row.reason}' for row in bad[:SHOWN_PROBLEMS]]
    if len(bad) > SHOWN_PROBLEMS:
        lines.append(f'and {len(bad) - SHOWN_PROBLEMS} more')
    raise InputError('\n  '.join(lines))


def write_rows(path: Union[str, pathlib.Path], rows: Iterable[Row]) -> None:
    """Write a list that `read_rows` reads; it appears under its name when it is complete.

    The columns start_frm and video_id are there if the first row has them.
    """
    rows = list(rows)
    columns = [VIDEO, LABEL]
    columns += [START_FRAME] * (bool(rows) and rows[0].start_frame is not None)
    columns += [VIDEO_ID] * (bool(rows) and rows[0].video_id is not None)
    with complete_file(path, 'w', private=True, **CSV_FILE) as file:
        writer = csv.DictWriter(file, columns, extrasaction='ignore', lineterminator='\n')
        writer.writeheader()
        writer.writerows(_fields(row) for row in rows)


def _fields(row):
    labels = ';'.join(map(str, row.labels))
    return {VIDEO: row.video, LABEL: labels, START_FRAME: row.start_frame, VIDEO_ID: row.video_id}


def _lines(path, columns):
    """Yield (Line, column -> text) of each row."""
    lines = read_csv(path, broken=VIDEO)
    first = next(lines, Line(1, 1, []))
    header = [name.strip() for name in first.fields]
    _check_header(path, first.first, header, columns)
    for line in lines:
        yield line, _named(header, line.fields, columns)


def _check_header(path, line, header, columns):
    if not header:
        raise InputError(f'{path} is empty; its first line should be {",".join(columns)}')
    for column in columns:
        if header.count(column) != 1:
            problem = 'several columns' if column in header else 'no column'
            raise InputError(
                f'{path}: line {line} names {problem} {column}; it should name '
                f'{", ".join(columns)}, and is {",".join(header)!r}{_how_to_list(header)}'
            )


def _how_to_list(header):
    """What to do with a file that is no list, such as a data set's own CSV."""
    if VIDEO in header:
        return ''
    return '; data/create_list.py makes a list from the files of Kinetics, HMDB51 or UCF101'


def _named(header, fields, columns):
    """Return column -> text; None in place of a row with more fields than columns."""
    if any(field.strip() for field in fields[len(header) :]):
        return None
    texts = dict(zip(header, fields))
    return {column: texts.get(column, '') for column in columns}


def _row(fields):
    if fields is None:
        raise InputError('more fields than columns; a path with a comma goes in double quotes')
    if not fields[VIDEO].strip():
        raise InputError(f'{VIDEO} is empty')
    labels = re.split(r'\s*;\s*|\s+', fields[LABEL].strip())
    labels = tuple(_integer(LABEL, label, INT32_BITS) for label in labels)
    if min(labels) < 0:
        raise InputError(f'{LABEL} is {min(labels)}; the first class is 0')
    start_frame, video_id = fields.get(START_FRAME), fields.get(VIDEO_ID)
    if start_frame is not None:
        start_frame = _integer(START_FRAME, start_frame, INT32_BITS)
        if start_frame < 0:
            raise InputError(f'{START_FRAME} is {start_frame}; the first frame is 0')
    if video_id is not None:
        video_id = _integer(VIDEO_ID, video_id, INT64_BITS)
    return Row(fields[VIDEO], labels, start_frame, video_id)


def _integer(column, text, bits):
    text = text.strip()
    if not text:
        raise InputError(f'{column} is empty')
    if not INTEGER.fullmatch(text):
        raise InputError(f'{column} is {_cut(text)!r}, not an integer')
    digits = text.lstrip('+-0')
    if len(digits) > MOST_DIGITS:
        raise InputError(f'{column} has {len(digits)} digits, which need more than {bits} bits')
    value, limit = int(digits or '0') * (-1 if text[0] == '-' else 1), 2 ** (bits - 1)
    if not -limit <= value < limit:
        raise InputError(f'{column} is {value}, which needs more than {bits} bits')
    return value


def _cut(text):
    return text if len(text) <= MOST_DIGITS else f'{text[:MOST_DIGITS]}...'


def _problem_with_stored(video):
    if not holds_path(Record(os.fsencode(video), ())):
        return f'{video!r} has control characters or is too long for the path of a record'
    return None


def _problem_with_video(video, max_bytes):
    path = pathlib.Path(video)
    shown = video if video.isprintable() else repr(video)
    try:
        problem = problem_with(path)
        size = path.stat().st_size if problem is None else 0
    except FileNotFoundError:
        place = '' if path.is_absolute() else f' in {pathlib.Path.cwd()}'
        return f'{shown} does not exist{place}'
    except OSError as error:
        return f'{video!r}: {error.strerror}'
    if problem:
        return f'{shown} {problem}'
    if not os.access(path, os.R_OK):
        return f'{shown} may not be read'
    if not size:
        return f'{shown} is empty'
    if max_bytes is not None and size > max_bytes:
        return f'{shown} has {size} bytes; a record takes {max_bytes} at most'
    return None
