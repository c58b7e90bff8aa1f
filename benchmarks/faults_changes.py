"""Damage as copies, disks and programs do it: a sound file's bytes, changed at random."""

LONGEST = 4096  # bytes that are cut, inserted, repeated, zeroed or swapped
MOST_FLIPS = 8


def mutate(rng, content, other):
    """Return (name of a kind of damage, damaged bytes), which differ from `content`.

    Args:
        rng: numpy Generator.
        content: bytes of a sound file.
        other: bytes of another one, for a splice.
    """
    kinds = sorted(KINDS)
    while True:
        kind = kinds[rng.integers(len(kinds))]
        damaged = KINDS[kind](rng, content, other)
        if damaged != content:
            return kind, damaged


def place_in(rng, content):
    """A place in `content`: half of them anywhere, the others near an end, where headers are."""
    size = len(content)
    if rng.integers(2):
        return int(rng.integers(size))
    near = min(size - 1, int(size ** rng.random()))
    return near if rng.integers(3) else size - 1 - near


def stretch_of(rng, content):
    """(begin, end) of a short stretch of `content`, of at least one byte."""
    begin = place_in(rng, content)
    longest = max(1, min(LONGEST, len(content) // 4))
    return begin, begin + length_up_to(rng, longest)


def length_up_to(rng, most):
    """A whole number from 1 to `most`, as often below its square root as above."""
    return int(most ** rng.random())


def _flip(rng, content, _):
    damaged = bytearray(content)
    for _ in range(rng.integers(1, MOST_FLIPS, endpoint=True)):
        damaged[place_in(rng, content)] ^= int(rng.integers(1, 256))
    return bytes(damaged)


def _cut(rng, content, _):
    begin, end = stretch_of(rng, content)
    return content[:begin] + (content[end:] if rng.integers(2) else b'')


def _insert(rng, content, _):
    begin, end = stretch_of(rng, content)
    return content[:begin] + rng.bytes(end - begin) + content[begin:]


def _repeat(rng, content, _):
    begin, end = stretch_of(rng, content)
    return content[:end] + content[begin:]


def _zero(rng, content, _):
    begin, end = stretch_of(rng, content)
    return content[:begin] + bytes(len(content[begin:end])) + content[end:]


def _swap(rng, content, _):
    (begin, end), (other, _) = sorted(stretch_of(rng, content) for _ in range(2))
    end = min(end, other)
    last = other + end - begin
    parts = content[:begin], content[other:last], content[end:other], content[begin:end]
    return b''.join(parts) + content[last:]


def _splice(rng, content, other):
    return content[: place_in(rng, content)] + other[place_in(rng, other) :]


KINDS = {
    'cut': _cut,
    'flip': _flip,
    'insert': _insert,
    'repeat': _repeat,
    'splice': _splice,
    'swap': _swap,
    'zero': _zero,
}
