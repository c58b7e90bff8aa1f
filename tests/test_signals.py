"""How a program ends when it is told to, or when what it needs is not there."""

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import types

import pytest

from conftest import ROOT
from r2plus1d.cli import signals
from r2plus1d.cli.python import lack_of_memory

STATUS = {'SIGINT': 130, 'SIGTERM': 143, 'SIGHUP': 129}
LINE = {'SIGINT': 'interrupted', 'SIGTERM': 'ended by SIGTERM', 'SIGHUP': 'ended by SIGHUP'}
# Programs that say when they are ready.
# They wait a little at a time: Python does not see a signal that comes just before a system call.
WAITS = """
import sys, time
from r2plus1d.cli.main import run
def main():
    try:
        print('ready', flush=True)
        for _ in range(600): time.sleep(0.1)
    finally:
        print('saved', flush=True)
run(main)
"""
FAILS = """
import time
from r2plus1d.cli.main import run
from r2plus1d.errors import BackendError
def main():
    try:
        print('ready', flush=True)
        for _ in range(600): time.sleep(0.1)
    except KeyboardInterrupt:
        raise BackendError('a process of ours ended too')
run(main)
"""
# After the first signal a thread pool waits for ever.
HANGS = """
import concurrent.futures, threading
from r2plus1d.cli.main import run
def main():
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.submit(threading.Event().wait)
    try:
        print('ready', flush=True)
        for _ in range(600): threading.Event().wait(0.1)
    finally:
        print('ending', flush=True)
        pool.shutdown(wait=True)
run(main)
"""
WITH_CHILD = """
import multiprocessing, sys, threading, time
from r2plus1d.cli.main import run
def main():
    child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
    child.start()
    try:
        print('ready', child.pid, flush=True)
        for _ in range(600): threading.Event().wait(0.1)
    finally:
        print('ending', flush=True)
        threading.Event().wait()
run(main)
"""
FORKS = """
import multiprocessing, time
from r2plus1d.cli.main import run
def main():
    print('ready', flush=True)
    for _ in range(2):
        child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))
        child.start()
        child.terminate()
        child.join()
        time.sleep(0.3)
    print(child.exitcode, flush=True)
run(main)
"""
SPAWNS = """
import multiprocessing, time
from r2plus1d.cli import python
from r2plus1d.cli.main import run
python.watch()
def wait(pipe):
    pipe.send(None)
    time.sleep(60)
def main():
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    child = context.Process(target=wait, args=(theirs,))
    child.start()
    ours.recv()
    child.terminate()
    child.join()
    print(child.exitcode)
if __name__ == '__main__':
    run(main)
"""
AFTER_MAIN = """
import sys, threading
from r2plus1d.cli import python
from r2plus1d.cli.main import run
python.watch()
threading.Thread(target=threading.Event().wait).start()
run(lambda: print('ready', flush=True))
"""
IMPORTS = """
import sys, time
from r2plus1d.cli import python
python.watch()
try:
    print('ready', flush=True)
    for _ in range(600): time.sleep(0.1)
except BaseException:
    raise ImportError('what a package makes of an interruption')
"""


@pytest.fixture
def start():
    """Return a function that starts a program and waits until it is ready."""
    started = []

    def start(code, before=None):
        process = subprocess.Popen(
            [sys.executable, '-c', code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=before, start_new_session=True,
        )  # fmt: skip
        started.append(process)
        first = process.stdout.readline()
        assert first.startswith('ready'), process.communicate()
        process.first = first
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize('name', STATUS)
@pytest.mark.parametrize(('code', 'out'), [(WAITS, 'saved\n'), (FAILS, ''), (IMPORTS, '')])
def test_a_signal_is_one_line_and_its_status(start, name, code, out):
    process = start(code)
    process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=30) == (out, f'-c: {LINE[name]}\n')
    assert process.returncode == STATUS[name]


@pytest.mark.parametrize('name', STATUS)
def test_a_second_signal_ends_what_waits_for_ever(start, name):
    process = start(HANGS)
    process.send_signal(getattr(signal, name))
    assert process.stdout.readline() == 'ending\n'
    threading.Event().wait(signals.SECONDS_OF_ONE_SIGNAL + 0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    assert process.stderr.read() == '-c: interrupted again, and ended at once\n'


def test_a_second_signal_ends_what_a_first_one_does_not_reach(start):
    """The main thread is in C code, which it does not leave for a signal."""
    process = start(
        'import ctypes\n'
        'from r2plus1d.cli.main import run\n'
        'def main():\n'
        '    print("ready", flush=True)\n'
        '    libc, lock = ctypes.CDLL(None), ctypes.create_string_buffer(64)\n'
        '    libc.pthread_mutex_lock(lock)\n'
        '    libc.pthread_mutex_lock(lock)\n'
        'run(main)\n'
    )
    threading.Event().wait(0.3)
    process.send_signal(signal.SIGINT)
    threading.Event().wait(signals.SECONDS_OF_ONE_SIGNAL + 0.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_children_end_with_it(start):
    process = start(WITH_CHILD)
    child = int(process.first.split()[1])
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == 'ending\n'
    threading.Event().wait(signals.SECONDS_OF_ONE_SIGNAL + 0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    # What it holds open closes with it: the pipes end when the child has gone too.
    process.communicate(timeout=30)
    with pytest.raises(ProcessLookupError):
        for _ in range(300):
            os.kill(child, 0)
            threading.Event().wait(0.1)


def test_what_a_child_is_told_is_not_told_to_its_parent(start):
    process = start(FORKS)
    assert process.communicate(timeout=30)[0] == f'-{signal.SIGTERM:d}\n'
    assert process.returncode == 0


def test_a_process_that_imports_the_program_ends_without_a_word(tmp_path):
    program = tmp_path / 'program.py'
    program.write_text(SPAWNS)
    result = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stderr) == (0, '')
    assert result.stdout == f'-{signal.SIGTERM:d}\n'


def test_one_signal_that_comes_twice_is_one(start):
    """As `timeout` sends it."""
    process = start(WAITS)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=30)
    assert (out, errors) == ('saved\n', '-c: ended by SIGTERM\n')
    # Where the second one comes as Python ends, the system obeys it; a shell says 143 of both.
    assert process.returncode in (143, -signal.SIGTERM)


@pytest.mark.parametrize(('times', 'ends'), [((5.0, 5.0), 0), ((5.0, 5.05), 0), ((5.0, 5.2), 1)])
def test_what_comes_with_the_first_signal_is_no_second_one(monkeypatch, times, ends):
    ended, clock = [], iter(times)
    monkeypatch.setattr(signals, '_end', lambda number, words: ended.append((number, words)))
    monkeypatch.setattr(signals, 'time', types.SimpleNamespace(monotonic=lambda: next(clock)))
    ours, theirs = os.pipe()
    os.write(theirs, bytes([signal.SIGTERM, signal.SIGCHLD, signal.SIGTERM]))
    os.close(theirs)
    signals._watch(ours)
    assert ended == [(signal.SIGTERM, 'ended by SIGTERM again, and ended at once')] * ends


def test_a_thread_that_is_left_at_the_end_does_not_keep_it(start):
    process = start(AFTER_MAIN)
    threading.Event().wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130


def test_what_was_ignored_stays_ignored(start):
    def ignore():
        for name in STATUS:
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    process = start(WAITS.replace('range(600)', 'range(10)'), ignore)
    for name in STATUS:
        process.send_signal(getattr(signal, name))
    assert process.communicate(timeout=30) == ('saved\n', '')
    assert process.returncode == 0


BACK = """
import os, signal, threading
from r2plus1d.cli import signals
before = [signal.getsignal(number) for number in signals.WORDS]
with signals.raised() as told:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(10)
    except KeyboardInterrupt:
        print(told.status)
print([signal.getsignal(number) for number in signals.WORDS] == before, signal.set_wakeup_fd(-1))
"""


def test_what_handled_the_signals_before_does_so_again():
    done = subprocess.run([sys.executable, '-c', BACK], capture_output=True, text=True, check=True)
    assert done.stdout == '143\nTrue -1\n'


def test_another_thread_changes_no_handler():
    seen = []

    def use():
        with signals.raised() as told:
            seen.append((told.number, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [(None, before)]


# What is not there

TOOLS = sorted(
    path.relative_to(ROOT).as_posix() for folder in ('tools', 'data')
    for path in (ROOT / folder).glob('[!_]*.py')
)  # fmt: skip


def limited():
    resource.setrlimit(resource.RLIMIT_AS, (150 << 20, 150 << 20))


@pytest.mark.parametrize('tool', TOOLS)
def test_too_little_memory_at_the_start_is_one_line(start_tool, tool):
    result = start_tool(tool, preexec_fn=limited)
    name = tool.partition('/')[2]
    if result.returncode == 0:  # it needs little
        assert result.stderr == ''
        return
    if result.returncode == 130 and 'OpenBLAS' in result.stderr:
        return  # which says so, and interrupts the program
    assert result.returncode in (1, 2), result.stderr
    # Python says the first words itself, where it has no memory for the others.
    of_python = '(Exception ignored in sys.unraisablehook)?'
    assert re.fullmatch(f'{of_python}{name}: .*\n', result.stderr), result.stderr
    if result.returncode == 1:
        assert 'not enough memory' in result.stderr


@pytest.mark.parametrize(
    'said',
    [
        'error return without exception set',
        '<function _find_and_load at 0x7f1675798400> returned NULL without setting an exception',
        'slot sq_length of type list failed without setting an exception',
    ],
)
def test_a_memory_error_that_python_loses_is_named(said):
    assert lack_of_memory(SystemError(said)).startswith('not enough memory')


def test_other_errors_of_python_are_not_a_lack_of_memory():
    assert lack_of_memory(SystemError('bad argument')) is None


def shell(command, tmp_path):
    bash = shutil.which('bash')
    if bash is None:
        pytest.skip('bash is not installed')
    return subprocess.run(
        [bash, '-c', command], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )


SHOWS = f'{sys.executable} {ROOT}/tools/show_net.py --width=0.125'


@pytest.mark.parametrize(
    ('command', 'status', 'errors'),
    [
        (f'{SHOWS} | head -0; exit ${{PIPESTATUS[0]}}', 1, ''),
        (f'{SHOWS} 2>&1 | head -0; exit ${{PIPESTATUS[0]}}', 1, ''),
        (f'{SHOWS} >&-', 0, 'show_net.py: stdout is closed: the results are not printed\n'),
        (f'{SHOWS} >/dev/full', 1, 'show_net.py: output: No space left on device\n'),
        (f'{SHOWS} >&- 2>&-', 0, ''),
    ],
)
def test_output_that_nobody_takes(tmp_path, command, status, errors):
    result = shell(command, tmp_path)
    assert (result.returncode, result.stderr) == (status, errors)


def test_closed_streams_do_not_become_the_files_that_are_opened(tmp_path):
    code = (
        'from r2plus1d.cli import python\n'
        'python.watch()\n'
        'print(open("x", "w").fileno() > 2, file=open("y", "w"))\n'
    )
    program = tmp_path / 'program.py'
    program.write_text(code)
    result = shell(f'{sys.executable} {program} <&- >&- 2>&-', tmp_path)
    assert result.returncode == 0
    assert (tmp_path / 'y').read_text() == 'True\n'
