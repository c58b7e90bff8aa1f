"""Outputs of a network that are numbers: neither NaN nor infinite."""

from collections.abc import Mapping
from typing import Optional

import numpy as np


def failure_of(outputs: Mapping[str, np.ndarray]) -> Optional[str]:
    """Return why a record's outputs, {blob: rows}, cannot be used, or None.

    A class of NaN would be a class like any other to what ranks them.
    """
    broken = [name for name, rows in outputs.items() if not np.isfinite(rows).all()]
    if not broken:
        return None
    return (
        f'{broken[0]} of the network has NaN or infinite numbers: weights that are too large, or '
        'a precision with too small a range'
    )
