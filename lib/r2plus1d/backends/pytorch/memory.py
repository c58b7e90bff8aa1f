"""How this program's memory is kept, for tensors that come and go in each step."""

import ctypes
import pathlib
from collections.abc import Iterator

# Of <malloc.h> in glibc
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
STEP = 128 << 20  # bytes that a heap grows by

# Of <linux/mman.h>; Linux 6.1 is the first to have the second one
MADV_HUGEPAGE, MADV_COLLAPSE = 14, 25
HUGE, MOST = 2 << 20, 2 << 30  # bytes of a huge page, and of all that are made
MAPS = pathlib.Path('/proc/self/maps')


def keep_freed_memory() -> None:
    """Keep the memory of tensors that are freed for those that come.

    glibc gives large blocks back to the system at once. Then each new one comes in pages of 4 KiB,
    which the system has to find and to fill with zeros, in each step. Other C libraries are left
    as they are.
    """
    set_option = getattr(ctypes.CDLL(None), 'mallopt', None)
    if set_option is not None:
        set_option(M_MMAP_MAX, 0)
        set_option(M_TRIM_THRESHOLD, -1)
        set_option(M_TOP_PAD, STEP)


def use_huge_pages() -> None:
    """Put the memory that there is into pages of 2 MiB, where the system has them.

    A processor finds the addresses of fewer pages faster. To move the memory takes time by the GB,
    so much of it, as large networks have, stays as it is.
    """
    advise = getattr(ctypes.CDLL(None), 'madvise', None)
    if advise is None or not MAPS.exists():
        return
    areas = list(_large_areas(MAPS.read_text()))
    if sum(length for _, length in areas) > MOST:
        return
    for begin, length in areas:
        for advice in (MADV_HUGEPAGE, MADV_COLLAPSE):
            advise(ctypes.c_void_p(begin), ctypes.c_size_t(length), advice)


def _large_areas(maps: str) -> Iterator[tuple[int, int]]:
    """Yield (address, bytes) of the heaps in a text as of /proc/self/maps, in whole huge pages."""
    for line in maps.splitlines():
        addresses, rights, _, _, inode, *name = line.split()
        begin, end = (int(address, 16) for address in addresses.split('-'))
        begin, end = -(-begin // HUGE) * HUGE, end // HUGE * HUGE
        is_heap = inode == '0' and rights == 'rw-p' and name in ([], ['[heap]'])
        if is_heap and end > begin:
            yield begin, end - begin
