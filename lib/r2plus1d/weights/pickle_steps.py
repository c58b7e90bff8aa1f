"""What a pickle costs to read, found out from its steps before anything is built.

A pickle of a few bytes can ask for gigabytes or for years: it may state any length, number what
it remembers as it likes, and put one tuple many times into the next one and that into a third.
Here its steps are followed with a size in the place of each object.
"""

import os
import pickle
import pickletools
import struct
from typing import BinaryIO, NamedTuple, NoReturn, Optional

MOST_STEPS = 1 << 20  # weights have thousands
MOST_TIMES = 16  # the size of the file; the bytes of an array are in up to six objects
ROOM = 1 << 24  # bytes on top of that
MOST_OTHER_KEYS = 10_000  # that are not text; such keys can be chosen to collide in a dict
LONGEST_INTEGER = 255  # bytes or digits; digits take the square of their number

CODES = {code.code: code for code in pickletools.opcodes}
TEXTS = (pickletools.pystring, pickletools.pyunicode, pickletools.pybytes)
PUTS, GETS = ('PUT', 'BINPUT', 'LONG_BINPUT'), ('GET', 'BINGET', 'LONG_BINGET')
INTEGERS = ('INT', 'LONG', 'LONG1', 'LONG4')
LINES = {pickletools.stringnl_noescape_pair: 2}  # of an argument of text; elsewhere one
# An argument whose first bytes say how many follow
PREFIXES = {
    pickletools.TAKEN_FROM_ARGUMENT1: '<B',
    pickletools.TAKEN_FROM_ARGUMENT4: '<i',
    pickletools.TAKEN_FROM_ARGUMENT4U: '<I',
    pickletools.TAKEN_FROM_ARGUMENT8U: '<Q',
}
NUMBERS = {1: '<B', 4: '<I', 8: '<Q'}  # how an argument of so many bytes is written


class _Item:
    """An object: how many bytes it has where nothing in it is shared, and whether it is text."""

    __slots__ = ('is_text', 'size')

    def __init__(self, size: int, *, is_text: bool = False) -> None:
        self.size, self.is_text = size, is_text


class _Argument(NamedTuple):
    """What follows a step's code; `raw` is left out where its length was stated before it."""

    length: int
    raw: bytes = b''
    is_line: bool = False


def require_bounded(file: BinaryIO) -> int:
    """Follow the pickle in a regular file from where that is, and return where it ends.

    Time and memory are bounded by the size of the file, and so they are for pickle.Unpickler on
    a pickle that is not refused here.

    Raises:
        pickle.UnpicklingError: no pickle, cut short, or one that costs too much; the text of the
            last begins with `refused`.
    """
    return _Steps(file).follow()


class _Steps:
    """The machine that a pickle is a program for, with sizes in the place of objects."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        place = file.tell()
        self.length = file.seek(0, os.SEEK_END)
        file.seek(place)
        self.stack: list[Optional[_Item]] = []  # None is a mark
        self.memo: dict[int, _Item] = {}
        self.cost = self.other_keys = 0

    def follow(self) -> int:
        for step in range(MOST_STEPS):
            letter = self._read(1).decode('latin1')
            code = CODES.get(letter) or _fail(f'no pickle has a step {letter!r}')
            argument = self._argument(code)
            if code.name == 'STOP':
                return self.file.tell()
            self._do(code, argument, step)
            if self.cost > MOST_TIMES * self.length + ROOM:
                _fail('refused: it builds far more than the file holds')
        return _fail(f'refused: it takes more than {MOST_STEPS} steps')

    def _argument(self, code: pickletools.OpcodeInfo) -> _Argument:
        kind = code.arg
        if kind is None:
            return _Argument(0)
        if kind.n == pickletools.UP_TO_NEWLINE:
            raw = b''.join(self.file.readline() for _ in range(LINES.get(kind, 1)))
            if not raw.endswith(b'\n'):
                _fail('truncated')
            argument = _Argument(len(raw), raw, is_line=True)
        elif kind.n in PREFIXES:
            argument = _Argument(self._skip(PREFIXES[kind.n]))
        else:
            argument = _Argument(kind.n, self._read(kind.n))
        if code.name == 'FRAME':
            self._require_there(_number(argument))
        if code.name in INTEGERS and argument.length > LONGEST_INTEGER:
            _fail(f'refused: an integer of {argument.length} bytes')
        return argument

    def _read(self, size: int) -> bytes:
        raw = self.file.read(size)
        if len(raw) < size:
            _fail('truncated')
        return raw

    def _skip(self, prefix: str) -> int:
        (size,) = struct.unpack(prefix, self._read(struct.calcsize(prefix)))
        self._require_there(size)
        self.file.seek(size, os.SEEK_CUR)
        return size

    def _require_there(self, size: int) -> None:
        if not 0 <= size <= self.length - self.file.tell():
            _fail(f'truncated: it states {size} bytes at byte {self.file.tell()}')

    def _do(self, code: pickletools.OpcodeInfo, argument: _Argument, step: int) -> None:
        name, stack = code.name, self.stack
        if name == 'MARK':
            stack.append(None)
        elif name in PUTS:
            self._remember(_number(argument), step)
        elif name == 'MEMOIZE':
            self._remember(len(self.memo), step)
        elif name in GETS:
            stack.append(self.memo.get(_number(argument)) or _fail('nothing under this number'))
        elif name == 'DUP':
            stack.append(self._top())
        elif code.stack_before or code.stack_after:
            self._make(code, argument)

    def _remember(self, number: int, step: int) -> None:
        if number > step:  # a list of so many places would be made
            _fail(f'refused: it numbers an object {number} after {step} steps')
        self.memo[number] = self._top()

    def _make(self, code: pickletools.OpcodeInfo, argument: _Argument) -> None:
        """Take what the step takes off the stack, and put there what it makes of that."""
        name = code.name
        taken = self._take(code)
        if name in ('APPEND', 'APPENDS'):
            taken[0].size += len(taken) - 1
            self.cost += len(taken) - 1
            self.stack.append(taken[0])
        elif name in ('SETITEM', 'SETITEMS', 'ADDITEMS'):
            self._hash(taken[1:] if name == 'ADDITEMS' else taken[1::2])
            self.stack.append(taken[0])
        elif name == 'BUILD':
            self.cost += taken[1].size
            self.stack.append(taken[0])
        elif code.stack_after:
            self._hash({'DICT': taken[::2], 'FROZENSET': taken}.get(name, []))
            # Lists and dicts have no hash, and no function admitted looks into what they hold.
            inside = len(taken) if name in ('LIST', 'DICT') else sum(item.size for item in taken)
            is_text = code.stack_after[0] in TEXTS
            made = _Item(1 + argument.length + inside, is_text=is_text)
            self.stack.append(made)
            self.cost += made.size

    def _hash(self, keys: list[_Item]) -> None:
        self.cost += sum(item.size for item in keys)
        self.other_keys += sum(not item.is_text for item in keys)
        if self.other_keys > MOST_OTHER_KEYS:
            _fail(f'refused: more than {MOST_OTHER_KEYS} keys that are not text')

    def _take(self, code: pickletools.OpcodeInfo) -> list[_Item]:
        """What a step takes from the stack, the lowest first; a mark is taken with it."""
        before, stack = code.stack_before, self.stack
        taken: list[_Item] = []
        below = len(before)
        is_pop_of_mark = code.name == 'POP' and stack[-1:] == [None]
        if pickletools.markobject in before or is_pop_of_mark:
            below = 0 if is_pop_of_mark else before.index(pickletools.markobject)
            while item := self._pop():
                taken.append(item)
        taken += [self._pop() or _fail('a mark in the place of an object') for _ in range(below)]
        return taken[::-1]

    def _pop(self) -> Optional[_Item]:
        return self.stack.pop() if self.stack else _fail('nothing on the stack')

    def _top(self) -> _Item:
        return (self.stack[-1] if self.stack else None) or _fail('nothing on the stack')


def _number(argument: _Argument) -> int:
    """The number that an argument is, in digits or in bytes."""
    if argument.is_line:
        try:
            return int(argument.raw)
        except ValueError:
            _fail('no number')
    return struct.unpack(NUMBERS[argument.length], argument.raw)[0]


def _fail(fault: str) -> NoReturn:
    raise pickle.UnpicklingError(fault)
