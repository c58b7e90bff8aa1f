"""Byte streams of MPEG codecs: what cannot occur in a sound one.

Their units begin with a start code, 0 0 1, which nothing else in them may look like.
"""

import re
from typing import Optional

# FFmpeg's names of containers that hold such streams as they are.
CONTAINERS = ('h264', 'hevc', 'mpegvideo', 'mpegts', 'mpeg')
# Zeros may stand between two units, and end with a start code. H.264 and HEVC put a 3 after two
# zeros where a byte up to 3 would follow (Annex B); after a start code there is a bit that is 0.
MPEG = re.compile(rb'\0\0\0+[^\0\1]')
ANNEX_B = re.compile(rb'\0\0(?:\0+[^\0\1]|\x02|\x01[\x80-\xff])')
NEVER = {'mpeg1video': MPEG, 'mpeg2video': MPEG, 'h264': ANNEX_B, 'hevc': ANNEX_B}


def find_never(container: str, codec: str) -> 'Optional[re.Pattern[bytes]]':
    """Return what never occurs in a sound packet; None if nothing is known.

    Args:
        container, codec: FFmpeg's names of them.
    """
    return NEVER.get(codec) if container in CONTAINERS else None
