"""Names of classes, from a text file."""

import pathlib

from r2plus1d.errors import InputError


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
