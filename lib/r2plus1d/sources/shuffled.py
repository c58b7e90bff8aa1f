"""Batches to train on: shuffled records, random clips, all of it following from one seed."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator
from typing import Optional, Union

import numpy as np

from r2plus1d.datasets.database import Database, check_kind
from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.sources.sample import RecordNeeds, Sample, label_rows, read_sample
from r2plus1d.video.clip import normalize
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.prefetch import prefetch


@dataclasses.dataclass(frozen=True)
class Batch:
    """One machine's clips of one iteration.

    Attributes:
        data: float32 N x C x T x H x W.
        label: int32 (N,), or 0/1 (N, num_labels).
        failed: Samples of records that could not be used; others are in their place.
    """

    data: np.ndarray
    label: np.ndarray
    failed: tuple[Sample, ...]


class TrainingData:
    """Endless shuffled clips of a database, decoded ahead in threads. Use as a context manager.

    Draw number d takes entry d % N of permutation d // N of the N records, so that every record
    comes once before any comes again. Draws are dealt to the shards batch by batch. A record that
    cannot be used is replaced by the next one in the order of keys.

    Args:
        path: the LMDB.
        settings: ClipSettings of one clip a record; its seed is that of the shuffle too.
        needs: RecordNeeds.
        batch_size: clips of this machine in one iteration.
        shard: Shard.
        threads: videos decoded at the same time.
    """

    def __init__(
        self,
        path: Union[str, pathlib.Path],
        settings: ClipSettings,
        needs: RecordNeeds,
        *,
        batch_size: int,
        shard: Optional[Shard] = None,
        threads: int = 4,
    ) -> None:
        self.settings, self.needs, self.batch_size = settings, needs, batch_size
        self.shard, self._threads = shard or Shard(), threads
        self._database = Database(path)
        check_kind(self._database, needs.use_local_file)
        self._keys = self._database.keys()

    def __enter__(self) -> 'TrainingData':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    def __len__(self) -> int:
        """Number of records."""
        return len(self._keys)

    def draws(self, iteration: int) -> range:
        """The draw numbers of this machine's batch in an iteration, counted from 0."""
        first = (iteration * self.shard.count + self.shard.index) * self.batch_size
        return range(first, first + self.batch_size)

    def record_of(self, draw: int) -> int:
        """The record, counted in the order of keys, that a draw takes."""
        return int(self._permutation(draw // len(self))[draw % len(self)])

    @functools.lru_cache(maxsize=2)  # noqa: B019 - lives as long as a run does
    def _permutation(self, number):
        return np.random.default_rng([self.settings.seed, number]).permutation(len(self))

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Yield the Batch of each iteration from `first` to before `last`."""
        draws = ((draw,) for iteration in range(first, last) for draw in self.draws(iteration))
        batch = []
        for read in prefetch(self._read, draws, threads=self._threads, ahead=self.batch_size):
            batch.append(read)
            if len(batch) == self.batch_size:
                yield self._batch(batch)
                batch = []

    def _read(self, draw):
        """Return (Sample with clips, [Samples that failed before it])."""
        failed = []
        for step in range(len(self)):
            index = (self.record_of(draw) + step) % len(self)
            key = self._keys[index]
            sample = read_sample(
                index, key, self._database.get(key), self.settings, self.needs, draw=draw
            )
            if sample.failure is None:
                return sample, failed
            failed.append(sample)
        raise InputError(f'no record of {self._database.path} can be used: {failed[0].failure}')

    def _batch(self, read):
        samples = [sample for sample, _ in read]
        data = normalize(np.concatenate([s.clips.pixels for s in samples]), self.settings)
        failed = tuple(sample for _, others in read for sample in others)
        return Batch(data, label_rows(samples, 1, self.needs), failed)
