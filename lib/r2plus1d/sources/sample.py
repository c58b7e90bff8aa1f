"""LMDB -> clips of each video, decoded ahead of the network in a bounded number of threads."""

import dataclasses
import itertools
import logging
import os
import typing

import numpy as np

from r2plus1d.datasets.database import Database, check_kind
from r2plus1d.datasets.record import decode, holds_path
from r2plus1d.errors import InputError, RecordError
from r2plus1d.video.clip import Clips
from r2plus1d.video.prefetch import prefetch
from r2plus1d.video.read_clips import read_clips

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class RecordNeeds:
    """What a record must hold besides a video.

    Attributes:
        use_local_file: the database holds paths of videos, not videos.
        num_labels: labels are 0 to num_labels - 1; None leaves them unchecked.
        multi_label: a record may have several labels; otherwise it has one.
        video_id: a video id is needed.
    """

    num_labels: typing.Optional[int]
    use_local_file: bool = False
    multi_label: bool = False
    video_id: bool = False


@dataclasses.dataclass(frozen=True)
class Sample:
    """One record: its clips, or why there are none.

    Attributes:
        index: position in the database's order of keys.
        key: the record's key.
        path: of the video file, None for a video stored in the database.
        labels: class indices.
        video_id, start_frame: as stored, or None.
        clips: Clips, or None for a record that failed.
        failure: the reason, or None.
    """

    index: int
    key: str
    path: typing.Optional[str] = None
    labels: tuple = ()
    video_id: typing.Optional[int] = None
    start_frame: typing.Optional[int] = None
    clips: typing.Optional[Clips] = None
    failure: typing.Optional[str] = None

    @property
    def name(self):
        """How to call it in a message: its key, and its path or video id if it has one."""
        known = self.path or (None if self.video_id is None else f'video {self.video_id}')
        return f'record {self.key}' + (f' ({known})' if known else '')


class ClipReader:
    """Iterates over a database's records, in key order, as Samples. Use as a context manager.

    Args:
        path: the LMDB.
        settings: ClipSettings.
        needs: RecordNeeds.
        threads: videos decoded at the same time.
        ahead: Samples kept ready besides, which bounds memory.
        limit: read the first so many records only; None is all.
        spread: the same, of records in equal distances.

    Raises:
        InputError: not a database, an empty one, or one of the other kind (paths or videos).
    """

    def __init__(self, path, settings, needs, *, threads=4, ahead=4, limit=None, spread=None):
        if threads < 1:
            raise InputError(f'num_decode_threads is {threads}; at least 1')
        self.settings, self.needs = settings, needs
        self._threads, self._ahead, self._limit = threads, ahead, limit or spread
        self._is_spread = spread is not None
        self._database = Database(path)
        try:
            check_kind(self._database, needs.use_local_file)
        except InputError:
            self._database.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._database.close()

    def __len__(self):
        """Records that an iteration gives."""
        records = len(self._database)
        return records if self._limit is None else min(records, self._limit)

    def __iter__(self):
        records = itertools.islice(self._records(), len(self))
        tasks = ((*record, self.settings, self.needs) for record in records)
        yield from prefetch(read_sample, tasks, threads=self._threads, ahead=self._ahead)

    def _records(self):
        """(index, key, value) of the records."""
        if not self._is_spread:
            return self._database.records()
        keys = self._database.keys()
        indices = (i * len(keys) // len(self) for i in range(len(self)))
        return ((i, keys[i], self._database.get(keys[i])) for i in indices)


def read_sample(index, key, value, settings, needs):
    """Return the Sample of one record; whatever is wrong with it becomes its `failure`."""
    sample, source = open_record(index, key, value, needs)
    if sample.failure is not None:
        return sample
    try:
        clips = read_clips(source, settings, index=index, start_frame=sample.start_frame)
    except RecordError as error:
        return dataclasses.replace(sample, failure=error.reason)
    return with_clips(sample, clips)


def open_record(index, key, value, needs):
    """Return (Sample without clips, bytes or path of its video) of a record.

    Whatever is wrong with the record becomes the Sample's `failure`.
    """
    sample = Sample(index, key)
    try:
        record = decode(value)
        path = os.fsdecode(record.video) if needs.use_local_file and holds_path(record) else None
        sample = Sample(index, key, path, record.labels, record.video_id, record.start_frame)
        _require(record, path, needs)
    except RecordError as error:
        return dataclasses.replace(sample, failure=error.reason), None
    return sample, path if needs.use_local_file else record.video


def with_clips(sample, clips):
    """Return `sample` with its Clips, and warn of packets that they had to do without."""
    if clips.num_undecodable:
        log.warning('%s: %d packets do not decode; clips are of the other frames, as in Caffe2',
                    sample.name, clips.num_undecodable)  # fmt: skip
    return dataclasses.replace(sample, clips=clips)


def _require(record, path, needs):
    if needs.use_local_file and path is None:
        raise RecordError('holds a video, not the path of one, which use_local_file is for')
    if not needs.use_local_file and holds_path(record):
        raise RecordError('holds the path of a video, not a video: --use_local_file=1 reads those')
    if not record.labels:
        raise RecordError('no label')
    if len(record.labels) > 1 and not needs.multi_label:
        raise RecordError(f'{len(record.labels)} labels; --multi_label=1 takes several')
    for label in record.labels:
        if needs.num_labels is not None and not 0 <= label < needs.num_labels:
            raise RecordError(f'label {label} is out of range: 0 to {needs.num_labels - 1}')
    if needs.video_id and record.video_id is None:
        raise RecordError('no video id, which get_video_id asks for')


def label_rows(samples, rows, needs):
    """Return the labels of `samples`, each repeated `rows` times, as the network takes them.

    Returns:
        int32 (len(samples) * rows,), or (len(samples) * rows, num_labels) of 0 and 1.
    """
    if not needs.multi_label:
        labels = np.array([sample.labels[0] for sample in samples], np.int32)
    else:
        labels = np.zeros((len(samples), needs.num_labels), np.int32)
        for row, sample in zip(labels, samples):
            row[list(sample.labels)] = 1
    return np.repeat(labels, rows, axis=0)
