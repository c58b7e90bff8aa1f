"""Downloads of other publishers' weights, whose names tell the beginning of their SHA-256."""

import logging
import pathlib
from collections.abc import Mapping
from typing import Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.networks.copies import COPIES, Copy
from r2plus1d.results.complete import put_in_place
from r2plus1d.results.digest import sha256_of
from r2plus1d.results.made_once import read_or_make, unless_seen
from r2plus1d.weights import transfer

log = logging.getLogger(__name__)

MOST_BYTES = 1 << 30  # R(2+1)D-34 has 255 MB


def fetch_copy(
    row: Copy, folder: Union[str, pathlib.Path], *, mirror: Optional[str] = None
) -> pathlib.Path:
    """Return the path of a row's file in `folder`, downloaded unless it is there.

    One process at a time downloads it; others that need it wait.

    Args:
        row: of networks.copies.COPIES.
        mirror: another place of the file; {name} in it stands for the row's, and so does {file}.
            None is the place that the environment variable R2PLUS1D_MIRROR names, or the row's own.

    Raises:
        InputError: not to be had, incomplete, or not the file that the name tells of. What has
            arrived of an incomplete file stays beside it, as NAME.pth.part, and the next call
            continues it.
    """
    path = pathlib.Path(folder) / f'{row.name}.pth'
    url = transfer.mirror_of(mirror) or row.link
    for place in ('{name}', '{file}'):
        url = url.replace(place, row.name)

    def read(path: pathlib.Path) -> Optional[pathlib.Path]:
        found = sha256_of(path)
        if found.startswith(row.digest):
            return path
        log.warning('downloading anew: %s has the sha256 %s', path, found)
        return None

    return read_or_make(path, unless_seen(path, read), lambda: _download(row, url, path))


def _download(row: Copy, url: str, path: pathlib.Path) -> pathlib.Path:
    part = path.with_name(f'{path.name}.part')
    transfer.complete(url, part, most=MOST_BYTES)
    found = sha256_of(part)
    if not found.startswith(row.digest):
        transfer.forget(part)
        raise InputError(
            f'{url}: its sha256 is {found}, which does not begin with {row.digest}; '
            f'{transfer.MIRROR_HINT}'
        )
    transfer.finish(part)
    return put_in_place(part, path)


def copy_of(path: pathlib.Path, network: Mapping[str, object]) -> Optional[Copy]:
    """Return the row whose name the file has, None if there is none or the file is of another.

    Args:
        network: {field of Network: value} of the file's parameters.
    """
    row = COPIES.get(path.stem)
    if row is None:
        return None
    same = all(network.get(name) == getattr(row, name) for name in ('architecture', 'depth'))
    return row if same else None
