"""What scripts/setup.sh runs, by function: packages of distributions, GPUs, space, pins."""

import ast
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

FOLDER = ROOT / 'scripts' / 'environment'
sys.path.append(str(FOLDER))

import distribution  # noqa: E402
import executable_stack  # noqa: E402
import graphics  # noqa: E402
import installation  # noqa: E402
import kinds  # noqa: E402
import packages  # noqa: E402

DEBIAN_12 = {'ID': 'debian', 'VERSION_ID': '12'}
UBUNTU_20 = {'ID': 'ubuntu', 'ID_LIKE': 'debian', 'VERSION_ID': '20.04'}
ROCKY_9 = {'ID': 'rocky', 'ID_LIKE': 'rhel centos fedora', 'VERSION_ID': '9.4'}


@pytest.fixture
def root(monkeypatch):
    monkeypatch.setattr(os, 'geteuid', lambda: 0)


@pytest.mark.parametrize(
    ('release', 'kind', 'line'),
    [
        (DEBIAN_12, 'modern', 'apt-get install python3.11 python3.11-venv'),
        (DEBIAN_12, 'caffe2', ''),
        (UBUNTU_20, 'caffe2', 'apt-get install python3.9 python3.9-venv'),
        (UBUNTU_20, 'modern', ''),
        (ROCKY_9, 'caffe2', 'dnf install python3'),
        (ROCKY_9, 'modern', 'dnf install python3.12'),
        ({'ID': 'alpine', 'VERSION_ID': '3.20'}, 'modern', ''),
        ({}, 'caffe2', ''),
    ],
)
def test_only_packages_that_the_distribution_has_are_named(root, release, kind, line):
    assert distribution.python_line(kinds.KINDS[kind].versions, release) == line


def test_what_debian_splits_off_is_named_for_its_own_python_only(root, monkeypatch):
    line = distribution.ensurepip_line('/usr/bin/python3.11', '3.11', DEBIAN_12)
    assert line == 'apt-get install python3.11-venv'
    assert distribution.ensurepip_line('/opt/bin/python3.11', '3.11', DEBIAN_12) == ''
    assert distribution.ensurepip_line('/usr/bin/python3.9', '3.9', ROCKY_9) == ''
    monkeypatch.setattr(os, 'geteuid', lambda: 1000)
    line = distribution.ensurepip_line('/usr/bin/python3.11', '3.11', DEBIAN_12)
    assert line == 'sudo apt-get install python3.11-venv'


def test_os_release_is_read(tmp_path):
    (tmp_path / 'os-release').write_text('ID=debian\n# a comment\nVERSION_ID="12"\n')
    assert distribution.read_release(tmp_path / 'os-release') == DEBIAN_12
    assert distribution.read_release(tmp_path / 'none') == {}


def test_a_driver_that_does_not_know_capabilities_is_no_obstacle(monkeypatch):
    monkeypatch.setenv('GPUS', '0')
    for said in (None, '', 'Field "compute_cap" is not a valid field to query.'):
        monkeypatch.setattr(graphics, 'output_of', lambda command, said=said: said)
        assert graphics.newer_asked_for() == ''
    monkeypatch.setattr(graphics, 'output_of', lambda command: '0, A, 8.0\n1, B, 7.0')
    assert graphics.newer_asked_for() == 'A'
    monkeypatch.setenv('GPUS', '1')
    assert graphics.newer_asked_for() == ''
    monkeypatch.setenv('GPUS', 'cpu')
    assert graphics.newer_asked_for() == ''
    monkeypatch.setenv('GPUS', 'GPU-8932f937')
    assert graphics.newer_asked_for() == 'GPU-8932f937'


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv('R2PLUS1D_VENV', str(tmp_path / 'environment'))
    return installation.Environment('modern')


def test_too_little_disk_is_one_line(environment, monkeypatch):
    usage = shutil.disk_usage(ROOT)._replace(free=3 * 10**9)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    environment.require_space(2.9)
    with pytest.raises(kinds.SetupError, match=r'^3\.0 GB free in .*, about 4 GB needed: .*_VENV'):
        environment.require_space(4)


def test_a_checkout_that_cannot_be_written_is_imported_by_a_path(environment, monkeypatch):
    site = environment.path('lib/python3.13/site-packages')
    os.makedirs(site)  # noqa: PTH103
    monkeypatch.setattr(packages.os, 'access', lambda path, mode: False)
    packages._install_project(environment)
    code = (
        'import sys, site; site.addsitedir(sys.argv[1]); import r2plus1d; print(r2plus1d.__file__)'
    )
    done = subprocess.run(
        [sys.executable, '-I', '-S', '-c', code, site], capture_output=True, text=True, check=True
    )
    assert done.stdout == f'{ROOT}/lib/r2plus1d/__init__.py\n'


def test_other_files_than_libraries_keep_their_bytes(tmp_path):
    for content in (b'', b'INPUT(-lc)', bytes(64)):
        (tmp_path / 'x.so').write_bytes(content)
        executable_stack.clear(tmp_path / 'x.so')
        assert (tmp_path / 'x.so').read_bytes() == content


@pytest.mark.parametrize('path', sorted(FOLDER.glob('*.py')), ids=lambda path: path.name)
def test_any_python_from_3_6_on_reads_the_set_up(path):
    ast.parse(path.read_text(), feature_version=(3, 6))
    old = sorted((ROOT.home() / '.pyenv/versions').glob('3.[67].*/bin/python'))
    for python in old:
        code = 'import sys; compile(open(sys.argv[1]).read(), sys.argv[1], "exec")'
        subprocess.run([python, '-I', '-c', code, path], check=True)


def requirements(kind):
    return ROOT / kinds.KINDS[kind].requirements


@pytest.mark.parametrize('kind', kinds.KINDS)
def test_every_version_is_exact_and_said_once_for_each_python(kind):
    lines = [line.partition('#')[0].strip() for line in requirements(kind).read_text().splitlines()]
    pins = [line for line in lines if line]
    assert all(re.fullmatch(r'[\w.-]+==[\w.]+(; python_version .*)?', pin) for pin in pins), pins
    for version in kinds.KINDS[kind].versions:
        names = [pin.partition('==')[0].lower() for pin in pins if holds(pin, version)]
        assert sorted(names) == sorted(set(names))


def holds(pin, version):
    """Whether the marker of a requirement holds for a version of Python."""
    number = int(version.partition('.')[2])
    for sign, minor in re.findall(r'python_version (>=|<) "3\.(\d+)"', pin):
        if not (number >= int(minor) if sign == '>=' else number < int(minor)):
            return False
    return True


def test_pins_are_found_by_name(tmp_path):
    (tmp_path / 'r.txt').write_text('torch==2.1; python_version < "3.11"\npip==26\ntorchx==1\n')
    assert packages.pins(str(tmp_path / 'r.txt'), ('torch', 'pip')) == ['torch==2.1', 'pip==26']
