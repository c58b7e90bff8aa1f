"""What needs Caffe2 says so in one line where there is none; importing the rest never needs it."""

import pkgutil
import subprocess
import sys

import pytest

import r2plus1d
from conftest import ROOT

NEED_CAFFE2 = ('r2plus1d.backends.caffe2.',)
OTHER_ENGINES = ('r2plus1d.backends.pytorch.', 'r2plus1d.backends.openvino.')
BLOCKED = 'import runpy, sys; sys.modules["caffe2"] = None; sys.argv = sys.argv[1:]\n'


def without_caffe2(code, *arguments, cwd=None):
    return subprocess.run(
        [sys.executable, '-c', BLOCKED + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def test_modules_import_without_it():
    names = [m.name for m in pkgutil.walk_packages(r2plus1d.__path__, 'r2plus1d.')]
    free = [n for n in names if not n.startswith((*NEED_CAFFE2, *OTHER_ENGINES))]
    assert len(free) > 40
    done = without_caffe2(f'for name in {free}: __import__(name)')
    assert (done.returncode, done.stderr) == (0, '')


@pytest.mark.parametrize(
    ('tool', 'arguments'),
    [
        ('show_net.py', ['--json']),
        ('train_net.py', ['--train_data=x', '--trainer=caffe2']),
    ],
)
def test_a_tool_that_needs_it_says_so(tmp_path, tool, arguments):
    (tmp_path / 'x.mdl').write_bytes(bytes(8))
    code = 'sys.path.insert(0, sys.argv[0].rpartition("/")[0])\n'
    code += 'runpy.run_path(sys.argv[0], run_name="__main__")'
    done = without_caffe2(code, ROOT / 'tools' / tool, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        f'{tool}: this needs Caffe2, which is not installed here (sh scripts/setup.sh caffe2)\n',
    )
