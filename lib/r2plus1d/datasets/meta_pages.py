"""The two meta pages with which an LMDB begins, and whether they fit each other.

LMDB writes them in turn: transaction N goes to page N % 2. A reader takes the page with the higher
number and trusts it. One flipped bit in the newest page's number makes LMDB read the database as it
was one transaction earlier, with fewer records and without an error. But the numbers then no longer
follow each other; or, where 3 has become 1, the page that seems older counts more pages in the
file, and these never become fewer.
"""

import os
import pathlib
import struct
from typing import NamedTuple, Optional

from r2plus1d.errors import InputError

# MDB_page's header and MDB_meta of LMDB 0.9 on 64-bit little-endian machines
PAGE = struct.Struct('<8xHHHH')
META = struct.Struct('<IIQQ48s48sQQ')
TREE = struct.Struct('<IHHQQQQQ')  # each 48 bytes: the free pages' tree, and that of the records
P_META, MAGIC = 0x08, 0xBEEFC0DE
PAGE_SIZES = [1 << bits for bits in range(9, 17)]
NO_PAGE = 2**64 - 1  # as root: there are no records


class Meta(NamedTuple):
    """What a meta page says.

    Attributes:
        transaction: that wrote it.
        last_page: number of the last page in the file.
        page_size: in bytes.
        flags: how the records are ordered; 0 is by the bytes of their keys.
        depth: pages from the root of the records' tree to a leaf, both included; 0 for no records.
        root: number of that page, or NO_PAGE.
    """

    transaction: int
    last_page: int
    page_size: int
    flags: int
    depth: int
    root: int


def require_newest(data: pathlib.Path) -> None:
    """Raise InputError if the newest meta page of the LMDB in the file `data` is damaged.

    A file that is laid out otherwise is left to LMDB.
    """
    with data.open('rb') as file:
        metas = _both(file.fileno())
    if len(metas) == 2 and metas[0].transaction == metas[1].transaction == 0:
        return  # nothing was written yet
    sizes = [meta.page_size for meta in metas]
    if set(sizes) - set(PAGE_SIZES) or len(set(sizes)) > 1:
        raise InputError(
            f'{data} is damaged: it says that its pages have {" and ".join(map(str, sizes))} '
            'bytes; copy it again'
        )
    if len(metas) < 2:
        return
    first, second = metas
    older, newer = sorted((first, second))
    follows = newer.transaction - older.transaction == 1 and first.transaction % 2 == 0
    if not follows or older.last_page > newer.last_page:
        raise InputError(
            f'{data} is damaged: its two meta pages do not fit each other (transactions '
            f'{first.transaction} and {second.transaction}, last pages {first.last_page} and '
            f'{second.last_page}); copy it again'
        )


def read_newest(descriptor: int) -> Optional[Meta]:
    """Return the Meta that LMDB takes; None if the file is laid out otherwise."""
    metas = _both(descriptor)
    return max(metas, key=lambda meta: meta.transaction) if len(metas) == 2 else None


def _both(descriptor: int) -> list[Meta]:
    """The Metas that are where LMDB looks for them, which refuses a file without both."""
    first = _meta(descriptor, 0)
    if first is None or first.page_size not in PAGE_SIZES:
        return [first] if first else []
    second = _meta(descriptor, first.page_size)
    return [first, second] if second else [first]


def _meta(descriptor: int, place: int) -> Optional[Meta]:
    """The meta page at `place`; None if there is no such page."""
    content = os.pread(descriptor, PAGE.size + META.size, place)
    if len(content) < PAGE.size + META.size:
        return None
    _, flags, _, _ = PAGE.unpack_from(content)
    magic, _, _, _, free, records, last_page, transaction = META.unpack_from(content, PAGE.size)
    if magic != MAGIC or not flags & P_META:
        return None
    page_size, *_ = TREE.unpack(free)
    _, order, depth, *_, root = TREE.unpack(records)
    return Meta(transaction, last_page, page_size, order, depth, root)
