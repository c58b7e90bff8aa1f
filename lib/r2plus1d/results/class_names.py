"""Names of classes, from a text file or of a known data set."""

import unicodedata
from collections.abc import Sequence
from typing import Optional

from r2plus1d.errors import InputError
from r2plus1d.results.given_file import AnyPath, read_lines
from r2plus1d.results.known_classes import COUNTS, is_known, known_names

# Control characters, which do things to a terminal; halves of surrogate pairs, which are not
# Unicode; separators of lines and paragraphs.
NOT_PLAIN = ('Cc', 'Cs', 'Zl', 'Zp')
MARK = '\ufeff'  # a byte order mark where two texts were joined


def read_class_names(
    path: Optional[AnyPath], num_labels: Optional[int]
) -> Optional[tuple[str, ...]]:
    """Return the class names in the text file `path`, one a line, or None if there is no path.

    Blank lines at the end are no classes. `path` may also be the name of a data set, see
    results.known_classes. None as num_labels takes any number of names.

    Raises:
        InputError: not text, a name that is not one plain line, or not as many names as the
            network has labels.
    """
    if path is None:
        return None
    if is_known(path):
        return _counted(path, known_names(str(path)), num_labels)
    try:
        names = read_lines(path)
    except FileNotFoundError:
        raise InputError(f'labels is {path}, no file and none of {", ".join(COUNTS)}') from None
    while names and not names[-1].strip():
        names.pop()
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise InputError(f'{path}: line {number} is blank; a class name a line')
        try:
            require_plain(name)
        except InputError as error:
            raise InputError(f'{path}: line {number}: {error}') from None
    return _counted(path, tuple(names), num_labels)


def _counted(path, names, num_labels):
    if num_labels is not None and len(names) != num_labels:
        raise InputError(f'{path} names {len(names)} classes; num_labels is {num_labels}')
    return tuple(names)


def require_different(names: Sequence[str]) -> None:
    """Raise InputError if two classes have one name, by which predictions are told apart."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        if seen.setdefault(name, number) != number:
            raise InputError(
                f'the class name {name!r} is that of classes {seen[name]} and {number}, whose '
                'predictions could not be told apart'
            )


def require_plain(name: str) -> None:
    """Raise InputError unless `name` is one plain line."""
    for character in name:
        is_odd = unicodedata.category(character) in NOT_PLAIN and character != '\t'
        if is_odd or character == MARK:
            raise InputError(
                f'the class name {name!r} has {character!r}, which is not plain text; a class '
                'name is one line'
            )
