"""What is installed into an environment. Any Python from 3.6 on runs this."""

import glob
import os
import re
import shutil
import sys

import graphics
from kinds import ROOT, SetupError, lines_of, say

CPU_BUILDS = 'https://download.pytorch.org/whl/cpu'  # PyPI's PyTorch brings CUDA, of several GB
CUDA_GIGABYTES = 10
NETWORK = (
    'name resolution', 'NameResolutionError', 'NewConnectionError', 'ConnectTimeoutError',
    'Connection refused', 'Network is unreachable', 'ProxyError', 'Could not resolve host',
)  # fmt: skip


def install(environment):
    """Install the requirements of an Environment and this project; SetupError if that fails."""
    requirements = os.path.join(ROOT, environment.about.requirements)
    said = 'installing {}: minutes, and 1 GB or more to download (tail -f {!r})'
    say(said.format(environment.about.requirements, environment.log))
    # pip unpacks 2 GB: where the room was looked for, not in a /tmp that may be small
    os.environ['TMPDIR'] = environment.path('tmp')
    os.makedirs(environment.path('tmp'), exist_ok=True)
    _pip(environment, 'install', *pins(requirements, ('pip', 'setuptools')))
    if environment.kind == 'modern':
        _install_torch(environment, pins(requirements, ('torch',)))
    _pip(environment, 'install', '--requirement', requirements)
    _install_project(environment)
    shutil.rmtree(environment.path('tmp'), ignore_errors=True)
    if environment.kind == 'caffe2' and environment.run_script('executable_stack.py'):
        raise SetupError('cannot edit the libraries of PyTorch in {}'.format(environment.place))


def pins(path, names):
    """Return the exact requirements of these packages in a file."""
    lines = (line.partition(';')[0].strip() for line in lines_of(path))
    return [line for line in lines if line.partition('==')[0] in names]


def _install_torch(environment, pin):
    """Take the build for CPUs where there is no GPU: pip's own choice brings CUDA.

    Another build than the one that is installed takes its place only where it is asked for.
    """
    asked = os.environ.get('R2PLUS1D_TORCH')
    build, installed = asked or _fitting(), _build_of_torch(environment)
    if build not in ('cpu', 'cuda'):
        raise SetupError('R2PLUS1D_TORCH is {}; cpu or cuda'.format(build))
    if not sys.platform.startswith('linux') or installed == build or (installed and not asked):
        return
    options = ['--no-deps', *(['--force-reinstall'] if installed else [])]
    if build == 'cpu':
        quick = ['--retries=0', '--timeout=20', '--index-url=' + CPU_BUILDS]
        command = [environment.python, '-m', 'pip', 'install', *options, *quick, *pin]
        if environment.run(command) == 0:
            return
        say('no PyTorch for CPUs to be had from {}: pip chooses a build'.format(CPU_BUILDS))
    environment.require_space(CUDA_GIGABYTES)
    if build == 'cuda' and installed:  # pip takes the other build for the same version
        _pip(environment, 'install', *options, *pin)


def _fitting():
    return 'cuda' if graphics.has_gpu() else 'cpu'


def _build_of_torch(environment):
    """The build of the PyTorch that is installed: cpu or cuda, or None."""
    for place in _site(environment, os.path.join('torch', 'version.py')):
        without = any(re.match(r'cuda\b.*= None$', line) for line in lines_of(place))
        return 'cpu' if without else 'cuda'
    return None


def _install_project(environment):
    """Let the environment import lib/: in editable mode where the checkout can be written."""
    if os.access(os.path.join(ROOT, 'lib'), os.W_OK):
        _pip(environment, 'install', '--no-deps', '--no-build-isolation', '--editable', ROOT)
        return
    (packages,) = _site(environment)
    with open(os.path.join(packages, 'r2plus1d.pth'), 'w', encoding='utf-8') as file:
        file.write(os.path.join(ROOT, 'lib') + '\n')


def _site(environment, name=''):
    folder = glob.escape(environment.path('lib'))
    return glob.glob(os.path.join(folder, 'python*', 'site-packages', name))


def _pip(environment, *arguments):
    """Run pip. What it says goes to the log, and if it fails its last line into ours."""
    before = len(lines_of(environment.log))
    if environment.run([environment.python, '-m', 'pip', *arguments]) == 0:
        return
    said = '\n'.join(lines_of(environment.log)[before:])
    cause = ''
    if any(words in said for words in NETWORK):
        cause = ' (no network: pip reached no index of packages)'
    raise SetupError(
        'failed: pip {}: {}{} -- all that pip said is in {}; run again when this is mended'.format(
            ' '.join(arguments), environment.last_line(), cause, environment.log
        )
    )
