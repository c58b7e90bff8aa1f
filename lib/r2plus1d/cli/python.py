"""What is said where a program is started with a Python that lacks a package.

Only the standard library is imported here: this has to run in any Python.
"""

import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[3]
# What scripts/setup.sh installs, by the names that are imported.
INSTALLED = ('av', 'caffe2', 'cv2', 'google', 'lmdb', 'numpy', 'onnx', 'openvino', 'tqdm')


def watch() -> None:
    """From now on, end with one line instead of a traceback where a package is missing."""
    usual = sys.excepthook

    def report(kind, error, traceback):
        name = (getattr(error, 'name', None) or '').partition('.')[0]
        if not issubclass(kind, ModuleNotFoundError) or name not in INSTALLED:
            usual(kind, error, traceback)
            return
        print(f'{pathlib.Path(sys.argv[0]).name}: {advice(name)}', file=sys.stderr)

    sys.excepthook = report


def advice(name: str) -> str:
    """Say that this Python has no package `name`, and which one has."""
    lacks = f'this Python, {sys.executable}, has no {name}'
    wanted = ROOT / os.environ.get('R2PLUS1D_VENV', '.venv') / 'bin' / 'python'
    setup = os.path.relpath(ROOT / 'scripts' / 'setup.sh')
    if not wanted.exists():
        return f'{lacks}; sh {setup} makes one that has it'
    if pathlib.Path(sys.executable) == wanted:  # not resolved: environments are links to one Python
        return f'{lacks}; sh {setup} installs it'
    return f'{lacks}; use {os.path.relpath(wanted)}'
