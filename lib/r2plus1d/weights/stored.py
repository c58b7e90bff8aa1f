"""What a weight file, or the name of published weights, holds and says of itself."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Optional, Union

import numpy as np

from r2plus1d.backends.installed import require_onnx
from r2plus1d.errors import InputError
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network
from r2plus1d.networks.published import PUBLISHED, Published
from r2plus1d.weights import card as cards
from r2plus1d.weights import download
from r2plus1d.weights.files import read_weights
from r2plus1d.weights.infer import infer
from r2plus1d.weights.match import match_parameters
from r2plus1d.weights.onnx_model import OnnxModel

log = logging.getLogger(__name__)

ONNX_SUFFIX = '.onnx'
SUFFIXES = ('.pkl', '.mdl', ONNX_SUFFIX)  # of files; what ends otherwise may be a name
LIKELY_LENGTHS = (8, 16, 32)  # of the published networks


@dataclasses.dataclass(frozen=True, eq=False)
class Stored:
    """A weight file, read once.

    Attributes:
        path: of the file.
        blobs: {name: array}, empty for an .onnx file.
        onnx: weights.onnx_model.OnnxModel, or None.
        network: {field of Network: value}, what the file decides.
        input: what the network is to be given, or None where the file does not say.
        class_names: tuple of num_labels texts, or None.
    """

    path: pathlib.Path
    blobs: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    onnx: Optional[OnnxModel]
    network: Mapping[str, object]
    input: Optional[Input] = None
    class_names: Optional[tuple[str, ...]] = None

    @property
    def is_int8(self) -> bool:
        return self.onnx is not None and self.onnx.is_int8

    def parameters(self, network: Network) -> dict[str, np.ndarray]:
        """Return {blob: float32 array} of exactly the parameters of `network`.

        Raises:
            InputError: blobs missing or of the wrong shape.
        """
        return match_parameters(self.blobs, parameter_shapes(network), source=str(self.path))


def open_weights(
    source: Union[str, 'os.PathLike[str]'],
    db_type: Optional[str] = None,
    *,
    mirror: Optional[str] = None,
) -> Stored:
    """Read a weight file, or the published weights of a name, which are downloaded where needed.

    Args:
        source: a .pkl, a minidb or an .onnx file, or a name of networks.published.PUBLISHED.
        db_type: kind of a file of blobs; None goes by what the file begins with.
        mirror: another place of the published weights, see weights.download.fetch.

    Raises:
        InputError: neither a file nor a name; a file that cannot be read.
    """
    name, path = os.fspath(source), pathlib.Path(source)
    row = PUBLISHED.get(name) if not path.exists() else None
    if row:
        path = download.fetch(row, download.cache_folder(), mirror=mirror)
    elif not path.exists() and path.name == name and path.suffix not in SUFFIXES:
        raise InputError(
            f'load_model_path is {name}: no such weight file, and no published network '
            '(tools/model_zoo.py lists those)'
        )
    if path.suffix == ONNX_SUFFIX:
        return _open_onnx(path)
    blobs, card = read_weights(path, db_type)
    if card is not None:
        return _with_card(path, blobs, card)
    known = infer(blobs)
    row = row or _published(path, known)
    if row:
        known['clip_length'] = row.clip_length
        return Stored(path, blobs, None, known, published_input(row))
    return Stored(path, blobs, None, known)


def published_input(row: Published) -> Input:
    """Return what the network of a published row is to be given, by the published recipes."""
    if row.num_channels == 2:
        return Input(length=row.clip_length, flow=FlowSettings(gap=1, aggregate=True))
    return Input(length=row.clip_length)


def _open_onnx(path: pathlib.Path) -> Stored:
    require_onnx()
    from r2plus1d.weights import onnx_file

    model = onnx_file.read(path)
    fields = {f.name: getattr(model.network, f.name) for f in dataclasses.fields(Network)}
    return Stored(path, {}, model, fields, model.input, model.class_names)


def _with_card(
    path: pathlib.Path, blobs: Mapping[str, np.ndarray], card: Mapping[str, str]
) -> Stored:
    try:
        network, _ = cards.network_of(card)
        given, names = cards.clips_and_names(network, card)
    except InputError as error:
        raise InputError(f'{path}: its card is wrong: {error}') from None
    known = infer(blobs)
    for field, value in known.items():
        if field != 'width' and getattr(network, field) != value:
            raise InputError(
                f'{path}: its card says {field} {getattr(network, field)}, its blobs are of {value}'
            )
    fields = {f.name: getattr(network, f.name) for f in dataclasses.fields(Network)}
    return Stored(path, blobs, None, fields, given, names)


def _published(path: pathlib.Path, known: Mapping[str, object]) -> Optional[Published]:
    """The row whose name the file has, if its blobs are of that network."""
    row = PUBLISHED.get(path.stem)
    if row is None:
        return None
    network = download.network_of(row)
    fields = ('architecture', 'depth', 'num_channels', 'num_labels')
    same = all(known.get(f, getattr(network, f)) == getattr(network, f) for f in fields)
    return row if same else None
