"""Files of results, each under its name only when it is complete, and of class names."""

import contextlib
import csv
import pathlib

from r2plus1d.errors import InputError

CSV_FILE = {'newline': '', 'encoding': 'utf-8', 'errors': 'surrogateescape'}  # any path is written


@contextlib.contextmanager
def complete_csv(path, header):
    """Give a function that writes a row to the CSV at `path`, or to nothing if `path` is None.

    Rows go to PATH.partial. It takes the name `path` when the block ends well, and stays, with
    the rows so far, when it does not.
    """
    if path is None:
        yield lambda row: None
        return
    path = pathlib.Path(path)
    partial = path.with_name(f'{path.name}.partial')
    with partial.open('w', **CSV_FILE) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        yield writer.writerow
    partial.replace(path)


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


def read_class_names(path, num_labels):
    """Return the class names in the text file `path`, one a line, or None if there is no path.

    Raises:
        InputError: not text, or not as many names as the network has labels.
    """
    if path is None:
        return None
    try:
        names = tuple(pathlib.Path(path).read_text(encoding='utf-8').splitlines())
    except UnicodeDecodeError:
        raise InputError(f'{path} is not text in UTF-8') from None
    if len(names) != num_labels:
        raise InputError(f'{path} names {len(names)} classes; num_labels is {num_labels}')
    return names
