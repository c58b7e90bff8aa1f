"""Lets PyTorch 1.10 load with glibc 2.41 and later; run by the Python of the environment.

The wheel of PyTorch 1.10 asks for an executable stack, by an oversight of its assembler code. From
glibc 2.41 on (2025) a library that does so cannot be loaded; it works without.
"""

import pathlib
import struct
import sysconfig

PT_GNU_STACK, PF_X = 0x6474E551, 1


def clear(path):
    """Take the flag from a 64-bit ELF file; other files stay as they are."""
    with path.open('r+b') as library:
        header = library.read(64)
        if header[:6] != b'\x7fELF\x02\x01':
            return
        (table,) = struct.unpack_from('<Q', header, 32)
        size, count = struct.unpack_from('<HH', header, 54)
        for place in range(table, table + size * count, size):
            library.seek(place)
            kind, flags = struct.unpack('<II', library.read(8))
            if kind == PT_GNU_STACK and flags & PF_X:
                library.seek(place + 4)
                library.write(struct.pack('<I', flags & ~PF_X))


if __name__ == '__main__':
    for file in pathlib.Path(sysconfig.get_path('platlib'), 'torch', 'lib').glob('*.so'):
        clear(file)
