"""The Dockerfile agrees with what is installed, and the scripts write where an image lets them."""

import re
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT
from shell_scripts import SCRIPTS, SHELL, run_script, without_settings

sys.path.append(str(SCRIPTS / 'environment'))

import kinds  # noqa: E402

STAGE = re.compile(r'^FROM python:(\d\.\d+)-slim-(\w+) AS (\w+)$', re.MULTILINE)
COPY = re.compile(r'^COPY --chown=\S+ (.+) (\S+)$', re.MULTILINE)


def stages():
    """{target: (version of Python, its part of the Dockerfile)}."""
    _, *parts = STAGE.split((ROOT / 'Dockerfile').read_text())
    return {parts[i + 2]: (parts[i], parts[i + 3]) for i in range(0, len(parts), 4)}


def test_each_kind_of_environment_is_a_target():
    assert set(stages()) == set(kinds.KINDS)
    assert list(stages())[-1] == 'caffe2'  # what docker build makes without --target


@pytest.mark.parametrize('target', kinds.KINDS)
def test_a_target_has_a_python_and_the_place_of_its_kind(target):
    version, text = stages()[target]
    about = kinds.KINDS[target]
    assert version in about.versions
    assert f'R2PLUS1D_ENV={target} ' in text
    assert f'sh scripts/setup.sh {target} ' in text
    assert f'ENV PATH=/r2plus1d/{about.folder}/bin:$PATH TMPDIR=/r2plus1d/output\n' in text
    for site in re.findall(r'(\S+)/site-packages', text):
        assert site == f'{about.folder}/lib/python{version}'


@pytest.mark.parametrize('target', kinds.KINDS)
def test_what_setup_reads_is_copied_before_it_runs(target, tmp_path):
    before, _, _ = stages()[target][1].partition('sh scripts/setup.sh')
    for sources, place in COPY.findall(before):
        for source in sources.split():
            (tmp_path / place).mkdir(parents=True, exist_ok=True)
            if source.endswith('/'):
                shutil.copytree(ROOT / source, tmp_path / place, dirs_exist_ok=True)
            else:
                shutil.copy(ROOT / source, tmp_path / place)
    assert (tmp_path / kinds.KINDS[target].requirements).is_file()
    assert (tmp_path / 'lib' / 'r2plus1d' / '__init__.py').is_file()
    program = (
        'import sys; sys.path.insert(0, sys.argv[1]); from installation import Environment;'
        'print(Environment(sys.argv[2]).is_finished())'
    )
    folder = tmp_path / 'scripts' / 'environment'
    done = subprocess.run(
        [sys.executable, '-B', '-c', program, str(folder), target],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == 'False\n', done.stderr


def contents_of(folder):
    found = {}
    for path in folder.rglob('*'):
        if '__pycache__' not in path.parts:
            found[path] = path.lstat().st_mtime_ns
    return found


def test_with_the_images_settings_only_output_is_written(tmp_path):
    """As a read-only root with a folder for output/ asks for it."""
    root = tmp_path / 'r2plus1d'
    made = shutil.ignore_patterns('__pycache__', 'videos', '*_lmdb', '*_list.csv', 'labels.txt')
    for name in ('lib', 'tools', 'data', 'scripts'):
        shutil.copytree(ROOT / name, root / name, ignore=made)
    (root / 'scripts' / 'setup.sh').write_text(f'echo {sys.executable}\n')
    (root / 'output').mkdir()
    before = contents_of(root)
    texts = [text for _, text in stages().values()]
    (setting,) = {re.search(r' SAMPLE=/r2plus1d/(\S+)\n', text)[1] for text in texts}
    (command,) = {re.search(r'CMD \["sh", "(\S+)"\]', text)[1] for text in texts}
    done = subprocess.run(
        [SHELL, command], cwd=root, capture_output=True, text=True, check=False,
        env={**without_settings(), 'SAMPLE': str(root / setting), 'CLIPS': '1'},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'Test accuracy: ' in done.stdout
    after = contents_of(root)
    changed = {path for path in after if after[path] != before.get(path)}
    assert changed
    assert {path.relative_to(root).parts[0] for path in changed} == {'output'}


def test_the_check_of_an_image_refuses_a_target_that_is_none(tmp_path):
    done = run_script('check_image.sh', cwd=tmp_path, TARGET='latest')
    assert (done.returncode, done.stdout) == (2, '')
    assert done.stderr == 'check_image.sh: TARGET is latest; caffe2 or modern\n'


def test_what_git_ignores_does_not_enter_the_image():
    ignored, left_out = (
        {
            line.replace('**/', '').strip('/')
            for line in (ROOT / name).read_text().splitlines()
            if line.strip() and not line.startswith('#')
        }
        for name in ('.gitignore', '.dockerignore')
    )
    assert ignored - left_out == set()
