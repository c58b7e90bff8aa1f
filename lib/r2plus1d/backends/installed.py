"""Which frameworks are installed; nothing is imported to find out."""

import importlib.metadata
import importlib.util

from r2plus1d.errors import InputError

TORCH_RELEASE = 2  # the first that the engine torch runs on


def has(name: str) -> bool:
    """Whether an engine is installed; nothing is imported."""
    if name == 'caffe2':
        spec = importlib.util.find_spec('caffe2')
        return spec is not None and importlib.util.find_spec('caffe2.python') is not None
    packages = ('openvino', 'onnx') if name == 'openvino' else (name,)
    if any(importlib.util.find_spec(package) is None for package in packages):
        return False
    return name != 'torch' or _torch_release() >= TORCH_RELEASE


def _torch_release() -> int:
    return int(importlib.metadata.version('torch').split('.')[0])


def require_onnx() -> None:
    """Raise InputError unless .onnx files can be read."""
    if importlib.util.find_spec('onnx') is None:
        raise InputError('reading .onnx files needs the package onnx: pip install onnx')
