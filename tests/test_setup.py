"""scripts/setup.sh in empty repositories, mostly with a script of a few lines for a Python."""

import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

fcntl = pytest.importorskip('fcntl')

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ['cat', 'dirname', 'ln', 'mkdir', 'mv', 'readlink', 'sh']

# Answers as a Python does whatever it is asked; ON_PIP and ON_CHECK say what those steps do
FAKE_PYTHON = """#!/bin/sh
case "$*" in
    *sys.implementation.name*) echo "VERSION cpython - $(readlink -f "$0")" ;;
    '-m venv '*)
        mkdir -p "$3/bin" "$3/lib/pythonVERSION/site-packages" &&
            ln -s "$(readlink -f "$0")" "$3/bin/python" && : >"$3/pyvenv.cfg"
        ;;
    '-m pip install '*) eval "${ON_PIP:-}" ;;
    '-m pip --version') exit "${NO_PIP:-0}" ;;
    *check.py*) eval "${ON_CHECK:-}" ;;
    *version_info*) exit 1 ;;
esac
"""
# Runs the set-up, and is none that an environment can be made from
RUNNER = f"""#!/bin/sh
case "$*" in
    *sys.implementation.name*) exit 1 ;;
esac
exec '{Path(sys.executable).resolve()}' "$@"
"""

pytestmark = pytest.mark.skipif(shutil.which('sh') is None, reason='no sh here')


def executable(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # `bare` has links there: never write through one
    path.write_text(text)
    path.chmod(0o755)
    return path


def fake_python(path, version='3.9'):
    return executable(path, FAKE_PYTHON.replace('VERSION', version))


@pytest.fixture
def repository(tmp_path):
    root = tmp_path / 'a repository'
    shutil.copytree(ROOT / 'scripts' / 'environment', root / 'scripts' / 'environment')
    for name in ('scripts/setup.sh', 'setup.py', 'setup.cfg', *root_requirements()):
        shutil.copy(ROOT / name, root / name)
    (root / 'lib').mkdir()
    return root


def root_requirements():
    return [path.name for path in ROOT.glob('requirements*.txt')]


@pytest.fixture
def bare(tmp_path):
    """An environment with the few programs that setup.sh calls, and no Python but the runner."""
    folder = tmp_path / 'bin'
    folder.mkdir()
    for name in TOOLS:
        (folder / name).symlink_to(shutil.which(name))
    executable(folder / 'python3', RUNNER)
    home = str(tmp_path / 'home')
    return {'PATH': str(folder), 'HOME': home, 'PIP_NO_INDEX': '1', 'PIP_CONFIG_FILE': os.devnull}


@pytest.fixture
def faked(tmp_path, bare):
    """The bare environment and the fake Python 3.9."""
    bare['PATH'] += f':{fake_python(tmp_path / "fake" / "python3.9").parent}'
    return bare


def set_up(repository, env, *arguments, **more):
    return subprocess.run(
        ['sh', repository / 'scripts' / 'setup.sh', *(arguments or ['caffe2'])],
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


def test_no_python_is_said_with_the_ways_to_get_one(repository, bare):
    result = set_up(repository, bare)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    for word in ('no working Python 3.9 found', 'no uv, and pip could not fetch it', 'PYTHON=',
                 'sh scripts/setup.sh modern'):  # fmt: skip
        assert word in last
    assert not (repository / '.venv').exists()
    assert not (repository / '.venv.uv').exists()


def test_no_python_at_all_is_one_line(repository, bare, tmp_path):
    (tmp_path / 'bin' / 'python3').unlink()
    assert_refused(set_up(repository, bare), 'no Python 3.6 or later found', 'PYTHON=')


def test_no_pip_to_get_uv_is_said(repository, bare, tmp_path):
    without = RUNNER.replace('exec ', 'export PYTHONPATH="$WITHOUT"; exec ')
    executable(tmp_path / 'bin' / 'python3', without)
    executable(tmp_path / 'without' / 'pip.py', 'raise SystemExit(1)\n')
    result = set_up(repository, bare, WITHOUT=str(tmp_path / 'without'))
    assert 'has no pip to get it' in result.stderr.splitlines()[-1]


def test_python_without_ensurepip_is_named(repository, bare, tmp_path):
    lacking = '#!/bin/sh\necho 3.9 cpython ensurepip /usr/bin/python3.9\n'
    executable(tmp_path / 'bin' / 'python3.9', lacking)
    last = set_up(repository, bare).stderr.splitlines()[-1]
    assert '(/usr/bin/python3.9 has no ensurepip' in last
    assert not (repository / '.venv').exists()


def test_python_asked_for_must_suit(repository, faked, tmp_path):
    other = executable(tmp_path / 'python3.8', '#!/bin/sh\nexit 1\n')
    assert_refused(set_up(repository, faked, PYTHON=str(other)), f'PYTHON={other}', '3.9')
    later = fake_python(tmp_path / 'python3.12', '3.12')
    assert_refused(set_up(repository, faked, PYTHON=str(later)), 'not a working Python 3.9:')
    assert was_made(set_up(repository, faked, 'modern', PYTHON=str(later)))
    assert_refused(set_up(repository, faked, 'later'), 'later is not one of caffe2, modern, auto')
    assert_refused(
        set_up(repository, faked, 'auto', R2PLUS1D_ENV='x', PYTHON='none'), 'PYTHON=none'
    )


def test_a_shim_that_fails_is_passed_over(repository, faked, tmp_path):
    executable(tmp_path / 'bin' / 'python3.9', '#!/bin/sh\necho shim: none >&2\nexit 127\n')
    result = set_up(repository, faked)
    assert was_made(result)
    assert f'making {repository}/.venv from {tmp_path}/fake/python3.9\n' in result.stderr


@pytest.mark.skipif(sys.version_info >= (3, 15), reason='no environment is for this Python')
def test_without_a_network_the_line_says_so(repository, bare):
    """With a real Python and a real pip."""
    kind = 'caffe2' if sys.version_info[:2] == (3, 9) else 'modern'
    nowhere = {'PIP_INDEX_URL': 'http://127.0.0.1:9', 'PIP_RETRIES': '1', 'PYTHON': sys.executable}
    del bare['PIP_NO_INDEX']
    result = set_up(repository, bare, kind, **nowhere)
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert 'failed: pip install pip==' in last
    assert 'no network' in last


def test_home_may_be_unset(repository, faked):
    del faked['HOME']
    assert was_made(set_up(repository, faked))


def test_pyenv_versions_are_found(repository, faked, tmp_path):
    python = fake_python(tmp_path / 'home/.pyenv/versions/3.9.1/bin/python')
    faked['PATH'] = str(tmp_path / 'bin')
    result = set_up(repository, faked)
    assert was_made(result)
    assert f'from {python}\n' in result.stderr


def test_conda_environments_are_found(repository, faked, tmp_path):
    python = fake_python(tmp_path / 'conda' / 'envs' / 'old' / 'bin' / 'python')
    executable(tmp_path / 'bin' / 'conda', f'#!/bin/sh\necho "{tmp_path / "conda"}"\n')
    faked['PATH'] = str(tmp_path / 'bin')
    result = set_up(repository, faked)
    assert was_made(result)
    assert f'from {python}\n' in result.stderr


def test_uv_is_asked_last(repository, faked, tmp_path):
    python = fake_python(tmp_path / 'brought' / 'python3.9')
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
    assert was_made(set_up(repository, faked))
    (repository / '.venv').rename(repository / '.venv.removed')
    (repository / '.venv.removed' / 'pyvenv.cfg').unlink()
    assert was_made(set_up(repository, faked))
    assert not (repository / '.venv.removed').exists()


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


def test_an_environment_made_by_hand_is_completed_but_never_removed(repository, faked, tmp_path):
    own = repository / '.venv-own'
    own.mkdir()
    subprocess.run([tmp_path / 'fake/python3.9', '-m', 'venv', own], check=True)
    (own / 'mine').touch()
    assert not was_made(set_up(repository, faked, R2PLUS1D_VENV='.venv-own'))
    moved = own.rename(repository / 'moved')
    result = set_up(repository, faked, R2PLUS1D_VENV='moved')
    assert_refused(result, f'{moved} is not one of Python 3.9 that works', 'leaves it as it is')
    assert (moved / 'mine').exists()


def test_an_environment_of_another_python_is_left_alone(repository, faked, tmp_path):
    own = repository / '.venv'
    own.mkdir()
    python = fake_python(tmp_path / 'other' / 'python3.12', '3.12')
    subprocess.run([python, '-m', 'venv', own], check=True)
    assert_refused(set_up(repository, faked), str(own), 'was not made by setup.sh')
    assert (own / 'pyvenv.cfg').exists()


def test_an_environment_without_pip_is_named(repository, faked, tmp_path):
    own = repository / '.venv'
    own.mkdir()
    subprocess.run([tmp_path / 'fake/python3.9', '-m', 'venv', own], check=True)
    assert_refused(
        set_up(repository, faked, NO_PIP='1'), f'has no pip ({own}/bin/python -m ensurepip)'
    )


def test_other_folder_is_never_removed(repository, faked, tmp_path):
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'thesis.txt').touch()
    result = set_up(repository, faked, R2PLUS1D_VENV=str(tmp_path / 'home'))
    assert_refused(result, str(tmp_path / 'home'), 'not a virtual environment')
    assert (tmp_path / 'home' / 'thesis.txt').exists()


@pytest.fixture
def both(faked, tmp_path):
    """As faked, with a Python 3.12 and a 3.13 besides."""
    for version in ('3.12', '3.13'):
        fake_python(tmp_path / 'fake' / f'python{version}', version)
    return faked


def test_the_two_kinds_stand_side_by_side(repository, both):
    for kind, folder, version in [('caffe2', '.venv', '3.9'), ('modern', '.venv-modern', '3.13')]:
        result = set_up(repository, both, kind)
        assert was_made(result)
        assert result.stdout == f'{repository}/{folder}/bin/python\n'
        assert f'fake/python{version}\n' in result.stderr
    for kind in ('caffe2', 'modern'):
        assert set_up(repository, both, kind).stderr == ''


def auto_says(result):
    assert result.returncode == 0, result.stderr
    return next(line for line in result.stderr.splitlines() if 'auto: ' in line)


def test_auto_takes_caffe2_where_there_is_a_python_3_9(repository, both):
    line = auto_says(set_up(repository, both, 'auto'))
    assert 'auto: caffe2, for Python 3.9 is here; sh scripts/setup.sh modern would add' in line
    assert set_up(repository, both, 'auto').stderr == ''


def test_auto_takes_modern_where_there_is_none(repository, both, tmp_path):
    (tmp_path / 'fake' / 'python3.9').unlink()
    result = set_up(repository, both, 'auto')
    assert 'auto: modern, for no working Python 3.9 is here' in auto_says(result)
    assert result.stdout == f'{repository}/.venv-modern/bin/python\n'


def test_auto_keeps_to_the_one_that_is_there(repository, both):
    assert was_made(set_up(repository, both, 'modern'))
    assert set_up(repository, both, 'auto').stdout.endswith('.venv-modern/bin/python\n')


def test_auto_goes_by_the_python_asked_for(repository, both, tmp_path):
    result = set_up(repository, both, 'auto', PYTHON=str(tmp_path / 'fake' / 'python3.12'))
    assert 'auto: modern, for PYTHON is a Python 3.12' in auto_says(result)


@pytest.mark.parametrize(('gpus', 'kind'), [('0', 'caffe2'), ('0,1', 'modern'), ('', 'caffe2')])
def test_auto_goes_by_the_gpus_asked_for(repository, both, tmp_path, gpus, kind):
    lines = 'echo 0, Tesla T4, 7.5; echo 1, NVIDIA A100, 8.0'
    executable(tmp_path / 'bin' / 'nvidia-smi', f'#!/bin/sh\n{lines}\n')
    line = auto_says(set_up(repository, both, 'auto', GPUS=gpus))
    assert f'auto: {kind}, for ' in line
    assert ('NVIDIA A100' in line) == (kind == 'modern')


def test_a_place_of_the_other_kind_is_refused(repository, both):
    assert was_made(set_up(repository, both, R2PLUS1D_VENV='one'))
    refused = set_up(repository, both, 'modern', R2PLUS1D_VENV='one')
    assert_refused(refused, 'one is an environment caffe2', 'R2PLUS1D_VENV')
    assert set_up(repository, both, 'auto', R2PLUS1D_VENV='one').stderr == ''


def test_the_word_may_be_a_variable(repository, both):
    shell = ['sh', repository / 'scripts' / 'setup.sh']
    env = {**both, 'R2PLUS1D_ENV': 'modern'}
    done = subprocess.run(shell, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f'{repository}/.venv-modern/bin/python\n'
    assert 'auto' not in done.stderr


def test_pytorch_for_cpus_is_asked_for_where_there_is_no_gpu(repository, both, tmp_path):
    said = tmp_path / 'said'
    note = f'echo "$*" >>"{said}"'
    assert was_made(set_up(repository, both, 'modern', ON_PIP=note))
    (line,) = [line for line in said.read_text().splitlines() if 'whl/cpu' in line]
    assert '--no-deps' in line
    assert re.search(r'torch==[\d.]+$', line)
    said.unlink()
    shutil.rmtree(repository / '.venv-modern')
    made = set_up(repository, both, 'modern', ON_PIP=note, R2PLUS1D_TORCH='cuda')
    assert made.returncode == 0 or 'GB free' in made.stderr
    assert 'whl/cpu' not in said.read_text()
    wrong = set_up(repository, both, 'modern', R2PLUS1D_TORCH='x')
    assert 'R2PLUS1D_TORCH is x; cpu or cuda' in wrong.stderr


@pytest.mark.parametrize(('cuda', 'asked'), [('None', 'cuda'), ("'13.0'", 'cpu')])
def test_the_other_build_of_pytorch_takes_its_place_where_it_is_asked_for(
    repository, both, tmp_path, cuda, asked
):
    said = tmp_path / 'said'
    note = f'echo "$*" >>"{said}"'
    assert was_made(set_up(repository, both, 'modern'))
    (site,) = (repository / '.venv-modern').glob('lib/python*/site-packages')
    (site / 'torch').mkdir()
    (site / 'torch' / 'version.py').write_text(f'debug = False\ncuda: Optional[str] = {cuda}\n')
    made = set_up(repository, both, 'modern', ON_PIP=note, R2PLUS1D_TORCH=asked)
    assert made.returncode == 0 or 'GB free' in made.stderr
    if made.returncode == 0:
        (line,) = [line for line in said.read_text().splitlines() if '--force-reinstall' in line]
        assert ('whl/cpu' in line) == (asked == 'cpu')
    said.unlink(missing_ok=True)
    (repository / '.venv-modern' / 'stamp').unlink(missing_ok=True)
    assert set_up(repository, both, 'modern', ON_PIP=note).returncode == 0
    assert not said.exists() or '--force-reinstall' not in said.read_text()


def test_failed_pip_and_failed_check_say_why(repository, faked):
    failed = set_up(repository, faked, ON_PIP='echo no route to host; exit 1')
    assert failed.returncode == 1
    assert 'pip install' in failed.stderr.splitlines()[-1]
    assert 'no route to host' in failed.stderr.splitlines()[-1]
    failed = set_up(repository, faked, ON_CHECK='echo "cv2 (no libz)"; exit 1')
    assert failed.returncode == 1
    assert 'cv2 (no libz)' in failed.stderr.splitlines()[-1]
    assert was_made(set_up(repository, faked))


def test_two_at_once_make_it_once(repository, faked, tmp_path):
    (tmp_path / 'bin' / 'sleep').symlink_to(shutil.which('sleep'))
    first = subprocess.Popen(
        ['sh', repository / 'scripts' / 'setup.sh', 'caffe2'], env={**faked, 'ON_PIP': 'sleep 1'}
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
    stamp = Path(sys.prefix, 'setup.stamp')
    if not stamp.exists() or f'repository {ROOT}' not in stamp.read_text().splitlines():
        pytest.skip(f'{sys.prefix} was not made by scripts/setup.sh of this repository')
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
    own = ('PYTHON', 'R2PLUS1D_ENV', 'GPUS')
    env = {name: value for name, value in os.environ.items() if name not in own}
    with Path(f'{environment}.setup-lock').open('a') as lock:
        # While it is held a stale environment, which is a failure, waits and is not touched
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = os.times()
        result = set_up(ROOT, env, 'auto', R2PLUS1D_VENV=str(environment))
    after = os.times()  # of the processor: others on the machine do not matter
    used = after.children_user + after.children_system
    assert used - before.children_user - before.children_system < 1
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout == f'{environment}/bin/python\n'


@pytest.mark.skipif(shutil.which('dash') is None, reason='no dash here')
@pytest.mark.parametrize('script', sorted(ROOT.glob('scripts/*.sh')), ids=lambda path: path.name)
def test_scripts_are_posix(script):
    assert script.read_text().startswith('#!/bin/sh\n')
    subprocess.run(['dash', '-n', script], check=True)
