"""Features as a table in one Parquet file: a row for each clip, which says what clip it is."""

import importlib.util
import itertools
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from r2plus1d.errors import InputError

if TYPE_CHECKING:
    from r2plus1d.features.store import Store

GROUP_BYTES = 32 << 20  # of the arrays' rows that are written together
CLIP = ('record', 'file', 'label', 'video_id', 'start_frame', 'start_seconds', 'end_seconds')


def require_pyarrow() -> None:
    """Raise InputError unless Parquet files can be written."""
    if importlib.util.find_spec('pyarrow') is None:
        raise InputError(
            'output_format=parquet needs the package pyarrow: pip install pyarrow '
            '(or r2plus1d[parquet])'
        )


def write(path: pathlib.Path, store: 'Store', failed: np.ndarray) -> None:
    """Write the rows of a full Store.

    A blob is a column of lists of one length, its numbers in C order; the field's metadata have
    the `shape` of a row. Beside the blobs are the columns CLIP, but for those that are blobs.

    Args:
        failed: bool (num_records,), records that have no rows.
    """
    import pyarrow
    from pyarrow import parquet

    about = [name for name in CLIP if name not in store.columns]
    schema = pyarrow.schema([*(_clip_field(name) for name in about), *_blob_fields(store)])
    row_bytes = sum(column.row_bytes for column in store.columns.values())
    size = max(1, GROUP_BYTES // max(1, row_bytes))
    clips = _clips(store)
    blobs = {name: _regrouped(store.blocks(name, failed), size) for name in store.columns}
    with parquet.ParquetWriter(path, schema) as writer:
        while group := list(itertools.islice(clips, size)):
            columns = [[clip[CLIP.index(name)] for clip in group] for name in about]
            arrays = [pyarrow.array(c, schema.field(n).type) for n, c in zip(about, columns)]
            arrays += [_blob_array(next(rows), schema.field(n)) for n, rows in blobs.items()]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _clip_field(name: str) -> Any:
    import pyarrow

    kinds = {
        'record': pyarrow.string(),
        'file': pyarrow.string(),
        'label': pyarrow.list_(pyarrow.int32()),
        'video_id': pyarrow.int64(),
        'start_frame': pyarrow.int32(),
    }
    return pyarrow.field(name, kinds.get(name, pyarrow.float64()))


def _blob_fields(store: 'Store') -> Iterator[Any]:
    import pyarrow

    for name, column in store.columns.items():
        kind = pyarrow.from_numpy_dtype(np.dtype(column.dtype))
        if column.shape:
            kind = pyarrow.list_(kind, int(np.prod(column.shape)))
        shape = 'x'.join(map(str, column.shape))
        yield pyarrow.field(name, kind, metadata={'shape': shape})


def _blob_array(rows: np.ndarray, field: Any) -> Any:
    import pyarrow

    flat = pyarrow.array(rows.reshape(-1))
    if rows.ndim == 1:
        return flat
    return pyarrow.FixedSizeListArray.from_arrays(flat, field.type.list_size)


def _clips(store: 'Store') -> Iterator[tuple[Any, ...]]:
    """What CLIP names, of each row in order."""
    for entry in store.entries():
        file = entry.file and entry.file.encode('utf-8', 'surrogateescape').decode(
            'utf-8', 'replace'
        )
        for start, (begin, end) in zip(entry.starts, entry.seconds):
            yield entry.key, file, list(entry.labels), entry.video_id, start, begin, end


def _regrouped(blocks: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The rows of all blocks in arrays of `size`; the last one may have fewer."""
    held: list[np.ndarray] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        while count >= size:
            rows = np.concatenate(held)
            yield rows[:size]
            held, count = [rows[size:]], count - size
    if count:
        yield np.concatenate(held)
