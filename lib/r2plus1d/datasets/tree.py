"""Whether the tree of an LMDB is sound, which LMDB itself does not look at.

LMDB reads its file as memory and trusts each page to say where its records are. A damaged page can
make it read beyond the end of the file, which ends the process. Here every page that leads to a
record is looked at before LMDB follows it. The videos themselves are not read.
"""

import os
import pathlib
import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from r2plus1d.datasets.meta_pages import NO_PAGE, Meta, read_newest
from r2plus1d.errors import InputError

# MDB_page and MDB_node of LMDB 0.9 on 64-bit little-endian machines
PAGE = struct.Struct('<QHHHH')  # number, padding, flags, end of the places, begin of the nodes
NODE_BYTES, NUMBER_BYTES = 8, 8
P_BRANCH, P_LEAF, P_DIRTY = 0x01, 0x02, 0x10
F_BIG = 0x01  # of a node of a leaf: its value lies in pages of its own
F_SUBTREE = 0x02  # its value tells of another tree; LMDB gives it as it is
FIRST_PAGE = 2  # after the two meta pages
DEEPEST = 32  # LMDB's own limit


def require_sound_tree(data: pathlib.Path) -> None:
    """Raise InputError if the LMDB in the file `data` would be led to anything but its records.

    Pages of the tree are read, which are about as many bytes as keys and paths have. A file that is
    laid out otherwise is left to LMDB, which refuses it.
    """
    with data.open('rb') as file:
        meta = read_newest(file.fileno())
        try:
            if meta is not None:
                _Tree(file.fileno(), meta).follow()
        except _Damaged as error:
            raise InputError(f'{data} is damaged: {error}; copy it again') from None


class _Damaged(Exception):
    """The text says what is wrong, and with which page."""


class _Nodes(NamedTuple):
    """The nodes of a page: int64 arrays (N,).

    Attributes:
        low: number of the page below, or bytes of the value.
        flags: of a leaf's nodes.
        ends: where their keys end in the page.
    """

    low: np.ndarray
    flags: np.ndarray
    ends: np.ndarray


class _Tree:
    """The pages below the root of the records."""

    def __init__(self, descriptor: int, meta: Meta) -> None:
        self._descriptor, self._meta = descriptor, meta
        self._seen: set[int] = set()

    def follow(self) -> None:
        """Raise _Damaged at the first page that is not as it should be."""
        meta = self._meta
        if meta.flags:
            raise _Damaged(f'its records are ordered in a way that is not known, {meta.flags:#x}')
        if meta.depth > DEEPEST or (meta.depth == 0) != (meta.root == NO_PAGE):
            raise _Damaged(f'the tree of its records has the depth {meta.depth}')
        level = [meta.root] if meta.depth else []
        for above in range(meta.depth - 1, -1, -1):
            level = [below for number in level for below in self._below(number, above == 0)]

    def _below(self, number: int, is_leaf: bool) -> Iterator[int]:
        """Yield the numbers of the pages to which a page of the tree leads."""
        page = self._page(number)
        nodes = _nodes_of(page, number, is_leaf)
        if is_leaf:
            self._require_values(page, number, nodes)
        elif nodes.ends.max() > len(page):
            raise _Damaged(f'page {number} has a key that reaches out of it')
        else:
            yield from nodes.low.tolist()

    def _page(self, number: int) -> bytes:
        size = self._meta.page_size
        if not FIRST_PAGE <= number <= self._meta.last_page or number in self._seen:
            raise _Damaged(f'page {number} is where no page of records can be')
        self._seen.add(number)
        page = os.pread(self._descriptor, size, number * size)
        if len(page) < size:
            raise _Damaged(f'page {number} is cut short')
        return page

    def _require_values(self, page: bytes, number: int, nodes: _Nodes) -> None:
        """Raise _Damaged unless the value of each node of a leaf lies within the file."""
        is_big = nodes.flags == F_BIG
        ends = nodes.ends + np.where(is_big, NUMBER_BYTES, nodes.low)
        if nodes.flags.max() > F_SUBTREE or ends.max() > len(page):
            raise _Damaged(f'page {number} has a record that reaches out of it')
        if is_big.any():
            places = nodes.ends[is_big, None] + np.arange(NUMBER_BYTES)
            firsts = np.frombuffer(page, np.uint8)[places].view('<u8')[:, 0]
            last, size = self._meta.last_page, len(page)
            counts = (PAGE.size + nodes.low[is_big] + size - 1) // size
            if firsts.min() < FIRST_PAGE or firsts.max() > last:
                raise _Damaged(f'page {number} has a record in a page that is not there')
            if (firsts.astype(np.int64) + counts).max() > last + 1:
                raise _Damaged(f'page {number} has a record that reaches out of the file')


def _nodes_of(page: bytes, number: int, is_leaf: bool) -> _Nodes:
    kind = P_LEAF if is_leaf else P_BRANCH
    says, _, flags, lower, upper = PAGE.unpack_from(page)
    if says != number or flags & ~P_DIRTY != kind:
        raise _Damaged(f'page {number} is another one (number {says}, flags {flags:#x})')
    fewest = 1 if is_leaf else 2
    if not PAGE.size + 2 * fewest <= lower <= upper <= len(page) or lower % 2:
        raise _Damaged(f'page {number} says wrongly how much it holds')
    words = np.frombuffer(page, '<u2').astype(np.int64)
    places = words[PAGE.size // 2 : lower // 2]
    if places.min() < upper or places.max() > len(page) - NODE_BYTES or (places % 2).any():
        raise _Damaged(f'page {number} has a record at a place outside of it')
    low, high, flags, key = (words[places // 2 + i] for i in range(4))
    low = low | high << 16 if is_leaf else low | high << 16 | flags << 32
    return _Nodes(low, flags, places + NODE_BYTES + key)
