"""Engine torch without PyTorch 2: one clear line."""

import subprocess
import sys

import pytest

from r2plus1d.backends import installed
from r2plus1d.backends.pytorch.engine import TorchEngine
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network


def test_what_is_missing_is_named(monkeypatch):
    def refused(message):
        with pytest.raises(InputError, match=message):
            TorchEngine(Network(), devices=Devices(), outputs=['softmax'])

    missing = 'engine is torch, which is not installed here: PyTorch 2, .*: docs/installation.md'
    monkeypatch.setattr(installed, '_torch_release', lambda: 1)
    refused(missing)
    monkeypatch.setattr(installed, '_torch_release', lambda: 2)
    monkeypatch.setitem(sys.modules, 'torch', None)
    refused(missing)


def test_importing_the_engine_needs_none_of_it():
    code = (
        'import sys, r2plus1d.backends.pytorch.engine;'
        'sys.exit(bool({"torch", "onnx"} & set(sys.modules)))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0
