"""scripts/setup.sh in empty repositories, mostly with a script of a few lines for a Python."""

import os
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

fcntl = pytest.importorskip('fcntl')

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ['cat', 'cksum', 'df', 'dirname', 'mkdir', 'mv']
TOOLS += ['readlink', 'rm', 'rmdir', 'sed', 'sh', 'tail']

# Answers as Python 3.9 does whatever it is asked; ON_PIP and ON_CHECK say what those steps do
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    *realpath*) readlink -f "$0" ;;
    '-m venv '*)
        mkdir "$3/bin" && ln -s "$(readlink -f "$0")" "$3/bin/python" && : >"$3/pyvenv.cfg"
        ;;
    '-m pip install '*) eval "${ON_PIP:-}" ;;
    *data_parallel_model*) eval "${ON_CHECK:-}" ;;
esac
"""

pytestmark = pytest.mark.skipif(shutil.which('sh') is None, reason='no sh here')


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # `bare` has links there: never write through one
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / 'a repository'
    (root / 'scripts').mkdir(parents=True)
    for name in ('scripts/setup.sh', 'requirements.txt', 'setup.py', 'setup.cfg'):
        shutil.copy(ROOT / name, root / name)
    return root


@pytest.fixture
def bare(tmp_path):
    """An environment with the few programs that setup.sh calls, and no Python at all."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name))
    return {'PATH': str(folder), 'HOME': str(tmp_path / 'home')}


@pytest.fixture
def faked(tmp_path, bare):
    """The bare environment and the fake Python."""
    python = executable(tmp_path / 'fake' / 'python3.9', FAKE_PYTHON)
    bare['PATH'] += f':{python.parent}'
    (tmp_path / 'bin' / 'ln').symlink_to(shutil.which('ln'))
    executable(tmp_path / 'bin' / 'df', '#!/bin/sh\necho head\necho fs 9000000 0 9000000 0% /\n')
    return bare


def set_up(repository, env, **more):
    return subprocess.run(
        ['sh', repository / 'scripts' / 'setup.sh'],
        env={**env, **more},
        cwd='/',
        capture_output=True,
        text=True,
        timeout=60,
    )


def assert_refused(result, *words):
    lines = result.stderr.splitlines()
    assert result.returncode == 1
    assert len(lines) == 1, lines
    assert result.stdout == ''
    for word in words:
        assert word in lines[0]


def was_made(result):
    assert result.returncode == 0, result.stderr
    assert 'ready: ' in result.stderr
    return 'making ' in result.stderr


def test_no_python_is_one_line_with_the_ways_to_get_one(repository, bare):
    assert_refused(set_up(repository, bare), 'Python 3.9', 'apt', 'pyenv', 'conda', 'uv', 'PYTHON=')
    assert not (repository / '.venv').exists()


def test_python_without_ensurepip_is_named(repository, bare, tmp_path):
    lacking = '#!/bin/sh\necho /x/python3.9 has no ensurepip\nexit 1\n'
    executable(tmp_path / 'bin' / 'python3.9', lacking)
    assert_refused(set_up(repository, bare), '/x/python3.9 has no ensurepip', 'python3.9-venv')


def test_python_asked_for_must_be_a_3_9(repository, faked, tmp_path):
    other = executable(tmp_path / 'python3.8', '#!/bin/sh\nexit 1\n')
    assert_refused(set_up(repository, faked, PYTHON=str(other)), f'PYTHON={other}', '3.9')


def test_too_little_disk_is_one_line(repository, faked, tmp_path):
    executable(tmp_path / 'bin' / 'df', '#!/bin/sh\necho head\necho fs 9 9 3000000 9% /\n')
    assert_refused(set_up(repository, faked), '3000 MB free', '4500 MB needed', 'R2PLUS1D_VENV')
    assert not (repository / '.venv').exists()


@pytest.mark.skipif(sys.version_info[:2] != (3, 9), reason='needs a real Python 3.9 to find')
def test_a_shim_that_fails_is_passed_over(repository, bare, tmp_path):
    executable(tmp_path / 'bin' / 'python3.9', '#!/bin/sh\necho shim: none >&2\nexit 127\n')
    (tmp_path / 'behind').mkdir()
    real = Path(sys.executable).resolve()
    (tmp_path / 'behind' / 'python3.9').symlink_to(real)
    executable(tmp_path / 'bin' / 'df', '#!/bin/sh\necho head\necho fs 9 9 8000000 9% /\n')
    bare['PATH'] += f':{tmp_path / "behind"}'
    nowhere = {'PIP_INDEX_URL': 'http://127.0.0.1:9', 'PIP_RETRIES': '0', 'PIP_NO_INDEX': '1'}
    result = set_up(repository, bare, PIP_CONFIG_FILE=os.devnull, **nowhere)
    assert f'making {repository}/.venv from {real}\n' in result.stderr
    last = result.stderr.splitlines()[-1]
    assert result.returncode == 1
    assert 'failed: pip install pip==' in last
    assert 'network' in last


def test_pyenv_versions_are_found(repository, faked, tmp_path):
    python = executable(tmp_path / 'home/.pyenv/versions/3.9.1/bin/python', FAKE_PYTHON)
    faked['PATH'] = str(tmp_path / 'bin')
    result = set_up(repository, faked)
    assert was_made(result)
    assert f'from {python}\n' in result.stderr


def test_conda_environments_are_found(repository, faked, tmp_path):
    python = executable(tmp_path / 'conda' / 'envs' / 'old' / 'bin' / 'python', FAKE_PYTHON)
    executable(tmp_path / 'bin' / 'conda', f'#!/bin/sh\necho "{tmp_path / "conda"}"\n')
    faked['PATH'] = str(tmp_path / 'bin')
    result = set_up(repository, faked)
    assert was_made(result)
    assert f'from {python}\n' in result.stderr


def test_uv_is_asked_last(repository, faked, tmp_path):
    python = executable(tmp_path / 'brought' / 'python3.9', FAKE_PYTHON)
    python.rename(tmp_path / 'not yet')
    uv = f"""#!/bin/sh
case $2 in
    find) [ -x "{python}" ] && echo "{python}" ;;
    install) mv "{tmp_path / 'not yet'}" "{python}" ;;
esac
"""
    executable(tmp_path / 'bin' / 'uv', uv)
    faked['PATH'] = str(tmp_path / 'bin')
    result = set_up(repository, faked)
    assert was_made(result)
    assert f'from {python}\n' in result.stderr


def test_second_run_does_nothing(repository, faked):
    assert was_made(set_up(repository, faked))
    again = set_up(repository, faked, ON_PIP='exit 1')
    assert (again.returncode, again.stderr) == (0, '')
    assert again.stdout == f'{repository}/.venv/bin/python\n'


def test_other_pins_update_it_in_place(repository, faked):
    assert was_made(set_up(repository, faked))
    with (repository / 'requirements.txt').open('a') as pins:
        pins.write('one-more==1.0\n')
    assert not was_made(set_up(repository, faked))


def test_interrupted_is_made_anew(repository, faked):
    assert set_up(repository, faked, ON_PIP='kill -9 $PPID').returncode == -9
    (repository / '.venv' / 'half').touch()
    assert was_made(set_up(repository, faked))
    assert not (repository / '.venv' / 'half').exists()


def test_interrupted_removal_goes_on(repository, faked):
    set_up(repository, faked, ON_PIP='kill -9 $PPID')
    (repository / '.venv' / 'pyvenv.cfg').unlink()
    assert was_made(set_up(repository, faked))


def test_moved_repository_makes_it_anew(repository, faked):
    assert was_made(set_up(repository, faked))
    moved = repository.rename(repository.parent / 'moved')
    assert was_made(set_up(moved, faked))
    assert set_up(moved, faked).stderr == ''


def test_python_that_went_away_makes_it_anew(repository, faked, tmp_path):
    assert was_made(set_up(repository, faked))
    (tmp_path / 'elsewhere').mkdir()
    (tmp_path / 'fake' / 'python3.9').rename(tmp_path / 'elsewhere' / 'python3.9')
    faked['PATH'] += f':{tmp_path / "elsewhere"}'
    assert was_made(set_up(repository, faked))


def test_environment_made_by_hand_is_completed(repository, faked, tmp_path):
    (repository / '.venv').mkdir()
    subprocess.run([tmp_path / 'fake/python3.9', '-m', 'venv', repository / '.venv'], check=True)
    (repository / '.venv' / 'mine').touch()
    assert not was_made(set_up(repository, faked))
    assert (repository / '.venv' / 'mine').exists()


def test_other_folder_is_never_removed(repository, faked, tmp_path):
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'thesis.txt').touch()
    result = set_up(repository, faked, R2PLUS1D_VENV=str(tmp_path / 'home'))
    assert_refused(result, str(tmp_path / 'home'), 'not a virtual environment')
    assert (tmp_path / 'home' / 'thesis.txt').exists()


def test_failed_pip_and_failed_check_say_why(repository, faked):
    failed = set_up(repository, faked, ON_PIP='echo no route to host; exit 1')
    assert failed.returncode == 1
    assert 'pip install' in failed.stderr.splitlines()[-1]
    assert 'no route to host' in failed.stderr.splitlines()[-1]
    failed = set_up(repository, faked, ON_CHECK='echo "cv2 (no libz)"; exit 1')
    assert failed.returncode == 1
    assert 'cv2 (no libz)' in failed.stderr.splitlines()[-1]
    assert was_made(set_up(repository, faked))


@pytest.mark.skipif(shutil.which('flock') is None, reason='no flock here')
def test_two_at_once_make_it_once(repository, faked, tmp_path):
    (tmp_path / 'bin' / 'flock').symlink_to(shutil.which('flock'))
    (tmp_path / 'bin' / 'sleep').symlink_to(shutil.which('sleep'))
    first = subprocess.Popen(
        ['sh', repository / 'scripts' / 'setup.sh'], env={**faked, 'ON_PIP': 'sleep 0.3'}
    )
    while not (repository / '.venv' / 'tmp').exists():
        assert first.poll() is None
        time.sleep(0.01)
    second = set_up(repository, faked, ON_PIP='exit 1')
    assert first.wait() == 0
    assert second.returncode == 0
    assert second.stderr.splitlines() == [
        f'setup.sh: waiting for another set-up of {repository}/.venv'
    ]


@pytest.fixture
def environment():
    if not Path(sys.prefix, 'setup.stamp').exists():
        pytest.skip(f'{sys.prefix} was not made by scripts/setup.sh')
    return Path(sys.prefix)


def stack_flags(library):
    """p_flags of PT_GNU_STACK in a 64-bit ELF file."""
    content = library.read_bytes()
    (table,) = struct.unpack_from('<Q', content, 32)
    size, count = struct.unpack_from('<HH', content, 54)
    headers = (struct.unpack_from('<II', content, table + i * size) for i in range(count))
    return next(flags for kind, flags in headers if kind == 0x6474E551)


@pytest.mark.skipif(sys.platform != 'linux', reason='ELF is for Linux')
def test_pytorch_loads_with_a_glibc_that_refuses_executable_stacks(environment):
    (library,) = environment.glob('lib/python*/site-packages/torch/lib/libtorch_cpu.so')
    assert stack_flags(library) == 6, 'not read and write'


def test_this_environment_needs_nothing_more(environment):
    env = {name: value for name, value in os.environ.items() if name != 'PYTHON'}
    with Path(f'{environment}.setup-lock').open('a') as lock:
        # While it is held a stale environment, which is a failure, waits and is not touched
        fcntl.flock(lock, fcntl.LOCK_EX)
        start = time.perf_counter()
        result = set_up(ROOT, env, R2PLUS1D_VENV=str(environment))
    assert time.perf_counter() - start < 1
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout == f'{environment}/bin/python\n'


@pytest.mark.skipif(shutil.which('dash') is None, reason='no dash here')
@pytest.mark.parametrize('script', sorted(ROOT.glob('scripts/*.sh')), ids=lambda path: path.name)
def test_scripts_are_posix(script):
    assert script.read_text().startswith('#!/bin/sh\n')
    subprocess.run(['dash', '-n', script], check=True)
