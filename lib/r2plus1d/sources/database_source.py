"""The samples of a video database: in the order of its keys, or the records of a video together."""

import functools
import itertools
import json
import pathlib
from collections.abc import Generator, Iterator
from typing import Any, Optional

import numpy as np

from r2plus1d.datasets.database import DATA_FILE, Database, check_kind
from r2plus1d.errors import InputError, require_integer
from r2plus1d.sources.grouped import (
    NO_START,
    Scan,
    are_of_one_video,
    grouped_samples,
    next_change,
    scan,
)
from r2plus1d.sources.kept import kept_scan
from r2plus1d.sources.sample import RecordNeeds, Sample, open_record, read_sample
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.prefetch import prefetch


class DatabaseSource:
    """The records of a database as Samples, each one once. Use as a context manager.

    Args:
        path: the LMDB.
        settings: ClipSettings.
        needs: RecordNeeds.
        by_video: where clips begin at start frames, the records of one video follow each other, and
            it is decoded once for all of them. Every record is then read once beforehand, to see
            which are of one video: the same path, or the same bytes. Otherwise, and where clips are
            spread over a video, the order is that of the keys.
        limit: use the first so many records only; None is all.
        spread: the same, of records in equal distances.
        threads: videos decoded at the same time.
        ahead: Samples kept ready besides, which bounds memory.
        kept: a file that keeps what is seen when every record is read once, so that it is read
            once for several runs; see sources.kept.

    Raises:
        InputError: not a database, an empty one, one of the other kind (paths or videos), or one
            without start frames where `by_video` needs them.
    """

    def __init__(
        self,
        path: pathlib.Path,
        settings: ClipSettings,
        needs: RecordNeeds,
        *,
        by_video: bool = False,
        limit: Optional[int] = None,
        spread: Optional[int] = None,
        threads: int = 4,
        ahead: int = 4,
        kept: Optional[pathlib.Path] = None,
    ) -> None:
        if threads < 1:
            raise InputError(f'num_decode_threads is {threads}; at least 1')
        if limit is not None:
            require_integer('limit', limit, 1)
        self.settings, self.needs = settings, needs
        self._threads, self._ahead, self._is_spread = threads, ahead, spread is not None
        self._kept = kept
        self._database = Database(path)
        DECODERS.prepare()
        try:
            check_kind(self._database, needs.use_local_file)
            most = limit or spread
            self._length = min(len(self._database), most or len(self._database))
            self._by_video = by_video and settings.has_start_frames
            if self._by_video:
                self._keys, self._order = self._database.keys(), self._order_by_video()
        except InputError:
            self._database.close()
            raise

    def __enter__(self) -> 'DatabaseSource':
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._database.close()

    def __len__(self) -> int:
        """Records that are read."""
        return self._length

    def __iter__(self) -> Iterator[Sample]:
        """Yield all samples; see `samples`."""
        return self.samples()

    @property
    def identity(self) -> str:
        """Text that differs if the records do, or the files whose paths they hold."""
        if self._by_video or self.needs.use_local_file:
            return self._scan.identity
        status = (self._database.path / DATA_FILE).stat()
        return f'{status.st_size} bytes of {status.st_mtime_ns}'

    @functools.cached_property
    def _scan(self) -> Scan:
        def make() -> Scan:
            records = itertools.islice(self._database.records(), len(self))
            return scan(records, len(self), self.needs.use_local_file)

        if self._kept is None:
            return make()
        status = (self._database.path / DATA_FILE).stat()
        of = [status.st_size, status.st_mtime_ns, len(self), self.needs.use_local_file]
        return kept_scan(self._kept, json.dumps(of), make)

    def cut(self, place: int) -> int:
        """The first place from `place` on, in the order of `samples`, where a video begins.

        Records of one video that follow each other are on the same side of it.
        """
        if not 0 < place < len(self):
            return place
        if self._by_video:
            groups = self._scan.groups[self._order]
            return next_change(groups, place)
        before = None
        for index, _, value in self._database.records(place - 1):
            if index == len(self) or (
                before is not None
                and not are_of_one_video(before, value, self.needs.use_local_file)
            ):
                return index
            before = value
        return len(self)

    def index_at(self, place: int) -> int:
        """The index of the record at a place of the order of `samples`."""
        return int(self._order[place]) if self._by_video else place

    def samples(
        self,
        first: int = 0,
        *,
        last: Optional[int] = None,
        threads: Optional[int] = None,
        batch: Optional[int] = None,
    ) -> Generator[Sample, None, None]:
        """Yield the Sample of each record, in an order that is always the same.

        Args:
            first: leave out so many at the beginning of that order.
            last: end before this place of that order; None is the end.
            threads: videos decoded at the same time, if not as many as the source was opened for.
            batch: Samples that are taken together, for which others are to be ready; `ahead` of
                the source if left out.
        """
        threads, batch = threads or self._threads, self._ahead if batch is None else batch
        if self._by_video:
            groups = self._scan.groups
            stretches = [
                list(same)
                for _, same in itertools.groupby(self._order[first:last], lambda i: groups[i])
            ]
            yield from grouped_samples(
                stretches, self._open, self.settings, threads=threads, batch=batch
            )
        else:
            records = self._records(first, len(self) if last is None else last)
            yield from prefetch(self._read, records, threads=threads, ahead=batch)

    def _read(self, index, key, value):
        seen = self._seen(index)
        return read_sample(index, key, value, self.settings, self.needs, seen=seen)

    def _seen(self, index):
        """What the scan saw of a record's file, if there was a scan of files."""
        is_seen = self.needs.use_local_file and '_scan' in vars(self)
        return (self._scan.state_of(index),) if is_seen else ()

    def _records(self, first, last):
        """Yield (index, key, value) of the records from number `first` to before `last`."""
        if not self._is_spread:
            return itertools.islice(self._database.records(first), last - first)
        keys = self._database.keys()
        indices = (i * len(keys) // len(self) for i in range(first, last))
        return ((i, keys[i], self._database.get(keys[i])) for i in indices)

    def _order_by_video(self):
        """Record numbers: the videos as they are first met, the clips of each by first frame."""
        if (self._scan.starts == NO_START).all():
            raise InputError(
                f'{self._database.path} has no start frames; --decode_type=1 takes clips '
                'spread over each video'
            )
        return np.lexsort((self._scan.starts, self._scan.groups))

    def _open(self, indices):
        """Return ([Sample without clips], source of their video) of records of one video."""
        samples, source = [], None
        for index in indices:
            key = self._keys[index]
            sample, its_source = open_record(
                int(index), key, self._database.get(key), self.needs, self._seen(index)
            )
            samples.append(sample)
            source = its_source if source is None else source
        return samples, source
