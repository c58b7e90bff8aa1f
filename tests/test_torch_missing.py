"""Engine torch without PyTorch 2: one clear line."""

import subprocess
import sys

import pytest

from conftest import ROOT
from r2plus1d.backends import installed
from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.pytorch.engine import TorchEngine
from r2plus1d.backends.table import TORCH_PYTHONS
from r2plus1d.cli.main import run
from r2plus1d.devices import Devices
from r2plus1d.errors import BackendError, InputError
from r2plus1d.networks.network import Network


def test_what_is_missing_is_named(monkeypatch):
    def refused(message):
        with pytest.raises(InputError, match=message):
            TorchEngine(
                Network(), devices=Devices(), outputs=['softmax'], settings=EngineSettings('torch')
            )

    missing = 'engine is torch, which is not installed here: PyTorch 2, .*: docs/installation.md'
    monkeypatch.setattr(installed, '_torch_release', lambda: 1)
    refused(missing)
    monkeypatch.setattr(installed, '_torch_release', lambda: 2)
    monkeypatch.setitem(sys.modules, 'torch', None)
    refused(missing)


@pytest.mark.parametrize('page', ['setup.py', 'docs/engines.md', 'docs/installation.md'])
def test_pages_name_the_same_pythons(page):
    assert f'Python {TORCH_PYTHONS}' in (ROOT / page).read_text(encoding='utf-8')


def test_importing_the_engine_needs_none_of_it():
    code = (
        'import sys, r2plus1d.backends.pytorch.engine;'
        'sys.exit(bool({"torch", "onnx"} & set(sys.modules)))'
    )
    assert subprocess.run([sys.executable, '-c', code], check=False).returncode == 0


def test_a_backend_that_fails_is_one_line_and_status_1(monkeypatch, capsys):
    def main():
        raise BackendError('the process for cpu 1 ended with status -9')

    monkeypatch.setattr(sys, 'argv', ['tools/test_net.py'])
    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err == 'test_net.py: the process for cpu 1 ended with status -9\n'
    assert not issubclass(BackendError, InputError), 'it is not what the user gave'
