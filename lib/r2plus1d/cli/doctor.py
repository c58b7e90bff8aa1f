"""What a bug report needs to say of a machine, without names of its users or folders.

Nothing but the standard library is imported here. Each engine is asked in a process of its own, so
one that is broken, or ends its process, is a line of the report.
"""

import importlib.metadata
import importlib.util
import json
import os
import pathlib
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator

from r2plus1d.backends import installed
from r2plus1d.backends.table import BACKENDS
from r2plus1d.cli.command import version

TIMEOUT = 120  # seconds for an engine to say what it has
# {what is imported: the package that brings it}
PACKAGES = {
    'numpy': 'numpy', 'av': 'av', 'cv2': 'opencv-python-headless', 'lmdb': 'lmdb',
    'google.protobuf': 'protobuf', 'tqdm': 'tqdm', 'onnx': 'onnx', 'openvino': 'openvino',
    'torch': 'torch', 'nncf': 'nncf', 'matplotlib': 'matplotlib',
}  # fmt: skip
# {what needs packages: (what is imported, how to get it)}
NEEDS = {
    'videos, databases, evaluation': (
        ('numpy', 'av', 'cv2', 'lmdb', 'google.protobuf', 'tqdm'),
        'install r2plus1d again',
    ),
    '.onnx files': (('onnx',), 'the extra onnx'),
    'quantization': (('onnx', 'openvino', 'nncf'), 'the extra int8'),
    'plots': (('matplotlib',), 'the extra plot'),
}
ABSENT = '-'
FOLDERS = re.compile(r'(?:~|[A-Za-z]:)?(?:[/\\][^/\\\s:\'"(),]+)+[/\\]')


def report() -> list[str]:
    """Return the report, lines of text."""
    return [
        f'r2plus1d {version()}, Python {platform.python_version()}',
        f'{platform.system()} {platform.release()} {platform.machine()}, {_libc()}',
        f'processor: {_processor()}, {_cores()} cores, {_memory()}',
        *(f'GPU: {line}' for line in _gpus()),
        '',
        'packages',
        *_packages(),
        '',
        'engines',
        *(f'  {name:<9} {line}' for name in BACKENDS for line in _engine(name)),
        '',
        'missing',
        *(list(_missing()) or ['  nothing']),
    ]


def _libc():
    return ' '.join(platform.libc_ver()).strip() or 'libc unknown'


def _processor():
    info = _text('/proc/cpuinfo')
    found = re.search(r'^model name\s*: (.*)$', info, re.MULTILINE)
    flags = re.search(r'^flags\s*: (.*)$', info, re.MULTILINE)
    known = set(flags.group(1).split()) if flags else set()
    wanted = ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_bf16', 'amx_int8')
    name = found.group(1) if found else platform.processor() or 'unknown'
    return ' '.join([name, *(flag for flag in wanted if flag in known)])


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def _memory():
    found = re.search(r'^MemTotal:\s*(\d+) kB', _text('/proc/meminfo'), re.MULTILINE)
    return f'{int(found.group(1)) / 1e6:.0f} GB' if found else 'memory unknown'


def _text(path):
    try:
        return pathlib.Path(path).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


def _gpus():
    """One line for each GPU of NVIDIA's driver."""
    if not shutil.which('nvidia-smi'):
        return ['none that NVIDIA has a driver for here']
    query = ['nvidia-smi', '--query-gpu=name,compute_cap,memory.total,driver_version']
    done = _ask([*query, '--format=csv,noheader'])
    return done.stdout.splitlines() if done.returncode == 0 else ['nvidia-smi fails']


def _packages():
    for module, package in PACKAGES.items():
        yield f'  {package:<22} {_version_of(module, package)}'


def package_versions(modules: Iterable[str] = tuple(PACKAGES)) -> list[tuple[str, str]]:
    """Return (name, version) of the packages that bring the modules, as far as installed."""
    packages = [(module, PACKAGES.get(module, module)) for module in modules]
    versions = [(package, _version_of(module, package)) for module, package in packages]
    return [(package, version) for package, version in versions if version != ABSENT]


def _version_of(module, package):
    if not is_there(module):
        return ABSENT
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return 'there, of unknown version'


def is_there(module: str) -> bool:
    """Whether a module can be found; its parents are imported, it is not."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _engine(name) -> Iterator[str]:
    """What an engine has, one line for each device."""
    if not installed.has(name):
        yield f'not installed: {BACKENDS[name].install}'
        return
    folder = BACKENDS[name].engine.partition(':')[0].rpartition('.')[0]
    code = f'import json; from {folder} import about; print(json.dumps(about.devices()))'
    done = _ask([sys.executable, '-c', code])
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f'status {done.returncode}']
        yield f'broken: {without_folders(lines[-1])}'
        return
    for device, precisions in json.loads(done.stdout.splitlines()[-1]):
        yield f'{device}: {", ".join(precisions)}'


def _ask(command):
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))}
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(command, 1, '', f'{type(error).__name__}: no answer')


def without_folders(text: str) -> str:
    """Return a message whose paths are names of files."""
    return FOLDERS.sub('', text)


def _missing():
    for what, (modules, how) in NEEDS.items():
        absent = [PACKAGES[module] for module in modules if not is_there(module)]
        if absent:
            yield f'  {what}: {", ".join(absent)} ({how})'
    if not installed.has('caffe2'):
        yield f'  training with Caffe2: {BACKENDS["caffe2"].install}'
