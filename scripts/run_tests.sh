#!/bin/sh
# Sets up what is missing, then checks and tests the repository in the environment that setup.sh
# chooses (R2PLUS1D_ENV=caffe2 or modern): ruff and, where it is installed, mypy, then pytest with "$@".
# The tests run in one process for each core, at most 8; -n in "$@" wins (-n 0 for --pdb).
set -eu

CDPATH='' cd -- "$(dirname -- "$0")/.."
python=$(sh scripts/setup.sh)

status=0
"$python" -m ruff check . || status=1
"$python" -m ruff format --check . || status=1
if "$python" -c 'import mypy' 2>/dev/null; then
    "$python" -m mypy || status=1
fi
# Where PYTHONDONTWRITEBYTECODE is set, each program that a test starts would compile all of it.
"$python" -m compileall -q lib || status=1
"$python" -m pytest -n auto --maxprocesses=8 --dist=worksteal "$@" || status=1
exit "$status"
