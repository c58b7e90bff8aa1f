"""Imported first by each program: where packages are missing, a line says which Python to use."""

import pathlib
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / 'lib'))

from r2plus1d.cli import python  # noqa: E402

python.watch()
