"""The rows of a CSV that a user made. What a stray double quote would swallow is an error."""

import csv
from collections.abc import Iterator
from typing import NamedTuple, Optional

from r2plus1d.errors import InputError
from r2plus1d.results.given_file import AnyPath, open_text

QUOTING = (
    'a path with a comma goes in double quotes, and a double quote inside them is written twice'
)


class Line(NamedTuple):
    """One row that is not blank.

    Attributes:
        first, last: numbers of the lines on which it begins and ends, from 1.
        fields: its texts; bytes that are no UTF-8 are kept as surrogates.
    """

    first: int
    last: int
    fields: list[str]

    @property
    def place(self) -> str:
        """How to call it in a message."""
        return f'line {self.first}' + (f' to {self.last}' if self.last > self.first else '')


def read_csv(path: AnyPath, *, broken: Optional[str] = None) -> Iterator[Line]:
    """Yield the rows that are not blank, the header first.

    Args:
        broken: name of the column whose fields may hold line breaks. In other columns these are a
            sign of a stray double quote, which makes one row of several.

    Raises:
        InputError: the file is no CSV, or has a stray double quote; names the line.
    """
    header: list[str] = []
    with open_text(path, errors='surrogateescape', newline='') as file:
        for line in _lines(path, csv.reader(file, strict=True)):
            names = header[: len(line.fields)] + [''] * (len(line.fields) - len(header))
            for name, field in zip(names, line.fields):
                if ('\n' in field or '\r' in field) and (not header or name != broken):
                    raise InputError(
                        f'{path}: {line.place} is one row, as double quotes hold it together; '
                        f'is one of them a stray one? ({QUOTING})'
                    )
            header = header or [name.strip() for name in line.fields]
            yield line


def _lines(path, reader):
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(f'{path}: line {first}: {_fault(error)}') from None
        if fields is None:
            return
        if any(field.strip() for field in fields):
            yield Line(first, reader.line_num, fields)


def _fault(error):
    """What csv says, or what a user can do about a double quote."""
    if 'end of data' in str(error):
        return f'a double quote is opened and never closed; {QUOTING}'
    if 'expected after' in str(error):
        return f'a double quote is closed inside a field; {QUOTING}'
    return str(error)
