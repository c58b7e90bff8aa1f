"""OpenVINO tells nobody that it is used."""

import os
import subprocess
import sys

import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has

PROBE = """
import multiprocessing, sys
multiprocessing.Process.start = lambda self: print('a process was started')
import {module}
import openvino.tools.ovc as ovc
print(type(ovc.telemetry).__module__)
"""


@pytest.mark.skipif(not has('openvino'), reason='needs OpenVINO')
@pytest.mark.parametrize('name', ['engine', 'about', 'quantize'])
def test_importing_it_reports_nothing(tmp_path, name):
    module = f'r2plus1d.backends.openvino.{name}'
    done = subprocess.run(
        [sys.executable, '-c', PROBE.format(module=module)],
        env={**os.environ, 'HOME': str(tmp_path), 'PYTHONPATH': str(ROOT / 'lib')},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == 'openvino.tools.ovc.telemetry_stub\n'
    assert list(tmp_path.iterdir()) == []  # where its number of this user would be
