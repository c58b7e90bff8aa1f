"""Files of named tensors: PyTorch's, .safetensors, and a folder of one with its settings."""

import pathlib
from collections.abc import Mapping
from typing import Any, BinaryIO, NamedTuple, Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.weights import model_folder, safetensors_file, torch_file
from r2plus1d.weights.card import CARD, parse_json, unseen_settings

Path = Union[str, pathlib.Path]


class Content(NamedTuple):
    """What a file holds.

    Attributes:
        saved: {name: array}, or what PyTorch saved with that inside.
        card: what the file says of itself as JSON has it, or None.
    """

    saved: Any
    card: Optional[object]


def is_known(path: Path) -> bool:
    """Whether the file at `path` begins as one of these."""
    return torch_file.is_torch_file(path) or safetensors_file.is_safetensors(path)


def read(path: Path, file: BinaryIO) -> Content:
    """Read a file that `is_known`; nothing in it is run, and PyTorch is not needed.

    Args:
        path: of the file, for messages and for the settings beside it.
        file: the same, opened.

    Raises:
        InputError: it is damaged, or refused; the message names the file.
    """
    if torch_file.is_torch_file(path):
        return Content(*torch_file.read_opened(path, file))
    arrays, metadata = safetensors_file.read_opened(path, file)
    own = _parsed(metadata.get(CARD))
    if not model_folder.has_settings(path):
        return Content(arrays, own)
    beside = model_folder.read_card(pathlib.Path(path).parent)
    _require_same(path, own, beside)
    return Content(arrays, beside)


def _require_same(path: Path, own: Optional[object], beside: Mapping[str, str]) -> None:
    """Raise InputError if a file says other things of itself than the settings beside it."""
    card = own if isinstance(own, dict) else {}
    before, now = ({**each, **unseen_settings(each)} for each in (beside, card))
    for name in sorted(before.keys() & now.keys()):
        if before[name] != now[name]:
            raise InputError(
                f'{path} says {name} {now[name]}, and {model_folder.CONFIG} beside it '
                f'{before[name]}: one of them is of other weights'
            )


def _parsed(text: Optional[str]) -> Optional[object]:
    try:
        return None if text is None else parse_json(text)
    except ValueError:
        return text
