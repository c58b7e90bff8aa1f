"""LMDB -> clips, the records of one video together: it is decoded once for all of them."""

import dataclasses
import hashlib
import itertools
import os
import pathlib

import numpy as np

from r2plus1d.datasets.database import DATA_FILE, Database, check_kind
from r2plus1d.datasets.record import decode
from r2plus1d.errors import InputError, RecordError
from r2plus1d.sources.sample import open_record, with_clips
from r2plus1d.video.prefetch import prefetch_streams
from r2plus1d.video.read_clips import read_clips
from r2plus1d.video.start_clips import Start, starting_clips

READY_BYTES = 256 << 20  # of clips that wait for the network
NO_START = -1


class GroupedReader:
    """A database's records in an order in which those of one video follow each other.

    With clips that begin at start frames the records are read once beforehand, to see which are of
    one video: the same path, or the same bytes. Otherwise the order is the database's. Use as a
    context manager.

    Args:
        path: the LMDB.
        settings: ClipSettings.
        needs: reader.RecordNeeds.
        limit: use the first records of the database only; None is all.

    Attributes:
        identity: text that differs if the records do.

    Raises:
        InputError: not a database, an empty one, one of the other kind (paths or videos), or one
            without start frames where the settings ask for them.
    """

    def __init__(self, path, settings, needs, *, limit=None):
        self.settings, self.needs = settings, needs
        self._database = Database(path)
        try:
            check_kind(self._database, needs.use_local_file)
            self._keys = self._database.keys()[:limit]
            if settings.has_start_frames or needs.use_local_file:
                self._groups, self.identity = self._scan()
            else:
                self._groups, self.identity = np.arange(len(self)), _identity_of(path)
                self._order = np.arange(len(self))
        except InputError:
            self._database.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._database.close()

    def __len__(self):
        """Records that are read."""
        return len(self._keys)

    def samples(self, first=0, *, threads=4, batch=1):
        """Yield the Sample of each record, in an order that is always the same.

        Sample.index is the record's position in the database.

        Args:
            first: leave out so many at the beginning of that order.
            threads: videos decoded at the same time.
            batch: Samples that are taken together, for which others are to be ready.
        """
        order = self._order[first:]
        stretches = [list(s) for _, s in itertools.groupby(order, lambda i: self._groups[i])]
        yield from grouped_samples(
            stretches, self._open, self.settings, threads=threads, batch=batch
        )

    def _scan(self):
        """Read every record; return (number of each one's video, identity), and set the order."""
        numbers, digest, files = {}, hashlib.blake2b(digest_size=16), set()
        groups = np.empty(len(self), np.int64)
        starts = np.full(len(self), NO_START, np.int64)
        for index, key, value in itertools.islice(self._database.records(), len(self)):
            digest.update(b'%d %d ' % (len(key), len(value)))
            digest.update(key.encode('utf-8', 'surrogateescape') + value)
            video, starts[index], path = self._video_and_start(value, index)
            if path not in files:
                files.add(path)
                digest.update(file_state(path).encode())
            groups[index] = numbers.setdefault(video, len(numbers))
        if self.settings.has_start_frames:
            if (starts == NO_START).all():
                raise InputError(
                    f'{self._database.path} has no start frames; --decode_type=1 takes clips '
                    'spread over each video'
                )
            self._order = np.lexsort((starts, groups))
        else:
            self._order = groups = np.arange(len(self))
        return groups, digest.hexdigest()

    def _video_and_start(self, value, index):
        """(what tells a record's video from others, its start frame, path of the video or None)."""
        try:
            record = decode(value)
        except RecordError:
            return index, NO_START, None  # of no video; it fails when its turn comes
        start = NO_START if record.start_frame is None else record.start_frame
        path = record.video if self.needs.use_local_file else None
        return hashlib.blake2b(record.video, digest_size=16).digest(), start, path

    def _open(self, indices):
        """Return ([Sample without clips], source of their video) of records of one video."""
        samples, source = [], None
        for index in indices:
            key = self._keys[index]
            sample, its_source = open_record(int(index), key, self._database.get(key), self.needs)
            samples.append(sample)
            source = its_source if source is None else source
        return samples, source


def file_state(path):
    """Text that changes with what is in a file, as far as its size and time tell."""
    try:
        status = pathlib.Path(os.fsdecode(path)).stat()
    except (OSError, TypeError, ValueError):  # not there, None, with a NUL
        return f'{path!r} is not there'
    return f'{path!r} {status.st_size} {status.st_mtime_ns}'


def _identity_of(path):
    """What changes when a database is written anew, without reading all its videos."""
    status = (path / DATA_FILE).stat()
    return f'{status.st_size} bytes of {status.st_mtime_ns}'


def grouped_samples(groups, open_group, settings, *, threads, batch):
    """Yield the Samples of groups of records, each of one video, decoded ahead in threads.

    Args:
        groups: lists of record numbers.
        open_group: from such a list to ([Sample without clips], source of their video).
        settings: ClipSettings.
        threads, batch: see GroupedReader.samples.
    """
    mean = max(1, sum(map(len, groups)) // max(1, len(groups)))
    streams = threads + -(-batch // mean)
    side, kind = settings.crop_size, np.float32 if settings.flow else np.uint8
    numbers = settings.rows * settings.channels * settings.length * side * side
    ready = READY_BYTES // (numbers * np.dtype(kind).itemsize * streams)
    tasks = ((group, open_group, settings) for group in groups)
    yield from prefetch_streams(
        _read_group, tasks, threads=threads, streams=streams, ahead=min(max(1, ready), batch)
    )


def _read_group(group, open_group, settings):
    samples, source = open_group(group)
    usable = [sample for sample in samples if sample.failure is None]
    if settings.has_start_frames:
        starts = [Start(sample.index, sample.start_frame) for sample in usable]
        made = starting_clips(source, settings, starts)
    else:
        made = (_spread_clips(source, settings, sample) for sample in usable)
    for sample in samples:
        if sample.failure is None:
            start, clips, failure = next(made)
            assert start.index == sample.index
            sample = (
                dataclasses.replace(sample, failure=failure)
                if failure
                else with_clips(sample, clips)
            )
        yield sample


def _spread_clips(source, settings, sample):
    try:
        return sample, read_clips(source, settings, index=sample.index), None
    except RecordError as error:
        return sample, None, error.reason
