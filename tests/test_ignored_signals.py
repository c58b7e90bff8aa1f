"""The tests of signals also hold behind nohup, and after tests that set handlers."""

import os
import signal
import subprocess
import sys

from conftest import ROOT

TESTS = """
import signal, subprocess, sys, time
import pytest

CODE = 'import time; print(flush=True); time.sleep(60)'

@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGHUP])
def test_it_ends(number):
    with subprocess.Popen([sys.executable, '-c', CODE], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) != 0

def test_this_process_goes_on():
    signal.raise_signal(signal.SIGHUP)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

def test_one_sets_a_handler():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))

def test_the_next_one_has_it_no_more():
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
"""


def ignore():
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def test_what_tests_start_can_be_ended(tmp_path):
    (tmp_path / 'test_it.py').write_text(TESTS)
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'conftest', '-p', 'no:cacheprovider']
    folders = os.pathsep.join([str(ROOT / 'tests'), str(ROOT / 'lib')])
    done = subprocess.run(
        [*command, tmp_path], capture_output=True, text=True, check=False, preexec_fn=ignore,
        cwd=tmp_path, env={**os.environ, 'PYTHONPATH': folders},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
