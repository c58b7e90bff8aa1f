"""What a user did, a record holds or a backend met that cannot work: shown as one line."""

import operator
import re
import unicodedata
from collections.abc import Iterable

# What would keep this process from its end: whoever ends it does so without waiting.
HANGING: 'list[str]' = []
# Categories of Unicode that do something instead of showing something, without the invisible
# joiners of some scripts; and the characters that turn the direction of writing.
ACTIVE = ('Cc', 'Cs', 'Zl', 'Zp')
TURNS = '\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069'


def printable(text: object) -> str:
    """Return `text` as one line that only shows something, whatever file or server it is from.

    What would control a terminal is written as in Python: `\\x1b`, `\\n`, `\\u202e`.
    """
    return ''.join(_shown(c) for c in str(text))


def printable_list(text: object) -> str:
    """Return `text` as `printable` does, and keep the lines of a list: those that are indented."""
    return '\n'.join(map(printable, re.split(r'\n(?=  )', str(text))))


def _shown(c: str) -> str:
    is_active = c in TURNS or unicodedata.category(c) in ACTIVE
    return c.encode('unicode_escape').decode() if is_active else c


class InputError(ValueError):
    """A flag or file that cannot be used; the message names it and says what would be right."""


def require_integer(name: str, value: object, least: int) -> None:
    """Raise InputError unless a setting is an integer, perhaps numpy's, of at least `least`."""
    try:
        number = operator.index(value)  # type: ignore[arg-type] # whatever it is, that is asked
    except TypeError:
        raise InputError(f'{name} is {value!r}; an integer is right') from None
    if number < least:
        raise InputError(f'{name} is {number}; at least {least}')


def require_one_of(name: str, value: object, known: Iterable[str]) -> None:
    """Raise InputError unless a setting is one of the known words."""
    words = list(known)
    if value not in words:
        raise InputError(f'{name} is {value}; known: {", ".join(words)}')


class BackendError(RuntimeError):
    """What runs the network failed: a device without enough memory, a process that was killed."""


class RecordError(InputError):
    """One record of a database that cannot be used; the others can.

    Attributes:
        reason: what is wrong with it, with the numbers, without the record's name.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
