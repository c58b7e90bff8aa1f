"""A small store of features: what its records hold, and a function that fills it."""

import numpy as np

from r2plus1d.features.entry import Entry
from r2plus1d.features.npy_rows import Column
from r2plus1d.features.store import Store

COLUMNS = {'x': Column((3,), 'float32'), 'y': Column((), 'int64')}
RECORDS, ROWS, BATCH = 11, 2, 3
FAILED = {1, 7}
ORDER = [4, 9, 1, 0, 2, 10, 8, 7, 3, 6, 5]  # of processing
ARGUMENTS = {'features': 'x,y', 'seed': 0}


def open_store(folder, *, arguments=None, columns=COLUMNS, records=RECORDS):
    return Store(
        folder,
        columns,
        num_records=records,
        rows=ROWS,
        batch=BATCH,
        arguments=arguments or ARGUMENTS,
    )


def entry(index):
    known = (index, f'k{index:02}', f'/v/{index}\udce9.mp4', (index,), 10**12 + index)
    if index in FAILED:
        return Entry(*known, failure='too few frames')
    return Entry(*known, [5 * index, 5 * index], [[0.1, None]] * ROWS, index % 3)


def values(indices):
    places = np.concatenate([np.arange(ROWS * i, ROWS * (i + 1)) for i in indices] or [[]])
    return {
        'x': (places[:, None] + np.array([0.1, 0.2, 0.3])).astype(np.float32),
        'y': places.astype(np.int64) - 2**40,
    }


def fill(store, until=RECORDS):
    """Add batches from where the store is, as extract.extract does."""
    for begin in range(store.done, until, BATCH):
        batch = ORDER[begin : begin + BATCH]
        good = [index for index in batch if index not in FAILED]
        store.add([entry(index) for index in batch], values(good) if good else {})
