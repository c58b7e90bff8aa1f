#!/bin/sh
# Makes the environment of Python 3.9 that everything here runs in. Run it as often as you like:
# it is quick when there is nothing to do and starts afresh after an interruption. Prints the
# path of the environment's Python on stdout, everything else on stderr.
#   PYTHON         the Python 3.9 to make it from; looked for otherwise
#   R2PLUS1D_VENV  where it goes, from the repository root; .venv otherwise
set -eu

NEEDED_KB=4500000  # 3.2 GB at the peak of the installation, and what pip keeps in its cache

# Prints the real path of the Python that runs it, or what that one lacks.
PROBE='
import os, sys
if sys.version_info[:2] != (3, 9) or sys.implementation.name != "cpython":
    sys.exit(1)
try:
    import ctypes, ensurepip, ssl, venv, zlib
except ImportError as error:
    print(sys.executable + " has no " + (error.name or str(error)))
    sys.exit(1)
print(os.path.realpath(sys.executable))
'

# The wheel of PyTorch 1.10 asks for an executable stack, by an oversight of its assembler code.
# From glibc 2.41 on (2025) a library that does cannot be loaded; it works without.
CLEAR_EXECUTABLE_STACK='
import pathlib, struct, sysconfig
PT_GNU_STACK, PF_X = 0x6474E551, 1
for path in pathlib.Path(sysconfig.get_path("platlib"), "torch", "lib").glob("*.so"):
    with path.open("r+b") as library:
        header = library.read(64)
        if header[:6] != b"\x7fELF\x02\x01":
            continue
        table, = struct.unpack_from("<Q", header, 32)
        size, count = struct.unpack_from("<HH", header, 54)
        for place in range(table, table + size * count, size):
            library.seek(place)
            kind, flags = struct.unpack("<II", library.read(8))
            if kind == PT_GNU_STACK and flags & PF_X:
                library.seek(place + 4)
                library.write(struct.pack("<I", flags & ~PF_X))
'

# Prints what cannot be imported or run.
SELF_CHECK='
import importlib, sys
missing = []
for name in ("numpy", "lmdb", "cv2", "av", "google.protobuf", "tqdm", "onnx", "openvino",
             "caffe2.python", "caffe2.python.data_parallel_model", "r2plus1d"):
    try:
        importlib.import_module(name)
    except Exception as error:
        missing.append("%s (%s)" % (name, " ".join(str(error).split())))
if not missing:
    import numpy
    from caffe2.python import core, workspace
    workspace.FeedBlob("x", numpy.array([-1, 2], numpy.float32))
    workspace.RunOperatorOnce(core.CreateOperator("Relu", ["x"], ["y"]))
    if workspace.FetchBlob("y").tolist() != [0, 2]:
        missing.append("the Caffe2 operator Relu")
print(", ".join(missing))
sys.exit(bool(missing))
'

say() { printf 'setup.sh: %s\n' "$*" >&2; }

die() {
    say "$@"
    exit 1
}

CDPATH='' cd -- "$(dirname -- "$0")/.."
root=$(pwd -P)
venv=${R2PLUS1D_VENV:-.venv}
case $venv in
    /*) ;;
    *) venv=$root/$venv ;;
esac
venv=${venv%/}
stamp=$venv/setup.stamp
log=$venv/setup.log
lock=$venv.setup-lock  # beside it, to outlive it; holds a word while the environment is unfinished
python=
faults=

# What a finished environment says of itself: with other pins, another Python or elsewhere it is not this one.
expected_stamp() {
    cat requirements.txt setup.py setup.cfg | cksum
    printf '%s\n' "environment $venv" "repository $root" "python $(readlink -f "$venv/bin/python")"
}

finished() {
    [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(expected_stamp)" ] &&
        is_of_python
}

is_of_python() { [ -z "$python" ] || [ "$python" = "$(readlink -f "$venv/bin/python")" ]; }

# Only running it tells: a python3.9 may be a shim that has none to run, or lack what Debian splits off.
try() {
    [ -z "$python" ] && [ -x "$1" ] || return 0
    if answer=$("$1" -I -c "$PROBE" 2>/dev/null </dev/null); then
        python=$answer
    elif [ -n "$answer" ]; then
        faults="$faults ($answer)"
    fi
}

# Every one on the PATH, for a shim that fails can stand before one that works.
try_path() {
    old_ifs=$IFS
    IFS=:
    for folder in $PATH; do
        try "$folder/$1"
    done
    IFS=$old_ifs
}

try_each() {
    for candidate in "$@"; do
        try "$candidate"
    done
}

try_conda() {
    base=$("${CONDA_EXE:-conda}" info --base 2>/dev/null) || return 0
    try_each "$base/bin/python" "$base"/envs/*/bin/python
}

try_uv() {
    uv=$(command -v uv) || uv=${HOME:-}/.local/bin/uv
    if [ ! -x "$uv" ]; then
        command -v python3 >/dev/null || return 0
        say 'no Python 3.9 here: asking pip for uv, which brings one'
        python3 -m pip install --target "$venv.uv" uv >/dev/null 2>&1 || true
        uv=$venv.uv/bin/uv
    fi
    if [ -x "$uv" ]; then
        "$uv" python find 3.9 >/dev/null 2>&1 || "$uv" python install 3.9 >/dev/null 2>&1 || true
        try "$("$uv" python find 3.9 2>/dev/null)"
        [ -n "$python" ] || faults="$faults (uv could not fetch one)"
    fi
    rm -rf -- "$venv.uv"
}

find_python() {
    try_path python3.9
    try_path python3
    try_each "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.9*/bin/python "${CONDA_PREFIX:-}/bin/python"
    [ -n "$python" ] || try_conda
    [ -n "$python" ] || try_uv
    [ -n "$python" ] || die "no working Python 3.9 found$faults: get one by apt" \
        '(python3.9 and python3.9-venv), pyenv, conda or uv, or name one with PYTHON=/its/path'
}

take_lock() {
    folder=$(dirname -- "$venv")
    mkdir -p -- "$folder" 2>/dev/null && [ -w "$folder" ] ||
        die "cannot write in $folder: set R2PLUS1D_VENV to a place that can be written"
    # What runs below inherits the lock, so that of a killed set-up nothing is still at work when it is free
    exec 9>>"$lock"
    if command -v flock >/dev/null && ! flock -n 9; then
        say "waiting for another set-up of $venv"
        flock 9
    fi
}

mark_unfinished() { echo unfinished >"$lock"; }

# Bringing up to date is for what was once finished here, or made here by other hands.
can_be_updated() {
    [ ! -s "$lock" ] && [ -f "$venv/pyvenv.cfg" ] || return 1
    [ ! -f "$stamp" ] || [ "$(sed -n 's/^environment //p' "$stamp")" = "$venv" ] || return 1
    is_of_python && "$venv/bin/python" -I -c "$PROBE" >/dev/null 2>&1 &&
        "$venv/bin/python" -m pip --version >/dev/null 2>&1
}

remove() {
    [ -e "$venv" ] || return 0
    [ -s "$lock" ] || [ -f "$venv/pyvenv.cfg" ] || rmdir -- "$venv" 2>/dev/null ||
        die "$venv is not a virtual environment: move it away, or set R2PLUS1D_VENV"
    mark_unfinished
    rm -rf -- "$venv"
}

require_space() {
    folder=$(dirname -- "$venv")
    free=$(df -Pk -- "$folder" | { read -r _; read -r _ _ _ kb _; echo "$kb"; })
    case $free in
        '' | *[!0-9]*) return 0 ;;  # some network file systems do not say
    esac
    [ "$free" -ge "$NEEDED_KB" ] ||
        die "$((free / 1000)) MB free in $folder, about $((NEEDED_KB / 1000)) MB needed:" \
            'make room, or set R2PLUS1D_VENV to a place that has it'
}

# What pip prints goes to the log, and into our one line if it fails, its last.
pip() {
    "$venv/bin/python" -m pip "$@" >>"$log" 2>&1 ||
        die "failed: pip $*: $(tail -n 1 "$log") -- check the network; all that pip said is in $log"
}

make_environment() {
    [ -n "$python" ] || find_python
    remove
    require_space
    say "making $venv from $python"
    mark_unfinished
    mkdir -- "$venv"
    "$python" -m venv "$venv" >"$log" 2>&1 ||
        die "failed: $python -m venv $venv: $(tail -n 1 "$log")"
}

install() {
    mark_unfinished
    rm -f -- "$stamp"
    # pip unpacks 2 GB: where the room was looked for, not in a /tmp that may be small
    TMPDIR=$venv/tmp
    export TMPDIR
    mkdir -p -- "$TMPDIR"
    say "installing requirements.txt: minutes, and up to 1 GB to download (tail -f '$log')"
    # shellcheck disable=SC2046  # two words are meant
    pip install $(sed -n '/^pip==/p; /^setuptools==/p' requirements.txt)
    pip install --requirement requirements.txt
    pip install --no-deps --no-build-isolation --editable .
    rm -rf -- "$TMPDIR"
    "$venv/bin/python" -c "$CLEAR_EXECUTABLE_STACK" ||
        die "cannot edit the libraries of PyTorch in $venv: run again to make it anew"
}

check() {
    say 'checking it'
    missing=$("$venv/bin/python" -c "$SELF_CHECK" 2>>"$log") ||
        die "does not work: ${missing:-the self-check crashed} -- details: $log; run again to make it anew"
}

finish() {
    expected_stamp >"$stamp.new"
    mv -- "$stamp.new" "$stamp"
    : >"$lock"
    say "ready: $venv/bin/python"
}

# What the other scripts run: their `python=$(sh setup.sh)`.
answer() { printf '%s\n' "$venv/bin/python"; }

if [ -n "${PYTHON:-}" ]; then
    try "$(command -v "$PYTHON")"
    [ -n "$python" ] || die "PYTHON=$PYTHON is not a working Python 3.9$faults: name one, or unset it"
fi
if finished; then
    answer
    exit 0
fi

# Each would lead pip, or what it installs, elsewhere
unset PYTHONHOME PYTHONPATH PIP_TARGET PIP_PREFIX
export PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1

take_lock
# The set-up that held the lock may have been the one needed here.
if ! finished; then
    can_be_updated || make_environment
    install
    check
    finish
fi
answer
