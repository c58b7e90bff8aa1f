"""The zoo as tables: architectures, depths, and the published weights with their settings."""

C3D = 'c3d'
C3D_INPUT = (16, 112)  # clip length, crop size: its fully connected layers fit no other

# How the stem and the stages res2 to res5 convolve. 'clip' is a stem whose kernel spans the clip.
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
}

# Depth -> blocks in res2 to res5.
BLOCKS = {
    10: (1, 1, 1, 1),
    16: (2, 2, 2, 1),
    18: (2, 2, 2, 2),
    26: (2, 3, 4, 3),
    34: (3, 4, 6, 3),
}
