"""Blobs of every clip, into a Store: every record gets its rows or a reason for having none."""

import collections
import contextlib
import dataclasses
import itertools
import logging
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np

from r2plus1d.errors import InputError, require_integer
from r2plus1d.features.entry import Entry
from r2plus1d.features.npy_rows import Column
from r2plus1d.features.per_video import VideoFolder
from r2plus1d.features.store import Store
from r2plus1d.inference.finite import failure_of
from r2plus1d.inference.streaming import run_each
from r2plus1d.networks import cost
from r2plus1d.networks.network import Network
from r2plus1d.results.progress import Progress
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.file_source import VideoFiles
from r2plus1d.sources.part import SourcePart
from r2plus1d.sources.sample import Sample, label_rows
from r2plus1d.video.clip import Work, normalize

log = logging.getLogger(__name__)

# What a record has without the network: `data` is what the network sees.
INPUTS = ('data', 'label', 'video_id', 'start_frame')
LOGGED_FAILURES = 20


def blob_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    """{blob: shape of a clip's row} of every blob that can be asked for, inputs first."""
    shapes = {'data': network.data_shape, 'label': network.label_shape}
    shapes.update({'video_id': (), 'start_frame': ()})
    shapes.update({row.blob: row.shape for row in cost.rows(network)})
    return shapes


def columns(network: Network, features: Sequence[str]) -> dict[str, Column]:
    """Return {blob: Column} of the blobs to extract, in the order asked for.

    Raises:
        InputError: the network has no such blob, or one is named twice.
    """
    shapes = blob_shapes(network)
    unknown = [name for name in features if name not in shapes]
    if unknown or not features:
        asked = ', '.join(unknown) or 'nothing'
        raise InputError(
            f'features asks for {asked}, which {network.name} does not have; --list_blobs=1 '
            'lists what it has'
        )
    if len(set(features)) < len(features):
        raise InputError(f'features names a blob twice: {",".join(features)}')
    dtypes = {'label': 'int32', 'video_id': 'int64', 'start_frame': 'int32'}
    return {name: Column(tuple(shapes[name]), dtypes.get(name, 'float32')) for name in features}


@dataclasses.dataclass(frozen=True)
class ExtractionSettings:
    """How a source of clips is gone through.

    Attributes:
        batch_size: records that the engine gets at a time, over all devices.
        threads: videos decoded at the same time.
        sanity_check: compare `softmax` with the labels.
        display_iter: batches between two lines of progress in a log.
    """

    batch_size: int
    threads: int = 4
    sanity_check: bool = False
    display_iter: int = 10

    def __post_init__(self) -> None:
        for name in ('batch_size', 'threads', 'display_iter'):
            require_integer(name, getattr(self, name), 1)


def extract(
    source: Union[DatabaseSource, VideoFiles, SourcePart],
    engine: Any,
    store: Union[Store, VideoFolder],
    settings: ExtractionSettings,
) -> Work:
    """Fill `store` with the records that it lacks; return the Work of decoding them.

    Args:
        source: DatabaseSource or VideoFiles, or a part of one.
        engine: has `outputs` and `run(pixels)`; None if only INPUTS are asked for.
        store: Store, or a VideoFolder.
        settings: ExtractionSettings.

    Raises:
        InputError: the source gave fewer records than it has.
    """
    work, failed = Work(), 0
    batch = settings.batch_size
    under_way = collections.deque[_Batch]()
    every = settings.display_iter * batch
    with (
        contextlib.closing(
            source.samples(store.done, threads=settings.threads, batch=batch)
        ) as samples,
        Progress(len(source), unit='clips', every=every, done=store.done) as progress,
        contextlib.closing(run_each(engine, _pixels(samples, batch, under_way, engine))) as each,
    ):
        for outputs in each:
            (held, good, pixels), outputs = _with_numbers(under_way.popleft(), outputs or {})
            arrays = _arrays(good, pixels, source, outputs, store.columns) if good else {}
            right = _rows_right(good, arrays) if good and settings.sanity_check else {}
            store.add([_entry(sample, right.get(sample.index)) for sample in held], arrays)
            for sample in held:
                failed += sample.failure is not None
                _log_failure(sample, failed)
            work = sum((s.clips.work for s in held if s.clips is not None), work)
            progress.step(f'failed: {failed}', len(held))
    if store.done != len(source):
        raise InputError(
            f'the database changed during the run: {len(source)} records at its start, '
            f'{store.done} read'
        )
    return work


class _Batch(NamedTuple):
    """Samples, the good ones among them and their clips."""

    held: list[Sample]
    good: list[Sample]
    pixels: Optional[np.ndarray]


def _pixels(samples, size, under_way, engine):
    """Yield what the engine is to run for each batch, None for nothing; append the _Batch."""
    while held := list(itertools.islice(samples, size)):
        good = [sample for sample in held if sample.failure is None]
        pixels = np.concatenate([sample.clips.pixels for sample in good]) if good else None
        under_way.append(_Batch(held, good, pixels))
        yield pixels if engine else None


def _with_numbers(batch, outputs):
    """The batch and its outputs; samples of which the network gives NaN have failed."""
    if failure_of(outputs) is None:
        return batch, outputs
    rows = len(batch.pixels) // len(batch.good)
    parts = [slice(i * rows, (i + 1) * rows) for i in range(len(batch.good))]
    reasons = {
        sample.index: failure_of({name: array[part] for name, array in outputs.items()})
        for sample, part in zip(batch.good, parts)
    }
    held = [dataclasses.replace(s, failure=reasons.get(s.index, s.failure)) for s in batch.held]
    kept = np.repeat([reason is None for reason in reasons.values()], rows)
    good = [sample for sample in batch.good if reasons[sample.index] is None]
    arrays = {name: array[kept] for name, array in outputs.items()}
    return _Batch(held, good, batch.pixels[kept]), arrays


def _arrays(samples, pixels, source, outputs, columns):
    """{blob: rows of the samples}, those of the network and the INPUTS."""
    rows, arrays = source.settings.rows, dict(outputs)
    if 'data' in columns:
        arrays['data'] = normalize(pixels, source.settings)
    if 'label' in columns:
        arrays['label'] = label_rows(samples, rows, source.needs)
    if 'video_id' in columns:
        arrays['video_id'] = np.repeat(np.array([s.video_id for s in samples], np.int64), rows)
    if 'start_frame' in columns:
        arrays['start_frame'] = np.concatenate([s.clips.starts for s in samples])
    return arrays


def _rows_right(samples, arrays):
    """{record's index: how many of its rows have their label as the most probable class}."""
    best = arrays['softmax'].argmax(axis=1).reshape(len(samples), -1)
    return {s.index: int((row == s.labels[0]).sum()) for s, row in zip(samples, best)}


def _entry(sample, right):
    known = (sample.index, sample.key, sample.path, sample.labels, sample.video_id)
    if sample.failure is not None:
        return Entry(*known, failure=sample.failure)
    seconds = [[None if np.isnan(s) else s for s in pair] for pair in sample.clips.seconds.tolist()]
    return Entry(*known, sample.clips.starts.tolist(), seconds, right)


def _log_failure(sample, failed):
    if sample.failure is None:
        return
    if failed <= LOGGED_FAILURES:
        log.warning('%s failed: %s', sample.name, sample.failure)
    elif failed == LOGGED_FAILURES + 1:
        log.warning('more records fail; they will be listed with the reasons')
