"""Published weights in a cache folder: kept only if they load, and the same ones ever after."""

import contextlib
import dataclasses
import logging
import math
import os
import pathlib
import urllib.parse
from typing import Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.network import Network
from r2plus1d.networks.published import KINETICS_LABELS, Published
from r2plus1d.results.complete import complete_file, put_in_place
from r2plus1d.results.made_once import read_or_make, unless_seen
from r2plus1d.weights import transfer
from r2plus1d.weights.files import WeightFile, read_weights
from r2plus1d.weights.infer import infer
from r2plus1d.weights.match import match_parameters
from r2plus1d.weights.safe_pickle import require_end
from r2plus1d.weights.transfer import MIRROR_HINT

log = logging.getLogger(__name__)

MOST_PER_PARAMETER = 16  # bytes: momenta may lie beside them, and half as much again of encoding
ROOM = 1 << 20  # bytes for all else


def cache_folder() -> pathlib.Path:
    """Return the folder of downloaded weights: R2PLUS1D_CACHE, or ~/.cache/r2plus1d."""
    return pathlib.Path(os.environ.get('R2PLUS1D_CACHE') or '~/.cache/r2plus1d').expanduser()


def network_of(row: Published, *, num_labels: Optional[int] = None) -> Network:
    """Return the Network of a row of networks.published.PUBLISHED.

    Args:
        num_labels: of a row that does not say.
    """
    return Network(
        architecture=row.architecture,
        depth=row.depth,
        clip_length=row.clip_length,
        crop_size=row.crop_size,
        num_channels=row.num_channels,
        num_labels=row.num_labels or num_labels or KINETICS_LABELS,
        use_pool1=row.use_pool1,
    )


def cost_network_of(row: Published) -> Network:
    """Return the Network whose cost was published with a row: on larger crops, where it says so."""
    network = network_of(row)
    if row.cost_crop_size is None:
        return network
    return dataclasses.replace(network, crop_size=row.cost_crop_size, use_convolutional_pred=True)


def url_of(row: Published, mirror: Optional[str] = None) -> str:
    """Return the address of a row's weights.

    Args:
        mirror: {key}, {name} and {file} in it stand for the row's, {file} without its suffix; None
            is the place that the environment variable R2PLUS1D_MIRROR names, or the row's own.
    """
    mirror = transfer.mirror_of(mirror)
    if not mirror:
        return row.link
    values = {'{key}': row.key, '{name}': row.name, '{file}': urllib.parse.quote(row.file)}
    for place, text in values.items():
        mirror = mirror.replace(place, text)
    return mirror


def fetch(
    row: Published, folder: Union[str, pathlib.Path], *, mirror: Optional[str] = None
) -> pathlib.Path:
    """Return the path of a row's weights in `folder`, downloaded unless they are there and load.

    The SHA-256 of the file is kept beside it as NAME.pkl.sha256, and compared from then on. One
    process at a time downloads it; others that need it wait.

    Args:
        row: of networks.published.PUBLISHED.
        mirror: another place of the files, such as https://example.org/{name}.pkl; see url_of.

    Raises:
        InputError: not to be had, incomplete, not this network's weights, or not the ones that
            were there first. What has arrived of an incomplete file stays beside it, as
            NAME.pkl.part, and the next call continues it.
    """
    return fetch_and_read(row, folder, mirror=mirror)[0]


def fetch_and_read(
    row: Published, folder: Union[str, pathlib.Path], *, mirror: Optional[str] = None
) -> tuple[pathlib.Path, WeightFile]:
    """Return what `fetch` does, and what the file holds, which is read once to see if it loads."""
    url, path = url_of(row, mirror), pathlib.Path(folder) / f'{row.name}.pkl'

    def read(path: pathlib.Path) -> Optional[WeightFile]:
        try:
            content = _read_weights(path, row)
        except InputError as error:
            log.warning('downloading anew: %s', error)
            return None
        _require_as_seen(content, path, str(path))
        return content

    return path, read_or_make(path, unless_seen(path, read), lambda: _download(row, url, path))


def _download(row: Published, url: str, path: pathlib.Path) -> WeightFile:
    part = path.with_name(f'{path.name}.part')
    transfer.complete(url, part, most=_most_bytes(network_of(row)))
    try:
        content = _read_weights(part, row)
    except InputError as error:
        fault = 'a web page' if _is_markup(part) else str(error).replace(str(part), 'the file')
        transfer.forget(part)
        raise InputError(f'{url}: not weights of {row.name}: {fault}; {MIRROR_HINT}') from None
    _require_as_seen(content, path, url)
    transfer.finish(part)
    put_in_place(part, path)
    return content


def _read_weights(path: pathlib.Path, row: Published) -> WeightFile:
    """Read a pickle of a row's weights; InputError if it is not that, or more than that."""
    content = read_weights(path, 'pickle')
    labels = infer(content.blobs).get('num_labels')
    network = network_of(row, num_labels=labels if isinstance(labels, int) else None)
    match_parameters(content.blobs, parameter_shapes(network), source=str(path))
    require_end(path)
    return content


def _most_bytes(network: Network) -> int:
    count = sum(math.prod(shape) for shape in parameter_shapes(network).values())
    return MOST_PER_PARAMETER * count + ROOM


def _require_as_seen(content: WeightFile, path: pathlib.Path, what: str) -> None:
    """Compare the file's SHA-256 to the one beside `path`; write it there if there is none.

    Raises:
        InputError: they differ.
    """
    digest, seen = content.sha256, path.with_name(f'{path.name}.sha256')
    known = seen.read_text('latin1').split()[:1] if seen.is_file() else None
    if known is None:
        # Where the folder is another's, there may be no place for it.
        with contextlib.suppress(OSError), complete_file(seen, 'w', private=True) as file:
            file.write(f'{digest}  {seen.stem}\n')
    elif known != [digest]:
        raise InputError(
            f'{what} is not the file that was first there: its sha256 is {digest}; '
            f'{seen} has the one before; remove that if the change is meant'
        )


def _is_markup(path: pathlib.Path) -> bool:
    with path.open('rb') as file:
        return file.read(64).lstrip(b'\xef\xbb\xbf \t\r\n').startswith(b'<')
