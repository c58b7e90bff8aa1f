"""What is said where a program does not get as far as its own code.

Only the standard library is imported here: this has to run in any Python.
"""

import os
import pathlib
import sys
from typing import Optional

from r2plus1d.cli import signals

ROOT = pathlib.Path(__file__).resolve().parents[3]
# Where scripts/setup.sh puts its environments, unless R2PLUS1D_VENV says where.
FOLDERS = ('.venv', '.venv-modern')
# What scripts/setup.sh installs, by the names that are imported.
INSTALLED = ('av', 'caffe2', 'cv2', 'google', 'lmdb', 'numpy', 'onnx', 'openvino', 'tqdm')

# In the errors of the loader, the system, OpenVINO and Python; Python's own code says the last two
# where it loses a MemoryError.
SIGNS_OF_LITTLE_MEMORY = (
    'failed to map segment',
    'annot allocate memory',
    'std::bad_alloc',
    "can't start new thread",
    'error return without exception set',
    'without setting an exception',
)


def watch() -> None:
    """From now on, end with one line where a package or memory is missing, and on a signal.

    Standard streams that are closed lead nowhere: the next file to be opened would become one.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    signals.end_at_once()
    usual = sys.excepthook

    def report(kind, error, traceback):
        name = (getattr(error, 'name', None) or '').partition('.')[0]
        is_missing = issubclass(kind, ModuleNotFoundError) and name in INSTALLED
        line = advice(name) if is_missing else lack_of_memory(error)
        if line is None:
            usual(kind, error, traceback)
            return
        print(f'{pathlib.Path(sys.argv[0]).name}: {line}', file=sys.stderr)

    sys.excepthook = report


def lack_of_memory(error: BaseException) -> Optional[str]:
    """Say that there is too little memory, where an error comes of that; otherwise None."""
    text = str(error).strip()
    if isinstance(error, MemoryError) or any(sign in text for sign in SIGNS_OF_LITTLE_MEMORY):
        last = ''.join(f': {line}' for line in text.splitlines()[-1:])
        return f'not enough memory (`ulimit -v` may limit it){last}'
    first = error.__cause__ or error.__context__  # numpy hides what it met
    return lack_of_memory(first) if first and isinstance(error, ImportError) else None


def advice(name: str) -> str:
    """Say that this Python has no package `name`, and which one has."""
    lacks = f'this Python, {sys.executable}, has no {name}'
    own = os.environ.get('R2PLUS1D_VENV')
    places = [ROOT / folder / 'bin' / 'python' for folder in ([own] if own else FOLDERS)]
    there = [path for path in places if path.exists()]
    setup = os.path.relpath(ROOT / 'scripts' / 'setup.sh')
    if not (ROOT / 'scripts' / 'setup.sh').exists():
        return f'{lacks}; r2plus1d doctor says what is missing'
    if not there:
        return f'{lacks}; sh {setup} makes one that has it'
    # Not resolved: environments are links to one Python
    if pathlib.Path(sys.executable) in there:
        return f'{lacks}; sh {setup} installs it'
    return f'{lacks}; use {os.path.relpath(there[0])}'
