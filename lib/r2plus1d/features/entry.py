"""One line of the journal of a store of features."""

from collections.abc import Sequence
from typing import NamedTuple, Optional


class Entry(NamedTuple):
    """What the journal says of one record.

    Attributes:
        index: the record's position in the database, which is its place in the arrays.
        key, file: the record's key, and the path of its video or None.
        labels, video_id: as stored, or None.
        starts: the first frame of each of its rows.
        seconds: (begin, end) of each of its rows, None where not known.
        right: rows whose most probable class is the label; None if that was not asked for.
        failure: the reason for having no rows, or None.
    """

    index: int  # type: ignore[assignment]  # it hides tuple.index
    key: str
    file: Optional[str]
    labels: Sequence[int]
    video_id: Optional[int]
    starts: Sequence[int] = ()
    seconds: Sequence[Sequence[Optional[float]]] = ()
    right: Optional[int] = None
    failure: Optional[str] = None
