"""Which frameworks are installed; nothing is imported to find out."""

import importlib.metadata
import importlib.util

from r2plus1d.backends.table import BACKENDS, TORCH_RELEASE
from r2plus1d.errors import InputError


def has(name: str) -> bool:
    """Whether the packages of a backend are installed; none is imported but namespace parents."""
    if not all(map(_is_there, BACKENDS[name].packages)):
        return False
    return name != 'torch' or _torch_release() >= TORCH_RELEASE


def require_onnx() -> None:
    """Raise InputError unless .onnx files can be read."""
    if not _is_there('onnx'):
        raise InputError('reading .onnx files needs the package onnx: pip install onnx')


def _is_there(package):
    parent = package.rpartition('.')[0]
    if parent and not _is_there(parent):
        return False  # find_spec would raise
    return importlib.util.find_spec(package) is not None


def _torch_release():
    return int(importlib.metadata.version('torch').split('.')[0])
