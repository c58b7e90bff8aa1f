"""Finds Pythons of given versions on this machine. Any Python from 3.6 on runs this."""

import glob
import os
import shutil
import subprocess
import sys

import distribution

# Prints version, implementation, what it lacks, and its real path.
PROBE = """
import os, sys
lacks = []
for name in ("ctypes", "ensurepip", "ssl", "venv", "zlib"):
    try:
        __import__(name)
    except ImportError:
        lacks.append(name)
version = "%d.%d" % sys.version_info[:2]
print(version, sys.implementation.name, ",".join(lacks) or "-", os.path.realpath(sys.executable))
"""


def output_of(command, **environment):
    """Return what a command prints, stripped, or None if it cannot be run or fails."""
    try:
        done = subprocess.run(
            command, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True,
        )  # fmt: skip
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


class Search:
    """Looks for a Python that can make environments.

    Args:
        versions: such as ('3.13', '3.12'); the first that is found is taken.

    Attributes:
        faults: why some that were found will not do, as text.
    """

    def __init__(self, versions):
        self.versions = versions
        self.faults = []

    def try_one(self, path):
        """Return (version, real path) of a Python that will do, or None."""
        # Only running it tells: a python3.9 may be a shim that has none to run.
        answer = output_of([path, '-I', '-c', PROBE]) if os.access(path, os.X_OK) else None
        words = (answer or '').split(' ', 3)
        if len(words) < 4 or words[0] not in self.versions or words[1] != 'cpython':
            return None
        version, _, lacks, real = words
        if lacks == '-':
            return version, real
        fault = '{} has no {}'.format(real, lacks)
        if lacks == 'ensurepip':
            line = distribution.ensurepip_line(real, version, distribution.read_release())
            fault += ': ' + line if line else ''
        if fault not in self.faults:
            self.faults.append(fault)
        return None

    def first(self, paths):
        return next(filter(None, map(self.try_one, paths)), None)

    def named(self, name):
        """Return the one that `name` is: a path, or a program on the PATH."""
        path = shutil.which(name)
        return self.try_one(path) if path else None

    def here(self):
        """Return one that is on this machine, without a download, or None."""
        folders = os.environ.get('PATH', '').split(os.pathsep)
        pyenv = os.environ.get('PYENV_ROOT') or os.path.join(home(), '.pyenv')
        for version in self.versions:
            ours = [os.path.join(folder, 'python' + version) for folder in folders]
            ours += glob.glob(
                os.path.join(glob.escape(pyenv), 'versions', version + '.*/bin/python')
            )
            found = self.first(ours)
            if found:
                return found
        others = [os.path.join(folder, 'python3') for folder in folders]
        others.append(os.path.join(os.environ.get('CONDA_PREFIX', '/none'), 'bin', 'python'))
        return self.first(others) or self._conda() or self._uv(find_uv())

    def _conda(self):
        base = output_of([os.environ.get('CONDA_EXE', 'conda'), 'info', '--base'])
        if not base:
            return None
        envs = glob.glob(os.path.join(glob.escape(base), 'envs', '*', 'bin', 'python'))
        return self.first([os.path.join(base, 'bin', 'python'), *sorted(envs)])

    def _uv(self, uv):
        never = {'UV_PYTHON_DOWNLOADS': 'never'}
        found = (output_of([uv, 'python', 'find', v], **never) for v in self.versions) if uv else ()
        return self.first(path for path in found if path)

    def fetched(self, folder, say):
        """Return one that uv downloads, or None; where there is no uv, pip puts it in `folder`."""
        uv = find_uv() or self._brought_uv(folder, say)
        try:
            if not uv:
                return None
            version = self.versions[0]
            say('uv downloads Python {}'.format(version))
            output_of([uv, 'python', 'install', version])
            found = self._uv(uv)
            if not found:
                self.faults.append('uv could not fetch one: no network?')
            return found
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _brought_uv(self, folder, say):
        if output_of([sys.executable, '-m', 'pip', '--version']) is None:
            self.faults.append('no uv, and {} has no pip to get it'.format(sys.executable))
            return None
        say('no Python {} here: asking pip for uv, which brings one'.format(self.versions[0]))
        if output_of([sys.executable, '-m', 'pip', 'install', '--target', folder, 'uv']) is None:
            self.faults.append('no uv, and pip could not fetch it: no network?')
            return None
        return os.path.join(folder, 'bin', 'uv')


def home():
    return os.environ.get('HOME') or '/none'


def find_uv():
    """Return the path of uv, or None."""
    return shutil.which('uv') or shutil.which(os.path.join(home(), '.local', 'bin', 'uv'))
