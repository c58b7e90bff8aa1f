"""What a weight file, or the name of published weights, holds and says of itself."""

import dataclasses
import logging
import os
import pathlib
from collections.abc import Mapping
from typing import Any, Optional, Union

import numpy as np

from r2plus1d.backends.installed import require_onnx
from r2plus1d.errors import InputError
from r2plus1d.networks.copies import COPIES
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network
from r2plus1d.networks.published import Published, find
from r2plus1d.networks.zoo import HAVE_POOL1
from r2plus1d.results.digest import sha256_of
from r2plus1d.results.known_classes import known_names
from r2plus1d.weights import card as cards
from r2plus1d.weights import copies, download, model_folder
from r2plus1d.weights.files import WeightFile, read_weights
from r2plus1d.weights.infer import infer
from r2plus1d.weights.match import match_parameters
from r2plus1d.weights.onnx_model import OnnxModel

log = logging.getLogger(__name__)

ONNX_SUFFIX = '.onnx'
SUFFIXES = (
    '.pkl',
    '.mdl',
    '.pth',
    '.pt',
    '.safetensors',
    ONNX_SUFFIX,
)  # of files; what ends otherwise may be a name
PARTIAL = {*cards.INVISIBLE, 'labels'}  # what a card says where nobody knew how long the clips are
LIKELY_LENGTHS = (8, 16, 32)  # of the published networks
# What networks of CSN are given: every other frame, whose short side has 256 pixels.
CSN_INPUT: dict[str, Any] = {
    'rate': 2, 'video_res_type': 'short_edge', 'scale_w': 342, 'scale_h': 256, 'short_edge': 256,
}  # fmt: skip
# Weights fit a network with and without convolutional prediction; with it, it takes larger crops,
# and so larger frames.
OPEN_OF_NETWORK = ('use_convolutional_pred', 'crop_size')
OPEN_OF_INPUT = ('crop_size', 'video_res_type', 'scale_w', 'scale_h', 'short_edge')


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
        sha256: of a file of blobs, in hexadecimal.
    """

    path: pathlib.Path
    blobs: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    onnx: Optional[OnnxModel]
    network: Mapping[str, object]
    input: Optional[Input] = None
    class_names: Optional[tuple[str, ...]] = None
    sha256: Optional[str] = None

    @property
    def fingerprint(self) -> str:
        """Text that differs if the content of the file does."""
        return f'sha256 {self.digest[:16]}'

    @property
    def digest(self) -> str:
        """SHA-256 of the file, in hexadecimal."""
        return self.sha256 or sha256_of(self.path)

    @property
    def is_int8(self) -> bool:
        return self.onnx is not None and self.onnx.is_int8

    def trainable_blobs(self) -> Mapping[str, np.ndarray]:
        """Return {name: array} as training has them, of an .onnx file too.

        Raises:
            InputError: an .onnx file that no longer has them.
        """
        if self.onnx is None:
            return self.blobs
        if self.onnx.is_int8:
            raise InputError(f'{self.path} computes in 8 bits; its weights cannot be converted')
        if self.onnx.batch_norm_folded:
            raise InputError(
                f'{self.path}: its batch norms are folded into convolutions, which cannot be '
                'undone; tools/export_onnx.py --fold_batch_norm=0 leaves them as they are'
            )
        return self.onnx.values

    def parameters(self, network: Network) -> dict[str, np.ndarray]:
        """Return {blob: float32 array} of exactly the parameters of `network`.

        Raises:
            InputError: blobs missing or of the wrong shape.
        """
        return match_parameters(self.blobs, parameter_shapes(network), source=str(self.path))


def open_weights(source: Union[str, 'os.PathLike[str]'], db_type: Optional[str] = None) -> Stored:
    """Read a weight file, or the published weights of a name, which are downloaded where needed.

    Args:
        source: a .pkl, .mdl, .pth, .safetensors or .onnx file, a folder of weights.model_folder,
            or a name of networks.published.PUBLISHED or networks.copies.COPIES.
        db_type: kind of a file of blobs; None goes by what the file begins with.

    Raises:
        InputError: neither a file nor a name; a file that cannot be read.
    """
    name, path = os.fspath(source), pathlib.Path(source)
    row = find(name) if not path.exists() else None
    if row:
        path, content = download.fetch_and_read(row, download.cache_folder())
    elif name in COPIES and not path.exists():
        path = copies.fetch_copy(COPIES[name], download.cache_folder())
    elif not path.exists() and path.name == name and path.suffix not in SUFFIXES:
        raise InputError(
            f'load_model_path is {name}: no such weight file, and no published network '
            '(tools/model_zoo.py lists those)'
        )
    path = model_folder.weights_of(path)
    if path.suffix == ONNX_SUFFIX:
        return _open_onnx(path)
    if not row:
        content = read_weights(path, db_type)
    has_card = content.card is not None and not PARTIAL.issuperset(content.card)
    stored = _with_card(path, content) if has_card else _without_card(path, content, row)
    return dataclasses.replace(stored, sha256=content.sha256)


def choose_use(stored: Stored, given: Mapping[str, Any]) -> Stored:
    """Return `stored` with those values of `given` that its weights leave open.

    They leave open whether prediction is convolutional, and, if that is given, the sizes of crops
    and frames. Published weights leave open the size of crops. An .onnx file leaves open nothing.

    Args:
        given: {field of Network or Input: value}, what a user asked for.

    Raises:
        InputError: nobody says whether the network has a pool1, which this one may have; a crop
            that is larger than the frames.
    """
    if stored.onnx:
        return stored
    require_pool1(stored, given)
    names: set[str] = set() if 'crop_size' in stored.network else {'crop_size'}
    if 'use_convolutional_pred' in given:
        names = {*OPEN_OF_NETWORK, *OPEN_OF_INPUT}
    chosen = {name: given[name] for name in names & set(given)}
    network = {**stored.network, **{n: chosen[n] for n in OPEN_OF_NETWORK if n in chosen}}
    resized = stored.input and _resized(stored.input, chosen)
    if resized:
        network['crop_size'] = resized.crop_size
    return dataclasses.replace(stored, network=network, input=resized)


def require_pool1(stored: Stored, given: Mapping[str, Any]) -> None:
    """Raise InputError if nobody says whether the network has a pool1, which this one may have."""
    architecture = stored.network.get('architecture')
    if architecture in HAVE_POOL1 and 'use_pool1' not in {**stored.network, **given}:
        raise InputError(
            f'{stored.path} does not say whether its network has a pool1: give use_pool1, which '
            f'is 1 for every published {architecture}'
        )


def _resized(model_input: Input, chosen: Mapping[str, Any]) -> Input:
    """The Input with the chosen sizes; without a short edge it is the shorter side, as in flags."""
    sizes = {name: chosen[name] for name in OPEN_OF_INPUT if name in chosen}
    if {'scale_w', 'scale_h'} & set(sizes):
        sides = (sizes.get(n, getattr(model_input, n)) for n in ('scale_w', 'scale_h'))
        sizes.setdefault('short_edge', min(sides))
    return dataclasses.replace(model_input, **sizes)


def published_input(row: Published) -> Input:
    """Return what the network of a published row is to be given, by the published recipes."""
    if row.num_channels == 2:
        return Input(length=row.clip_length, flow=FlowSettings(gap=1, aggregate=True))
    if row.architecture in HAVE_POOL1:
        return Input(length=row.clip_length, crop_size=row.crop_size, **CSN_INPUT)
    return Input(length=row.clip_length)


def _open_onnx(path: pathlib.Path) -> Stored:
    require_onnx()
    from r2plus1d.weights import onnx_file

    model = onnx_file.read(path)
    fields = {f.name: getattr(model.network, f.name) for f in dataclasses.fields(Network)}
    return Stored(path, {}, model, fields, model.input, model.class_names)


def _without_card(path: pathlib.Path, content: WeightFile, row: Optional[Published]) -> Stored:
    """Of weights whose card does not say how long the clips are, or that have none."""
    known = infer(content.blobs)
    names = _add_card(known, content.card or {}, path)
    copy = copies.copy_of(path, known)
    if copy and known.get('bn_epsilon', copy.bn_epsilon) == copy.bn_epsilon:
        known.update(clip_length=copy.clip_length, bn_epsilon=copy.bn_epsilon)
        return Stored(path, content.blobs, None, known, copy.input, names)
    row = row or _published(path, known)
    if row:
        known.update(clip_length=row.clip_length, use_pool1=row.use_pool1)
        names = names or _names(row, known)
        return Stored(path, content.blobs, None, known, published_input(row), names)
    return Stored(path, content.blobs, None, known, None, names)


def _add_card(
    known: dict[str, object], card: Mapping[str, str], path: pathlib.Path
) -> Optional[tuple[str, ...]]:
    """Add what a card says that has PARTIAL only; return its class names."""
    try:
        known.update(cards.invisible_of(card))
        labels = known.get('num_labels')
        if 'labels' not in card or not isinstance(labels, int):
            return None
        return cards.class_names(Network(num_labels=labels), card)
    except InputError as error:
        raise InputError(f'{path}: its card is wrong: {error}') from None


def _with_card(path: pathlib.Path, content: WeightFile) -> Stored:
    blobs, card = content.blobs, content.card or {}
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


def _names(row: Published, known: Mapping[str, object]) -> Optional[tuple[str, ...]]:
    """The class names of a published row, if the head in the file has as many classes."""
    names = known_names(row.classes) if row.classes else ()
    return names if len(names) == known.get('num_labels') else None


def _published(path: pathlib.Path, known: Mapping[str, object]) -> Optional[Published]:
    """The row whose name the file has, if its blobs are of that network."""
    row = find(path.stem)
    if row is None:
        return None
    labels = known.get('num_labels')
    network = download.network_of(row, num_labels=labels if isinstance(labels, int) else None)
    fields = ('architecture', 'depth', 'num_channels', 'num_labels')
    same = all(known.get(f, getattr(network, f)) == getattr(network, f) for f in fields)
    return row if same else None
