"""Where a package is missing, a program says in one line which Python to use."""

import pathlib
import subprocess
import sys

import pytest

from r2plus1d.cli import python

ROOT = pathlib.Path(__file__).resolve().parents[1]
PROGRAMS = sorted(
    str(path.relative_to(ROOT))
    for folder in ('tools', 'data')
    for path in ROOT.glob(f'{folder}/[!_]*.py')
)
NO_PACKAGES = ('-S', '-E')


@pytest.mark.parametrize('program', PROGRAMS)
def test_a_missing_package_is_one_line(program):
    done = subprocess.run(
        [sys.executable, *NO_PACKAGES, program],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert 'Traceback' not in done.stderr
    assert len(done.stderr.splitlines()) <= 1
    if done.returncode == 1:
        assert f'{pathlib.Path(program).name}: this Python, {sys.executable}, has no' in done.stderr


def test_all_programs_start_alike():
    assert (ROOT / 'tools/_start.py').read_text() == (ROOT / 'data/_start.py').read_text()
    for program in PROGRAMS:
        first = next(
            line for line in (ROOT / program).read_text().splitlines() if line.startswith('import ')
        )
        assert first.startswith('import _start')


def test_which_python_to_use(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv('R2PLUS1D_VENV', str(tmp_path))
    assert python.advice('av').endswith('has no av; sh scripts/setup.sh makes one that has it')
    (tmp_path / 'bin').mkdir()
    (tmp_path / 'bin' / 'python').touch()
    assert python.advice('av').endswith('/bin/python')
    monkeypatch.setattr(sys, 'executable', str(tmp_path / 'bin' / 'python'))
    assert python.advice('av').endswith('has no av; sh scripts/setup.sh installs it')


def test_an_installed_package_names_no_script(tmp_path, monkeypatch):
    monkeypatch.setattr(python, 'ROOT', tmp_path)
    assert python.advice('av').endswith('has no av; r2plus1d doctor says what is missing')


def test_the_environment_that_is_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(python, 'ROOT', tmp_path)
    monkeypatch.delenv('R2PLUS1D_VENV', raising=False)
    for name in ('scripts/setup.sh', '.venv-modern/bin/python'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    assert python.advice('av').endswith('.venv-modern/bin/python')


@pytest.mark.parametrize('error', ["ModuleNotFoundError(name='r2plus1d.x')", 'ValueError(1)'])
def test_our_own_mistakes_keep_their_traceback(error):
    code = f'from r2plus1d.cli import python; python.watch(); raise {error}'
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert 'Traceback' in done.stderr
