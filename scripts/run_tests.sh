#!/bin/sh
# Sets up what is missing, then checks and tests the repository: ruff first, then pytest with "$@".
set -eu

CDPATH='' cd -- "$(dirname -- "$0")/.."
python=$(sh scripts/setup.sh)

status=0
"$python" -m ruff check . || status=1
"$python" -m ruff format --check . || status=1
"$python" -m pytest "$@" || status=1
exit "$status"
