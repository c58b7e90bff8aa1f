"""The list of records that failed."""

import csv
import pathlib

from r2plus1d.results.complete import CSV_FILE, make_folder_of


class FailureList:
    """The records that could not be used, one a line, flushed as they come.

    The file is made at the first failure. One that an earlier run left is removed at the start,
    so that what is found there afterwards is of this run.
    """

    HEADER = ('record', 'path', 'video_id', 'reason')

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self._file = None
        if self._is_ours():
            self.path.unlink()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        if self._file is not None:
            self._file.close()

    def add(self, sample):
        if self._file is None:
            make_folder_of(self.path)
            self._file = self.path.open('w', **CSV_FILE)
            csv.writer(self._file).writerow(self.HEADER)
        video_id = '' if sample.video_id is None else sample.video_id
        csv.writer(self._file).writerow([sample.key, sample.path or '', video_id, sample.failure])
        self._file.flush()

    def _is_ours(self):
        if not self.path.is_file():
            return False
        with self.path.open(encoding='utf-8', errors='replace') as file:
            return file.readline().strip() == ','.join(self.HEADER)
