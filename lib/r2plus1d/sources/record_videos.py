"""The videos of a few records of a database, by their keys or video ids."""

import pathlib
from collections.abc import Collection
from typing import Any, Union

from r2plus1d.datasets.database import Database, check_kind
from r2plus1d.datasets.record import decode
from r2plus1d.errors import InputError, RecordError
from r2plus1d.sources.sample import RecordNeeds, open_record


class RecordVideos:
    """Gives the videos of records. Use as a context manager.

    Args:
        path: the LMDB.
        use_local_file: the database holds paths of videos, not videos.

    Raises:
        InputError: not a database, or one of the other kind.
    """

    def __init__(self, path: pathlib.Path, *, use_local_file: bool = False) -> None:
        self._database = Database(path)
        self._needs = RecordNeeds(None, use_local_file, multi_label=True)
        self._keys: dict[int, str] = {}
        try:
            check_kind(self._database, use_local_file)
        except InputError:
            self._database.close()
            raise

    def __enter__(self) -> 'RecordVideos':
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._database.close()

    def find(self, video_ids: Collection[int]) -> None:
        """Find the first record of each of the video ids; records are read until all are found."""
        wanted = set(video_ids)
        for _, key, value in self._database.records() if wanted else ():
            try:
                video_id = decode(value).video_id
            except RecordError:
                continue
            if video_id in wanted:
                self._keys[video_id] = key
                wanted.remove(video_id)
            if not wanted:
                break

    def by_id(self, video_id: int) -> Union[bytes, str]:
        """Return what `by_key` does of a video that `find` was asked for.

        Raises:
            RecordError: as `by_key`, or no record has this id.
        """
        if video_id not in self._keys:
            raise RecordError(f'no record of {self._database.path} has the video id {video_id}')
        return self.by_key(self._keys[video_id])

    def by_key(self, key: str) -> Union[bytes, str]:
        """Return the bytes of the video of a record, or the path of one.

        Raises:
            RecordError: there is no such record, or it cannot be used.
        """
        try:
            value = self._database.get(key)
        except InputError as error:
            raise RecordError(str(error)) from None
        sample, source = open_record(0, key, value, self._needs)
        if source is None:
            raise RecordError(sample.failure or 'no video')
        return source
