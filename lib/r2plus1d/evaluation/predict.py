"""Reader and engine together: a stream of what the network says of each record."""

import numpy as np

from r2plus1d.video.clips import normalize
from r2plus1d.video.reader import label_rows


def predict(reader, engine, *, batch_size):
    """Yield (Sample, {output: rows of the sample}) in the database's order; None for a failed one.

    The engine gets `batch_size` videos at a time, the last time what is left. While it works, the
    reader's threads decode the next ones.

    Args:
        reader: video.reader.ClipReader.
        engine: with `run(data, label)`.
        batch_size: videos, over all devices.
    """
    held = []  # samples in order, failed ones among them
    good = 0
    for sample in reader:
        held.append(sample)
        good += sample.failure is None
        if good == batch_size:
            yield from _run(held, engine, reader)
            held, good = [], 0
    yield from _run(held, engine, reader)


def _run(samples, engine, reader):
    good = [sample for sample in samples if sample.failure is None]
    outputs = {}
    if good:
        data = normalize(np.concatenate([s.clips.pixels for s in good]), reader.settings)
        label = label_rows(good, reader.settings.rows, reader.needs)
        outputs = engine.run(data, label)
    first, rows = 0, reader.settings.rows
    for sample in samples:
        if sample.failure is not None:
            yield sample, None
            continue
        yield sample, {name: array[first : first + rows] for name, array in outputs.items()}
        first += rows
