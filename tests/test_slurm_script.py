"""scripts/slurm_extract.sh: as it stands on the sample, and as a task of a Slurm array."""

import os
import pickle
import shlex
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has
from shell_scripts import SHELL, without_settings

if not (has('caffe2') or has('openvino') or has('torch')):
    pytest.skip('needs an engine', allow_module_level=True)


@pytest.fixture(scope='module')
def root(sample_videos, tmp_path_factory):
    """A checkout whose environment is this Python, and in which the bundled videos were made."""
    folder = tmp_path_factory.mktemp('checkout')
    for name in ('lib', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    made = shutil.ignore_patterns('__pycache__', 'videos', '*_lmdb', '*_list.csv', 'labels.txt')
    for name in ('data', 'scripts'):
        shutil.copytree(ROOT / name, folder / name, ignore=made)
    shutil.copytree(sample_videos, folder / 'data' / 'sample', dirs_exist_ok=True)
    (folder / 'scripts' / 'setup.sh').write_text(f'echo {shlex.quote(sys.executable)}\n')
    return folder


def run(root, *arguments, **variables):
    environment = {k: v for k, v in without_settings().items() if not k.startswith('SLURM_')}
    return subprocess.run(
        [SHELL, str(root / 'scripts' / 'slurm_extract.sh'), *arguments], cwd=root,
        env={**environment, **variables}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


def test_the_sample_and_tasks_of_an_array(root):
    made = {'FORMAT': 'pickle', 'FEATURES': 'final_avg,label,video_id'}
    flags = ('--num_iterations=2', '--batch_size=24')
    done = run(root, *flags, OUTPUT='all/f.pkl', **made)
    assert done.returncode == 0, done.stderr
    assert 'the bundled sample' in done.stderr
    assert 'records: 48, extracted: 48, failed: 0' in done.stdout
    assert len(pickle.loads((root / 'all' / 'f.pkl').read_bytes())['final_avg']) == 48
    mine = {
        'TEST_DATA': 'data/sample/dense_1_lmdb',
        'MODEL': 'data/sample/r2plus1d_18_8_w0.125.pkl',
        'OUTPUT': 'tasks/f.pkl',
        'SHARDS': '2',
        'SLURM_JOB_ID': '5',
        'SLURM_SUBMIT_DIR': os.fspath(root),
        **made,
    }
    failed = run(root, *flags[:1], '--use_local_file=1', **{**mine, 'TEST_DATA': 'none'})
    assert failed.returncode == 3  # of xargs it is 123
    for task in '01':
        part = run(root, *flags, '--use_local_file=1', SLURM_ARRAY_TASK_ID=task, **mine)
        assert part.returncode == 0, part.stderr
        assert f'shard {task}/2: records: ' in part.stdout
    for path in (root / 'all').iterdir():
        assert (root / 'tasks' / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ('variables', 'message'),
    [
        ({'MODEL': 'm', 'TEST_DATA': 'd', 'OUTPUT': 'o'}, 'set SHARDS'),
        ({'TEST_DATA': 'd', 'OUTPUT': 'o', 'SHARDS': '2'}, 'set MODEL'),
        ({'MODEL': 'm', 'TEST_DATA': 'd', 'SHARDS': '2'}, 'set OUTPUT'),
        ({'MODEL': 'm', 'OUTPUT': 'o', 'SHARDS': '2'}, 'set TEST_DATA .* or VIDEOS'),
        ({'MODEL': 'm', 'OUTPUT': 'o', 'SHARDS': '0'}, 'SHARDS is 0; a number from 1 on'),
        ({'MODEL': 'm', 'OUTPUT': 'o', 'SHARDS': 'ab'}, 'SHARDS is ab; a number from 1 on'),
        (
            {'MODEL': 'm', 'OUTPUT': 'o', 'SHARDS': '2', 'PROCESSES': 'x'},
            'PROCESSES is x; a number from 1 on',
        ),
        ({'ROOT': '/'}, '/ is not the folder of this repository: set ROOT'),
    ],
)
def test_what_is_not_set_is_said(root, variables, message):
    import re

    done = run(root, **variables)
    assert done.returncode == 2
    assert re.search(message, done.stderr)
