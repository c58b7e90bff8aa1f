"""CSV lists of videos; the first line names the columns org_video,label[,start_frm][,video_id]."""

import csv
import os
import pathlib
import re
import stat
from collections.abc import Iterable
from typing import NamedTuple, Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.results.complete import CSV_FILE, complete_file

VIDEO, LABEL, START_FRAME, VIDEO_ID = 'org_video', 'label', 'start_frm', 'video_id'
INT32_BITS, INT64_BITS = 32, 64
INTEGER = re.compile(r'[+-]?[0-9]+')
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


def has_column(path: Union[str, pathlib.Path], name: str) -> bool:
    """Whether the list at `path` has the column `name`; `read_rows` says what is wrong with it."""
    path = pathlib.Path(path)
    with path.open(encoding='utf-8-sig', errors='surrogateescape', newline='') as file:
        try:
            filled = (row for row in csv.reader(file) if any(field.strip() for field in row))
            return name in [field.strip() for field in next(filled, ())]
        except csv.Error:
            return False


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
    columns = [VIDEO, LABEL] + [START_FRAME] * use_start_frame + [VIDEO_ID] * use_video_id
    rows, problems, files = [], [], {}
    for line, fields in _lines(pathlib.Path(path), columns):
        try:
            row = _row(fields)
            if row.video not in files:
                files[row.video] = _problem_with_file(row.video, max_video_bytes)
            if files[row.video]:
                raise InputError(files[row.video])
            rows.append(row)
        except InputError as error:
            problems.append(f'line {line}: {error}')
    if problems:
        raise InputError(_bad_rows(path, problems, len(rows) + len(problems)))
    if not rows:
        raise InputError(f'{path} has no rows under its header')
    return rows


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
    """Yield (number of the line, column -> text) of each row; bytes that are no UTF-8 survive."""
    with path.open(encoding='utf-8-sig', errors='surrogateescape', newline='') as file:
        lines = csv.reader(file)
        try:
            filled = (fields for fields in lines if any(field.strip() for field in fields))
            header = [name.strip() for name in next(filled, ())]
            _check_header(path, lines.line_num, header, columns)
            for fields in filled:
                yield lines.line_num, _named(header, fields, columns)
        except csv.Error as error:
            raise InputError(f'{path}: line {lines.line_num}: {error}') from None


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
        raise InputError(f'{column} is {text!r}, not an integer')
    value, limit = int(text), 2 ** (bits - 1)
    if not -limit <= value < limit:
        raise InputError(f'{column} is {value}, which needs more than {bits} bits')
    return value


def _problem_with_file(video, max_bytes):
    path = pathlib.Path(video)
    try:
        status = path.stat()
    except FileNotFoundError:
        place = '' if path.is_absolute() else f' in {pathlib.Path.cwd()}'
        return f'{video} does not exist{place}'
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return f'{video!r}: {getattr(error, "strerror", error)}'
    if not stat.S_ISREG(status.st_mode):
        return f'{video} is not a file'
    if not os.access(path, os.R_OK):
        return f'{video} may not be read'
    if not status.st_size:
        return f'{video} is empty'
    if max_bytes is not None and status.st_size > max_bytes:
        return f'{video} has {status.st_size} bytes; a record takes {max_bytes} at most'
    return None


def _bad_rows(path, problems, total):
    lines = [f'{path}: {len(problems)} of {total} rows cannot be used:', *problems[:SHOWN_PROBLEMS]]
    if len(problems) > SHOWN_PROBLEMS:
        lines.append(f'and {len(problems) - SHOWN_PROBLEMS} more')
    return '\n  '.join(lines)
