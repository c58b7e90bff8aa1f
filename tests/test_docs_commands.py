"""The commands of the pages: the cheap ones run as a newcomer runs them, in an own checkout.

What all of them name is there: programs, flags, scripts and the variables of the scripts.
"""

import re
import shlex
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.pictures.captions import HEIGHT
from shell_scripts import SHELL, without_settings
from tool_here import run_here

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
BLOCK = re.compile(
    r'^```(sh|python)\n(.*?)^```\n(?:\n```(?:text)?\n(.*?)^```)?', re.MULTILINE | re.DOTALL
)
HEREDOC = re.compile(r"<<'END'\n.*?^END$", re.MULTILINE | re.DOTALL)
PROGRAM = re.compile(r'(?:scripts|tools|data|benchmarks)/\w+\.(?:sh|py)')
ASSIGNED = re.compile(r'^(?:export )?([A-Z_]\w*)=')
CALLED = re.compile(r'(?:tools|data)/\w+\.py')
# What bundled weights say themselves
OF_WEIGHTS = {'clip_length_rgb', 'labels', 'model_depth', 'model_name', 'num_labels', 'width'}
BUNDLED = '--load_model_path=data/sample/'
LONG_FRACTION = re.compile(r'\d\.\d{4,}')

# What a block has in it: why it is not run here. None of these may be left without a block.
NOT_RUN = {
    r'_d\d\d_l\d': 'downloads published weights',
    r'kinetics_val(?:_list)?\.csv|=kinetics_(?:val|train)': 'needs Kinetics',
    r'VIDEOS=my_videos': 'needs videos of your own',
    r'hmdb51/': 'needs HMDB51',
    r'ucf101/': 'needs UCF101',
    r'^docker': 'needs Docker',
    r'^sh scripts/slurm_extract': 'tests/test_slurm_script.py does',
    r'check_image': 'builds an image',
    r'run_tests': 'runs these tests',
    r'^rm -rf \.venv|R2PLUS1D_VENV|^sh scripts/setup\.sh': 'tests/test_setup.py does',
    r'pip install': 'installs packages',
    r'NumGpuDevices': 'needs Caffe2',
    r'--engine=caffe2': 'needs Caffe2',
    r'scripts/train_|output/(?:train|torch)\b|sample_study\.sh': 'trains for a long time',
    r'create_sample\.py --split=': 'makes the videos for training',
    r'--ray=': 'tests/test_ray.py does',
    r'benchmarks/': 'measures for a long time',
    r'output/sample_int8': 'needs the file that tools/quantize.py writes',
    r'dense_prediction\.sh|fuse_prediction\.sh|output/sample_': 'tests/test_dense_scripts.py does',
}  # fmt: skip
NOT_HERE = re.compile("not installed here|No module named 'caffe2'")
# Pages that show what comes of all the sample's videos
OF_ALL = {'README.md', 'data.md', 'feature_extraction.md'}
SOME = re.compile('_00[03]|clockwise_001')
OTHERS = {'python.md': 'tests/test_api.py runs its Python'}


def blocks_of(text):
    """(language, command, what is printed or '') of each block of a page."""
    return [(kind, code, printed or '') for kind, code, printed in BLOCK.findall(text)]


def reason_not_to_run(code):
    """Why a block is not run here, or None."""
    found = [why for what, why in NOT_RUN.items() if re.search(what, code, re.MULTILINE)]
    return found[0] if found else None


def lines_missing(printed, stdout):
    """Lines that a page shows and a command did not print.

    Long fractions may differ by 0.01: another release of x264 makes other videos of the sample.
    """
    lines = [with_numbers_apart(line) for line in stdout.splitlines()]
    return [line for line in printed.splitlines() if line != '...' and not is_among(line, lines)]


def with_numbers_apart(line):
    """A line without its long fractions, and their values."""
    return LONG_FRACTION.sub('#', line.rstrip()), [float(x) for x in LONG_FRACTION.findall(line)]


def is_among(line, lines):
    text, numbers = with_numbers_apart(line)
    return any(text == other and numbers == pytest.approx(got, abs=0.01) for other, got in lines)


def checkout_with(videos, root):
    """Make a checkout with these videos of the sample, whose environment is this Python."""
    for name in ('lib', 'docs', 'benchmarks'):
        (root / name).symlink_to(ROOT / name)
    made = shutil.ignore_patterns('__pycache__', 'videos', '*_lmdb', '*_list.csv', 'labels.txt')
    for name in ('tools', 'data', 'scripts'):
        shutil.copytree(ROOT / name, root / name, ignore=made)
    shutil.copytree(videos, root / 'data' / 'sample', dirs_exist_ok=True)
    python = root / '.venv' / 'bin' / 'python'
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    (root / 'scripts' / 'setup.sh').write_text(f'echo {shlex.quote(str(python))}\n')
    (root / 'data' / 'create_sample.py').write_text('')  # the videos are there
    done = run_block('sh scripts/create_kinetics_lmdb.sh', root)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture(scope='module')
def checkout(sample_videos, tmp_path_factory):
    """A checkout in which the bundled videos were made."""
    return checkout_with(sample_videos, tmp_path_factory.mktemp('checkout'))


@pytest.fixture(scope='module')
def small_checkout(sample_videos, tmp_path_factory):
    """The same with some of the videos."""
    some = shutil.copytree(sample_videos, tmp_path_factory.mktemp('some') / 'sample')
    listed = some / 'test_list.csv'
    head, *rows = listed.read_text().splitlines(keepends=True)
    listed.write_text(''.join([head, *filter(SOME.search, rows)]))
    for video in (some / 'videos').glob('*/*'):
        if not SOME.search(video.name):
            video.unlink()
    return checkout_with(some, tmp_path_factory.mktemp('small_checkout'))


def run_block(code, root):
    """Run a block as it stands, but train for few steps only."""
    return subprocess.run(
        [SHELL, '-euc', code], cwd=root, env={**without_settings(), 'EPOCH_SIZE': '16'},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_work_as_they_stand(page, request):
    root = request.getfixturevalue('checkout' if page.name in OF_ALL else 'small_checkout')
    for kind, code, printed in blocks_of(page.read_text()):
        if reason_not_to_run(code) or (kind == 'python' and page.name in OTHERS):
            continue
        if kind == 'python':
            code = f".venv/bin/python - <<'END'\n{code}END\n"
        done = run_block(code, root)
        if done.returncode and NOT_HERE.search(done.stderr):
            continue
        assert done.returncode == 0, f'{code}\n{done.stderr}'
        assert not lines_missing(printed, done.stdout), f'{code}\n{done.stdout}'


def test_the_picture_is_what_its_command_draws(checkout):
    picture = ROOT / 'docs' / 'predictions.png'
    drawn = checkout / 'output' / picture.name
    drawn.unlink(missing_ok=True)
    (code,) = [c for _, c, _ in blocks_of(PAGES[0].read_text()) if f'output/{picture.name}' in c]
    assert run_block(code, checkout).returncode == 0
    shown, made = (cv2.imread(str(path)).astype(int) for path in (picture, drawn))
    assert shown.shape == made.shape
    difference = np.abs(shown - made).reshape(-1, HEIGHT + 112, *shown.shape[1:])
    assert difference[:, HEIGHT:].mean() < 3  # of the clips; letters depend on the version
    assert picture.stat().st_size < 300_000


def test_each_reason_is_that_of_a_block():
    text = ''.join(page.read_text() for page in PAGES)
    codes = [code for _, code, _ in blocks_of(text)]
    assert [w for w in NOT_RUN if not any(re.search(w, c, re.MULTILINE) for c in codes)] == []
    assert sum(reason_not_to_run(code) is None for code in codes) > len(codes) / 4


@pytest.fixture(scope='module')
def flags_of():
    """Return a function from a program's path to the flags that it has; None if it cannot start."""
    known = {}

    def find(path):
        if path not in known:
            done = run_here(path, '--help=all')
            assert done.returncode == 0 or NOT_HERE.search(done.stderr), done.stderr
            found = {'help', *re.findall(r'^  --(\w+)=', done.stdout, re.MULTILINE)}
            known[path] = None if done.returncode else found
        return known[path]

    return find


def commands_of(code):
    """The words of each command of a block."""
    for line in HEREDOC.sub('', code).replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def called_by(script):
    """Text of a script and of those that it names, and the paths of the programs in them."""
    text, todo, seen = '', [script], set()
    while todo:
        name = todo.pop()
        if name in seen or not (ROOT / name).is_file():
            continue
        seen.add(name)
        text += (ROOT / name).read_text()
        todo += [f'scripts/{other}' for other in re.findall(r'\b(\w+\.sh)\b', text)]
    return text, sorted({*CALLED.findall(text)})


# setup.sh, which every script calls, hands these on to a program.
OF_SETUP = {
    name
    for path in (ROOT / 'scripts' / 'environment').glob('*.py')
    for name in re.findall(r"'(R2PLUS1D_\w+|PYTHON|GPUS)'", path.read_text())
}


def faults_of(code, flags_of):
    """What the commands of a block name and there is not, one line each."""
    faults, exported = [], []
    for words in commands_of(code):
        own = [found[1] for found in map(ASSIGNED.match, words) if found]
        programs = [word for word in words if PROGRAM.fullmatch(word)]
        if words[0] == 'export':
            exported += own
        if not programs or words[0] == 'docker':
            continue
        program = programs[0]
        if not (ROOT / program).is_file():
            faults.append(f'no {program}')
            continue
        given = [word[2:].split('=')[0] for word in words if word.startswith('--')]
        if any(word.startswith(BUNDLED) for word in words):
            faults += [f'the weights say {flag}' for flag in given if flag in OF_WEIGHTS]
        text, tools = called_by(program) if program.endswith('.sh') else ('', [program])
        known = [flags_of(tool) for tool in tools]
        if None not in known:
            faults += [f'{program} has no --{f}' for f in given if f not in set().union(*known)]
        if text:
            read = {*re.findall(r'\$\{?(\w+)', text), *OF_SETUP}
            faults += [f'{program} reads no {n}' for n in [*own, *exported] if n not in read]
    return faults


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_the_commands_name_is_there(page, flags_of):
    found = blocks_of(page.read_text())
    assert [f for kind, code, _ in found if kind == 'sh' for f in faults_of(code, flags_of)] == []


@pytest.mark.parametrize(
    ('code', 'fault'),
    [
        ('sh scripts/gone.sh', 'no scripts/gone.sh'),
        ('.venv/bin/python tools/gone.py --x=1', 'no tools/gone.py'),
        ('.venv/bin/python tools/show_net.py --a=1 \\\n  --json', 'tools/show_net.py has no --a'),
        (
            '.venv/bin/python tools/test_net.py --load_model_path=data/sample/a.pkl --width=0.125',
            'the weights say width',
        ),
        ('sh scripts/create_kinetics_lmdb.sh --a=1', 'scripts/create_kinetics_lmdb.sh has no --a'),
        ('A=1 sh scripts/create_kinetics_lmdb.sh', 'scripts/create_kinetics_lmdb.sh reads no A'),
        (
            'export A=1\nsh scripts/create_kinetics_lmdb.sh',
            'scripts/create_kinetics_lmdb.sh reads no A',
        ),
    ],
)
def test_a_wrong_command_is_found(code, fault, flags_of):
    assert faults_of(code, flags_of) == [fault]


def test_what_is_printed_is_compared():
    page = '# A\n\n```sh\necho 0.12345\n```\n\n```\na\n...\n0.12341\n```\n\n```sh\nls\n```\n'
    assert blocks_of(page) == [('sh', 'echo 0.12345\n', 'a\n...\n0.12341\n'), ('sh', 'ls\n', '')]
    assert lines_missing('a\n...\n0.12341\n', '0.12345\nb\n') == ['a']
    assert lines_missing('0.9635 up', '0.9835 up\n') == ['0.9635 up']
    assert lines_missing('0.9835 down', '0.9835 up\n') == ['0.9835 down']
    assert lines_missing('0.5 s', '0.6 s\n') == ['0.5 s']
    assert lines_missing('0.9800 up', '0.9835 up\n') == []
