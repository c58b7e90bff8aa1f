#!/bin/sh
# Makes an environment that everything here runs in. Run it as often as you like: it is quick when
# there is nothing to do and starts afresh after an interruption. Prints the path of the
# environment's Python on stdout, everything else on stderr. docs/installation.md has more.
#   sh scripts/setup.sh [caffe2|modern|auto]
#   R2PLUS1D_ENV    the same word, for all scripts; auto otherwise
#   R2PLUS1D_VENV   where it goes, from the repository root; .venv or .venv-modern otherwise
#   R2PLUS1D_TORCH  the build of PyTorch 2: cpu or cuda; goes by the machine otherwise
#   PYTHON          the Python to make it from; looked for otherwise
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
# Each would lead Python or pip elsewhere
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX

# Hands over to a Python that runs; only running it tells, for a python3 may be a shim without one.
try() {
    runner=$1
    shift
    if [ -x "$runner" ] &&
        "$runner" -I -c 'import sys; sys.exit(sys.version_info < (3, 6))' >/dev/null 2>&1 </dev/null; then
        exec "$runner" -B "$here/environment" "$@"
    fi
}

[ -z "${PYTHON:-}" ] || try "$(command -v "$PYTHON")" "$@"
old_ifs=$IFS
IFS=:
for folder in $PATH; do
    for name in python3 python3.14 python3.13 python3.12 python3.11 python3.10 python3.9 python; do
        try "$folder/$name" "$@"
    done
done
IFS=$old_ifs
for python in "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.*/bin/python "${CONDA_PREFIX:-}/bin/python"; do
    try "$python" "$@"
done

how='with the package manager'
[ ! -r /etc/os-release ] || case $(. /etc/os-release && echo " ${ID:-} ${ID_LIKE:-} ") in
    *' debian '* | *' ubuntu '*) how='with: apt-get install python3 python3-venv' ;;
    *' fedora '* | *' rhel '*) how='with: dnf install python3' ;;
    *' arch '*) how='with: pacman -S python' ;;
    *suse*) how='with: zypper install python3' ;;
esac
echo "setup.sh: no Python 3.6 or later found: install one (as root) $how, or name one with" \
    "PYTHON=/its/path" >&2
exit 1
