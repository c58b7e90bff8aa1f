"""How a file appears: under its name only when it is complete and on the disk."""

import contextlib
import csv
import os
import pathlib

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


def sync(path):
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
