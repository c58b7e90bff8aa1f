"""Files of named tensors: PyTorch's, .safetensors, and a folder of one with its settings."""

import pathlib
from typing import Any, BinaryIO, NamedTuple, Optional, Union

from r2plus1d.weights import model_folder, safetensors_file, torch_file
from r2plus1d.weights.card import CARD, parse_json

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
    if model_folder.has_settings(path):
        return Content(arrays, model_folder.read_card(pathlib.Path(path).parent))
    return Content(arrays, _parsed(metadata.get(CARD)))


def _parsed(text: Optional[str]) -> Optional[object]:
    try:
        return None if text is None else parse_json(text)
    except ValueError:
        return text
