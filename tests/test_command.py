"""The command r2plus1d, and its report on a machine."""

import os
import pathlib
import subprocess
import sys
import zipfile

import pytest

from conftest import ROOT
from r2plus1d.backends import installed
from r2plus1d.cli import command, doctor

PROGRAMS = sorted(p.stem for folder in ('tools', 'data') for p in ROOT.glob(f'{folder}/[!_]*.py'))


def r2plus1d(*arguments, cwd, flags=(), **variables):
    return subprocess.run(
        [sys.executable, *flags, '-m', 'r2plus1d', *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, 'PYTHONPATH': str(ROOT / 'lib'), **variables},
    )  # fmt: skip


def test_alone_it_lists_every_program(tmp_path):
    done = r2plus1d(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith('  ')]
    assert sorted(listed) == PROGRAMS
    assert r2plus1d('--help', cwd=tmp_path).stdout == done.stdout


def test_a_program_runs_with_its_flags_and_status(tmp_path):
    done = r2plus1d('model_zoo', '--check', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert 'rows agree' in done.stdout
    done = r2plus1d('model_zoo', '--chek', cwd=tmp_path)
    assert done.returncode == 2
    assert 'unrecognized arguments: --chek; the nearest flag is --check' in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_wrong_name_is_one_line(tmp_path):
    done = r2plus1d('test_nte', cwd=tmp_path)
    message = 'r2plus1d: no program test_nte; the nearest is test_net (r2plus1d lists them)\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, '', message)
    assert r2plus1d('--version', cwd=tmp_path).stdout.startswith('r2plus1d ')


def test_a_wheel_has_the_programs(tmp_path):
    """Built of a copy: it needs setuptools, and neither pip nor a network."""
    pytest.importorskip('setuptools')
    code = 'import sys, setuptools.build_meta as b; print(b.build_wheel(sys.argv[1]))'
    copied = tmp_path / 'a copy'
    for name in ('setup.py', 'setup.cfg', 'README.md'):
        copied.mkdir(exist_ok=True)
        (copied / name).write_bytes((ROOT / name).read_bytes())
    for name in ('lib', 'tools', 'data'):
        for path in ROOT.glob(f'{name}/**/*.py'):
            target = copied / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)], cwd=copied, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as file:
        names = file.namelist()
        file.extractall(tmp_path / 'site')
    found = [pathlib.Path(n).stem for n in names if n.startswith('r2plus1d/programs/')]
    assert sorted(found) == ['_start', *PROGRAMS]
    done = r2plus1d('model_zoo', '--check', cwd=tmp_path, PYTHONPATH=str(tmp_path / 'site'))
    assert (done.returncode, done.stderr) == (0, '')


def test_the_report_names_versions_engines_and_no_folder(tmp_path):
    done = r2plus1d('doctor', cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    for words in (
        'Python 3.',
        'processor: ',
        'packages\n  numpy ',
        'engines\n  caffe2 ',
        'missing',
    ):
        assert words in done.stdout
    for folder in (str(ROOT), sys.prefix, str(pathlib.Path.home()), str(tmp_path)):
        assert folder not in done.stdout
    if installed.has('openvino'):
        assert '  openvino  CPU: fp32' in done.stdout


def test_the_report_needs_no_package(tmp_path):
    done = r2plus1d('doctor', cwd=tmp_path, flags=['-S'])
    assert (done.returncode, done.stderr) == (0, '')
    assert '  openvino  not installed: pip install openvino onnx' in done.stdout
    absent = 'numpy, av, opencv-python-headless, lmdb, protobuf, tqdm'
    assert f'  videos, databases, evaluation: {absent} (install r2plus1d again)' in done.stdout
    assert '  quantization: onnx, openvino, nncf (the extra int8)' in done.stdout


def test_an_engine_that_ends_its_process_is_a_line(monkeypatch, tmp_path):
    package = tmp_path / 'r2plus1d' / 'backends' / 'openvino'
    package.mkdir(parents=True)
    monkeypatch.setattr(installed, 'has', lambda name: name == 'openvino')
    monkeypatch.setattr(doctor.sys, 'path', [str(tmp_path), *sys.path])
    for folder in (package, package.parent, package.parent.parent):
        (folder / '__init__.py').touch()
    (package / 'about.py').write_text('raise ImportError("/home/me/x/libz.so: cannot be opened")')
    lines = doctor.report()
    assert '  openvino  broken: ImportError: libz.so: cannot be opened' in lines
    (package / 'about.py').write_text('import os; os._exit(139)')
    assert '  openvino  broken: status 139' in doctor.report()


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('/home/me/a.so: no', 'a.so: no'),
        ("cannot open '/usr/lib/x y/libz.so'", "cannot open 'x y/libz.so'"),
        ('fp32/bf16 and 3 / 4', 'fp32/bf16 and 3 / 4'),
    ],
)
def test_paths_become_names(text, shown):
    assert doctor.without_folders(text) == shown


def test_a_driver_that_answers_is_shown(monkeypatch, tmp_path):
    (tmp_path / 'nvidia-smi').write_text('#!/bin/sh\necho NVIDIA H100, 9.0, 81559 MiB, 550.1\n')
    (tmp_path / 'nvidia-smi').chmod(0o755)
    monkeypatch.setenv('PATH', str(tmp_path), prepend=os.pathsep)
    assert 'GPU: NVIDIA H100, 9.0, 81559 MiB, 550.1' in doctor.report()


def test_programs_are_found_in_the_checkout():
    assert sorted(command.programs()) == PROGRAMS
