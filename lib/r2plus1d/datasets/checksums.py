"""The file beside a database that has the number of its records and a checksum of each.

    r2plus1d records 1: 0000000040, list 5d0c1f7a
    1f3b99e0
    ...

A line for each record, in the order of the keys: the CRC-32 of its key and value. The first line
has the CRC-32 of all these lines. LMDB has no checksums. The file is not a record of the database,
because the original's readers take every key for a video.
"""

import pathlib
import re
import zlib
from array import array
from collections.abc import Sequence
from typing import Optional

from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_file
from r2plus1d.results.digest import sha256_of
from r2plus1d.results.given_file import open_given

CHECKSUM_FILE = 'records.crc32'
HEADER = re.compile(rb'r2plus1d records 1: ([0-9]{10}), list ([0-9a-f]{8})\n')
UNSIGNED = 'I'  # array's name of 32 bits


def checksum_of(key: bytes, value: bytes) -> int:
    """Return the CRC-32 of a record."""
    return zlib.crc32(value, zlib.crc32(key))


def write_checksums(folder: pathlib.Path, checksums: Sequence[int]) -> None:
    """Write CHECKSUM_FILE in the folder of a database, complete or not at all."""
    lines = b''.join(b'%08x\n' % checksum for checksum in checksums)
    with complete_file(folder / CHECKSUM_FILE) as file:
        file.write(b'r2plus1d records 1: %010d, list %08x\n' % (len(checksums), zlib.crc32(lines)))
        file.write(lines)


def read_checksums(folder: pathlib.Path) -> Optional['array[int]']:
    """Return the checksum of each record of the database in `folder`, or None if it has no file.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / CHECKSUM_FILE
    try:
        with open_given(path) as file:
            content = file.read()
    except FileNotFoundError:
        return None
    header = HEADER.match(content)
    lines = content[header.end() :] if header else b''
    if not header or zlib.crc32(lines) != int(header[2], 16) or len(lines) != 9 * int(header[1]):
        raise InputError(
            f'{path} is damaged; copy it again, or remove it to read without checksums'
        )
    return array(UNSIGNED, (int(line, 16) for line in lines.split()))


def describe_checksum(folder: pathlib.Path, data_file: str) -> str:
    """Return the checksum of all records of the database in `folder`, as text.

    That is the CRC-32 of the list of checksums where the database has one; otherwise all of the
    data file is read for its SHA-256.

    Raises:
        InputError: the list is damaged, or there is no data file.
    """
    if read_checksums(folder) is not None:
        with open_given(folder / CHECKSUM_FILE) as file:
            header = HEADER.match(file.readline())
        if header:
            return f'CRC-32 {header[2].decode()} of the checksums of its {int(header[1])} records'
    return f'SHA-256 {sha256_of(folder / data_file)} of {data_file}'
