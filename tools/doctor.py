"""What this machine can do: versions, engines, devices, precisions, and what is missing for what.

Example:
    .venv/bin/python tools/doctor.py
"""

import _start  # noqa: F401

# isort: split

from r2plus1d.cli import doctor
from r2plus1d.cli.main import Parser, run


def main():
    Parser(__doc__).parse_args()
    print('\n'.join(doctor.report()))


if __name__ == '__main__':
    run(main)
