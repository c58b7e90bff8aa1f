#!/bin/sh
# Tests everything that needs no Caffe2 with "$@" for pytest, in .venv-torch: the environment of
# requirements-torch.txt and requirements-int8.txt, which it makes of Python 3.11 or 3.12, and makes
# anew after a change. The tests run in one process for each core, at most 8; -n in "$@" wins (-n 0 for --pdb).
#   PYTHON  the Python to make it from; looked for otherwise
set -eu

say() { printf 'run_tests_torch.sh: %s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

# Only running it tells: a python3.11 may be a shim that has none to run.
suits() {
    "$1" -I -c 'import ensurepip, ssl, sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' \
        >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suits "$PYTHON" || die "PYTHON=$PYTHON is not a working Python 3.11 or 3.12: name one, or unset it"
        python=$PYTHON
        return
    fi
    for python in python3.11 python3.12 python3 \
        "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.1[12].*/bin/python; do
        if suits "$python"; then
            return
        fi
    done
    die 'no working Python 3.11 or 3.12 found: install one, or name one with PYTHON=/its/path'
}

pip() {
    "$venv/bin/python" -m pip --quiet "$@" >&2 ||
        die "failed: pip $*: run again when what is said above is mended"
}

CDPATH='' cd -- "$(dirname -- "$0")/.."
venv=$(pwd -P)/.venv-torch
stamp="$(cat requirements-torch.txt requirements-int8.txt setup.py setup.cfg | cksum) $venv"
# Each would lead Python or pip elsewhere.
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX

if [ "$(cat "$venv/torch.stamp" 2>/dev/null)" != "$stamp" ]; then
    find_python
    say "making $venv from $python: minutes"
    rm -rf -- "$venv"
    "$python" -m venv "$venv" || die "failed: $python -m venv $venv"
    # shellcheck disable=SC2046  # two words are meant
    pip install $(sed -n '/^pip==/p; /^setuptools==/p' requirements-torch.txt)
    pip install --requirement requirements-torch.txt --requirement requirements-int8.txt
    pip install --no-deps --no-build-isolation --editable .
    printf '%s\n' "$stamp" >"$venv/torch.stamp"
fi
exec "$venv/bin/python" -m pytest -n auto --maxprocesses=8 --dist=worksteal "$@"
