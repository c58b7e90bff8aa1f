"""One environment: whether it is finished, and how it is made. Any Python from 3.6 on runs this."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess

import distribution
import packages
from find_python import Search
from kinds import KINDS, MARK, ROOT, STAMP, SetupError, lines_of, other_than, place_of, say

HERE = os.path.dirname(os.path.realpath(__file__))


class Environment:
    """The environment of one kind at its place.

    Args:
        kind: a name in KINDS.
        python: (version, path) of the Python to make it from, or None to look for one.
    """

    def __init__(self, kind, python=None):
        self.kind, self.about, self.asked = kind, KINDS[kind], python
        self.place = place_of(kind)
        self.python = os.path.join(self.place, 'bin', 'python')
        self.log, self.lock = self.path('setup.log'), None

    def path(self, name):
        return os.path.join(self.place, name)

    def expected_stamp(self):
        """What a finished one says: with other pins, another Python or elsewhere it is stale."""
        digest = hashlib.sha256()
        for name in (self.about.requirements, 'setup.py', 'setup.cfg'):
            with open(os.path.join(ROOT, name), 'rb') as file:
                digest.update(file.read())
        torch = os.environ.get('R2PLUS1D_TORCH') if self.kind == 'modern' else None
        return [
            'kind ' + self.kind,
            'pins ' + digest.hexdigest(),
            'environment ' + self.place,
            'repository ' + ROOT,
            'python ' + os.path.realpath(self.python),
            *(['torch ' + torch] if torch else []),
        ]

    def is_finished(self):
        stamp, expected = lines_of(self.path(STAMP)), self.expected_stamp()
        return (
            os.access(self.python, os.X_OK) and self.is_of_python() and set(expected) <= set(stamp)
        )

    def is_of_python(self):
        return self.asked is None or self.asked[1] == os.path.realpath(self.python)

    @contextlib.contextmanager
    def locked(self):
        """Hold the lock beside the environment; what runs below inherits it.

        So of a set-up that was killed nothing is still at work when the lock is free.
        """
        folder = os.path.dirname(self.place)
        try:
            os.makedirs(folder, exist_ok=True)
            self.lock = open(self.place + '.setup-lock', 'a')  # noqa: SIM115 (closed below)
        except OSError as error:
            raise SetupError(
                'cannot write in {} ({}): set R2PLUS1D_VENV to a place that can be written'.format(
                    folder, error.strerror
                )
            ) from None
        with self.lock:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say('waiting for another set-up of ' + self.place)
                fcntl.flock(self.lock, fcntl.LOCK_EX)
            yield

    def can_be_updated(self):
        """Whether packages can be installed into what is there, as it was once finished."""
        was_made_here = os.path.exists(self.path(MARK))
        stamp = lines_of(self.path(STAMP))
        if was_made_here and not stamp:
            return False  # interrupted
        if stamp and 'environment ' + self.place not in stamp:
            return False  # moved or copied
        if not os.path.exists(self.path('pyvenv.cfg')) or not self.is_of_python():
            return False
        return Search(self.about.versions).try_one(self.python) is not None and self.has_pip()

    def has_pip(self):
        return self.run([self.python, '-m', 'pip', '--version']) == 0

    def set_up(self):
        if not self.can_be_updated():
            self.make()
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.path(STAMP))
        packages.install(self)
        self.check()
        self.finish()

    def make(self):
        self.require_replaceable()
        python = self.asked or self.found_python()
        self.remove()
        self.require_space(self.about.gigabytes)
        say('making {} from {}'.format(self.place, python[1]))
        os.makedirs(self.place, exist_ok=True)
        self.write(MARK, [self.kind])
        if self.run([python[1], '-m', 'venv', self.place]):
            raise SetupError(
                'failed: {} -m venv {}: {}'.format(python[1], self.place, self.last_line())
            )

    def found_python(self):
        search = Search(self.about.versions)
        found = search.here() or search.fetched(self.place + '.uv', say)
        if found:
            return found
        release = distribution.read_release()
        line = distribution.python_line(self.about.versions, release)
        other = other_than(self.kind)
        raise SetupError(
            'no working Python {} found{}: {}name one with PYTHON=/its/path, or take '
            'sh scripts/setup.sh {}, of Python {}'.format(
                self.about.pythons,
                ''.join(' ({})'.format(fault) for fault in search.faults),
                line + ' installs one; or '
                if line
                else 'get one with pyenv, conda or uv (pip install uv), ',
                other,
                KINDS[other].pythons,
            )
        )

    def require_replaceable(self):
        """Raise SetupError where something stands that was not made here."""
        if not os.path.lexists(self.place) or os.path.exists(self.path(MARK)):
            return
        if os.path.isdir(self.place) and not os.listdir(self.place):
            return
        if not os.path.exists(self.path('pyvenv.cfg')):
            raise SetupError(
                self.place + ' is not a virtual environment: move it away, or set R2PLUS1D_VENV'
            )
        if os.access(self.python, os.X_OK) and not self.has_pip():
            why = 'has no pip ({} -m ensurepip)'.format(self.python)
        else:
            why = 'is not one of Python {} that works where it is'.format(self.about.pythons)
        raise SetupError(
            '{} {}, and was not made by setup.sh, which leaves it as it is: move it away, or set '
            'R2PLUS1D_VENV to another place'.format(self.place, why)
        )

    def remove(self):
        """Remove what was made here. It loses its name first: a half is never taken for it."""
        removed = self.place + '.removed'
        if os.path.exists(self.path(MARK)):
            shutil.rmtree(removed, ignore_errors=True)
            os.rename(self.place, removed)
        shutil.rmtree(removed, ignore_errors=True)

    def require_space(self, gigabytes):
        folder = os.path.dirname(self.place)
        free = shutil.disk_usage(folder).free / 1e9
        if free < gigabytes:
            raise SetupError(
                '{:.1f} GB free in {}, about {} GB needed: make room, or set R2PLUS1D_VENV to a '
                'place that has it'.format(free, folder, gigabytes)
            )

    def check(self):
        say('checking it')
        if self.run_script('check.py', self.kind):
            raise SetupError(
                'does not work: {} -- details: {}; run again'.format(
                    self.last_line() or 'the self-check crashed', self.log
                )
            )

    def finish(self):
        self.write(STAMP + '.new', self.expected_stamp())
        os.replace(self.path(STAMP + '.new'), self.path(STAMP))
        say('ready: ' + self.python)

    def write(self, name, lines):
        with open(self.path(name), 'w', encoding='utf-8') as file:
            file.write('\n'.join(lines) + '\n')

    def run_script(self, name, *arguments):
        return self.run([self.python, os.path.join(HERE, name), *arguments])

    def run(self, command):
        """Run a command with its output at the end of the log; return its exit status."""
        with open(self.log, 'ab') as log:
            try:
                return subprocess.call(
                    command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    pass_fds=[self.lock.fileno()],
                )  # fmt: skip
            except OSError as error:
                log.write('{}\n'.format(error).encode())
                return 127

    def last_line(self):
        return next((line for line in reversed(lines_of(self.log)) if line.strip()), '')
