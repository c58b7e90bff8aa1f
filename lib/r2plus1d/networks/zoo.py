"""The zoo as tables: architectures and depths."""

C3D = 'c3d'
C3D_INPUT = (16, 112)  # clip length, crop size: its fully connected layers fit no other

# How the stem and the stages res2 to res5 convolve, as keys of resnet3d.CONVOLUTIONS. 'clip' is a
# stem whose kernel spans the clip. '2+1d_shared' is a (2+1)D block both of whose convolutions have
# as many filters in the middle.
ARCHITECTURES = {
    'r2d': ('clip', '2d', '2d', '2d', '2d'),
    'r2df': ('2d', '2d', '2d', '2d', '2d'),
    'mc2': ('3d', '2d', '2d', '2d', '2d'),
    'mc3': ('3d', '3d', '2d', '2d', '2d'),
    'mc4': ('3d', '3d', '3d', '2d', '2d'),
    'mc5': ('3d', '3d', '3d', '3d', '2d'),
    'rmc2': ('2d', '3d', '3d', '3d', '3d'),
    'rmc3': ('2d', '2d', '3d', '3d', '3d'),
    'rmc4': ('2d', '2d', '2d', '3d', '3d'),
    'rmc5': ('2d', '2d', '2d', '2d', '3d'),
    'r3d': ('3d', '3d', '3d', '3d', '3d'),
    'r2plus1d': ('2+1d', '2+1d', '2+1d', '2+1d', '2+1d'),
    'r2plus1d-torchvision': ('2+1d', *('2+1d_shared',) * 4),
    'ir-csn': ('3d', 'ir', 'ir', 'ir', 'ir'),
    'ip-csn': ('3d', 'ip', 'ip', 'ip', 'ip'),
}

# Depth -> blocks in res2 to res5.
SIMPLE_BLOCKS = {
    10: (1, 1, 1, 1),
    16: (2, 2, 2, 1),
    18: (2, 2, 2, 2),
    26: (2, 3, 4, 3),
    34: (3, 4, 6, 3),
}
BOTTLENECK_BLOCKS = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BLOCKS = {**SIMPLE_BLOCKS, **BOTTLENECK_BLOCKS}

# Their published weights are of networks with pool1, which the weights themselves do not show.
HAVE_POOL1 = ('ir-csn', 'ip-csn')

# How a stage convolves -> the numbers of its convolutions in the names of blobs, which tell the
# kinds apart: ir has no second one.
SIMPLE = {'2d': (1, 2), '3d': (1, 2), '2+1d': (1, 2), '2+1d_shared': (1, 2)}
BOTTLENECKS = {'3d': (1, 2, 3), '2+1d': (1, 2, 3), 'ir': (1, 3, 4), 'ip': (1, 2, 3)}


def is_bottleneck(depth: int) -> bool:
    """Return whether networks of this depth are made of bottlenecks, not of simple blocks."""
    return depth in BOTTLENECK_BLOCKS


def has_bottlenecks(architecture: str) -> bool:
    """Return whether the architecture has depths of bottlenecks: it is 3D in every stage."""
    return all(kind in BOTTLENECKS for kind in ARCHITECTURES.get(architecture, ('none',)))


def depths_of(architecture: str) -> tuple[int, ...]:
    """Return the depths that an architecture of ARCHITECTURES comes in."""
    kinds = ARCHITECTURES[architecture]
    simple = SIMPLE_BLOCKS if all(kind in SIMPLE for kind in kinds[1:]) else ()
    return (*simple, *(BOTTLENECK_BLOCKS if has_bottlenecks(architecture) else ()))
