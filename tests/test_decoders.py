"""Processes that decode: what comes back, and that whatever happens to them stays with them."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest

import bad_decoders
from conftest import ROOT, write_narrow
from r2plus1d.errors import BackendError, InputError, RecordError
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.budget import DEFAULT_BUDGET, Budget
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import Decoders
from r2plus1d.video.read_clips import read_clips

NEEDS = RecordNeeds(num_labels=None)
UNIFORM = ClipSettings(length=8, clips=3)
STARTS = ClipSettings(length=8, decode_type='start')
PATIENCE = 60  # seconds in which what must happen happens, on a machine that is busy


@pytest.fixture(scope='module')
def decoders():
    return Decoders()


def test_without_a_current_folder_other_paths_are_good(decoders, tmp_path, monkeypatch, make_video):
    video = make_video(20)
    (tmp_path / 'gone').mkdir()
    monkeypatch.chdir(tmp_path / 'gone')
    (tmp_path / 'gone').rmdir()
    clips = decoders.call(DEFAULT_BUDGET, read_clips, str(video), UNIFORM)
    assert len(clips.pixels) == 3
    reason = failure(decoders, read_clips, video.name, UNIFORM)
    assert 'missing file' in reason


def test_no_temporary_folder_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'none'))
    assert Decoders().call(DEFAULT_BUDGET, bad_decoders.add, 2, b=5) == 7


def failure(decoders, function, *args, budget=DEFAULT_BUDGET):
    with pytest.raises(RecordError) as caught:
        decoders.call(budget, function, *args)
    return caught.value.reason


def has_ended(process):
    """Whether a process has gone, or is about to be taken away."""
    try:
        state = pathlib.Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return True
    return state in 'ZX'


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_values_and_arguments_come_through(decoders):
    assert decoders.call(DEFAULT_BUDGET, bad_decoders.add, 2, b=5) == 7
    assert decoders.call(DEFAULT_BUDGET, bad_decoders.echo, b'x' * 3_000_000) == b'x' * 3_000_000


@pytest.mark.parametrize('shapes', [[(3, 5)], [(0,)], [(7,), (0, 3), (1000, 1001)], []])
def test_arrays_come_through_and_can_be_written_to(decoders, shapes):
    found = decoders.call(DEFAULT_BUDGET, bad_decoders.arrays, *shapes)
    for array, expected in zip(found, bad_decoders.arrays(*shapes)):
        np.testing.assert_array_equal(array, expected)
        assert array.dtype == np.float32 and array.ctypes.data % 64 == 0 or not array.size
        array += 1
    again = decoders.call(DEFAULT_BUDGET, bad_decoders.arrays, *shapes)
    assert all(map(np.array_equal, again, bad_decoders.arrays(*shapes)))


def test_clips_are_those_of_this_process(decoders, make_video):
    path = make_video(40)
    here = read_clips(path, UNIFORM)
    there = decoders.call(DEFAULT_BUDGET, read_clips, path.read_bytes(), UNIFORM)
    for name, value in vars(here).items():
        np.testing.assert_array_equal(getattr(there, name), value)


def test_a_path_counts_from_where_the_program_is(decoders, make_video, monkeypatch):
    path = make_video(40)
    for folder in (path.parent, path.parents[1]):
        monkeypatch.chdir(folder)
        name = str(path.relative_to(folder))
        assert len(decoders.call(DEFAULT_BUDGET, read_clips, name, UNIFORM).starts) == 3


@pytest.mark.parametrize(
    'function, args, budget, reason',
    [
        (bad_decoders.crash, (), {}, r'the decoder crashed \(SIGSEGV\)'),
        (bad_decoders.kill, (signal.SIGABRT,), {}, r'the decoder crashed \(SIGABRT\)'),
        (bad_decoders.kill, (signal.SIGKILL,), {}, r'was killed \(SIGKILL\)'),
        (bad_decoders.leave, (3,), {}, 'ended with status 3'),
        (bad_decoders.take, (2**31,), {'memory': 2**30}, 'not enough memory to decode it'),
        (bad_decoders.sleep, (600,), {'seconds': 0.1}, 'over budget: no frame within 4 seconds'),
    ],
)
def test_the_failure_of_a_process_is_its_records(decoders, function, args, budget, reason):
    decoders.call(DEFAULT_BUDGET, bad_decoders.add, 1)
    with pytest.raises(RecordError, match=reason):
        decoders.call(Budget(**budget), function, *args)
    assert decoders.call(DEFAULT_BUDGET, bad_decoders.add, 1) == 2


def test_a_decoder_that_does_not_return_is_ended(decoders, monkeypatch):
    monkeypatch.setattr('r2plus1d.video.decoders.CLOCK_SECONDS', 1000)
    reason = failure(decoders, bad_decoders.spin, budget=Budget(seconds=-9))
    assert reason.startswith('over budget: decoding took more than')


def test_errors_are_as_they_were_raised(decoders):
    assert failure(decoders, bad_decoders.raises, RecordError('too dark')) == 'too dark'
    with pytest.raises(InputError, match='no such flag'):
        decoders.call(DEFAULT_BUDGET, bad_decoders.raises, InputError('no such flag'))
    with pytest.raises(RuntimeError, match='ZeroDivisionError: by nought'):
        decoders.call(DEFAULT_BUDGET, bad_decoders.raises, ZeroDivisionError('by nought'))


def test_a_process_goes_on_with_the_next_call(decoders):
    processes = {decoders.call(DEFAULT_BUDGET, bad_decoders.process) for _ in range(5)}
    assert len(processes) == 1 and os.getpid() not in processes
    failure(decoders, bad_decoders.raises, RecordError('too dark'))
    assert {decoders.call(DEFAULT_BUDGET, bad_decoders.process)} == processes


def test_one_that_was_killed_while_it_waited_is_nobodys_failure(decoders):
    process = decoders.call(DEFAULT_BUDGET, bad_decoders.process)
    os.kill(process, signal.SIGKILL)
    wait_for(lambda: has_ended(process))
    assert decoders.call(DEFAULT_BUDGET, bad_decoders.process) != process


def test_calls_of_several_threads_do_not_wait_for_each_other(decoders):
    barrier, found = threading.Barrier(3), []

    def call():
        barrier.wait(PATIENCE)
        for _ in range(20):
            found.append(decoders.call(DEFAULT_BUDGET, bad_decoders.arrays, (99, 99))[0].sum())

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert found == [bad_decoders.arrays((99, 99))[0].sum()] * 60


def test_streams_end_fail_and_crash_where_they_do(decoders):
    assert list(decoders.stream(DEFAULT_BUDGET, bad_decoders.count, 4)) == [0, 1, 2, 3]
    made = decoders.stream(DEFAULT_BUDGET, bad_decoders.count, 2, bad_decoders.crash)
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(RecordError, match='SIGSEGV'):
        next(made)
    assert list(decoders.stream(DEFAULT_BUDGET, bad_decoders.count, 1)) == [0]


def test_a_stream_is_at_most_one_item_ahead_and_ends_when_it_is_left(decoders, tmp_path):
    path = tmp_path / 'made'
    made = decoders.stream(DEFAULT_BUDGET, bad_decoders.note, path, 1000)
    assert next(made) == 0
    wait_for(lambda: len(path.read_text().split()) == 2)
    time.sleep(0.2)
    assert path.read_text().split() == ['0', '1']
    made.close()
    assert decoders.call(DEFAULT_BUDGET, bad_decoders.add, 1) == 2
    assert path.read_text().split() == ['0', '1']


def test_signals_to_the_group_do_not_end_what_decodes(decoders):
    process = decoders.call(DEFAULT_BUDGET, bad_decoders.process)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(process, number)
    assert decoders.call(DEFAULT_BUDGET, bad_decoders.process) == process


def parent_of(process):
    return int(pathlib.Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[1])


def test_an_interruption_between_question_and_answer_leaves_no_answer_to_the_next():
    decoders = Decoders()
    process = decoders.call(DEFAULT_BUDGET, bad_decoders.process)
    source = parent_of(process)
    os.kill(source, signal.SIGSTOP)
    os.kill(process, signal.SIGKILL)  # so that the next call asks how it ended, and for another
    wait_for(lambda: has_ended(process))
    main = threading.get_ident()
    end = threading.Timer(0.5, signal.pthread_kill, [main, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt):
        end.start()
        decoders.call(DEFAULT_BUDGET, bad_decoders.process)
    end.join()
    os.kill(source, signal.SIGCONT)
    for _ in range(2):
        assert 'SIGSEGV' in failure(decoders, bad_decoders.crash)
        assert parent_of(decoders.call(DEFAULT_BUDGET, bad_decoders.process)) != source
    wait_for(lambda: has_ended(source))


def test_what_makes_the_processes_may_be_killed():
    decoders = Decoders()
    source = parent_of(decoders.call(DEFAULT_BUDGET, bad_decoders.process))
    made = decoders.stream(DEFAULT_BUDGET, bad_decoders.count, 2, bad_decoders.crash)
    assert next(made) == 0
    os.kill(source, signal.SIGKILL)
    wait_for(lambda: has_ended(source))
    assert next(made) == 1
    with pytest.raises(RecordError, match='the process that decoded it has gone'):
        next(made)
    assert 'SIGSEGV' in failure(decoders, bad_decoders.crash)


@pytest.mark.parametrize('seconds', [0, 0.05, 0.2])
def test_ctrl_c_at_a_terminal_does_not_end_the_start(seconds):
    """It goes to the whole group, while the first process is on its way."""
    done = subprocess.run(
        [sys.executable, '-c', GROUP, str(ROOT / 'tests'), str(seconds)],
        start_new_session=True, capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, '3\n'), done.stderr


GROUP = """
import contextlib, os, signal, sys, time
sys.path.insert(0, sys.argv[1])
import bad_decoders
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS

DECODERS.prepare()
with contextlib.suppress(KeyboardInterrupt):
    time.sleep(float(sys.argv[2]))
    os.killpg(0, signal.SIGINT)
    time.sleep(1)
print(DECODERS.call(DEFAULT_BUDGET, bad_decoders.add, 1, 2))
"""

FORKED = """
import multiprocessing.util, sys
sys.path.insert(0, sys.argv[1])
import bad_decoders
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS

DECODERS.call(DEFAULT_BUDGET, bad_decoders.add, 1, 2)
pool = multiprocessing.get_context('fork').Pool(1)
print('done')
"""


def test_a_program_with_forks_of_its_own_ends():
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', FORKED, str(ROOT / 'tests')],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, 'done\n'), done.stderr


MANY = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import bad_decoders
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, most))
held = [DECODERS.call(DEFAULT_BUDGET, bad_decoders.arrays, (99, 99)) for _ in range(100)]
resource.setrlimit(resource.RLIMIT_NOFILE, (1200, max(1200, most)))
files = [open('/dev/null') for _ in range(1100)]
for _ in range(2):
    try:
        DECODERS.call(DEFAULT_BUDGET, bad_decoders.crash)
    except Exception as error:
        print(type(error).__name__)
    print(len(held), DECODERS.call(DEFAULT_BUDGET, bad_decoders.add, 1, 2))
"""


def test_clips_that_wait_hold_no_files_and_many_files_are_no_hindrance():
    done = subprocess.run(
        [sys.executable, '-c', MANY, str(ROOT / 'tests')],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.stdout == 2 * 'RecordError\n100 3\n', done.stderr


PROGRAM = """
import contextlib, os, signal, sys, threading
sys.path.insert(0, sys.argv[1])
import bad_decoders
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS

print(DECODERS.call(DEFAULT_BUDGET, bad_decoders.process), flush=True)
if sys.argv[2] == 'busy':
    def call():
        with contextlib.suppress(Exception):
            DECODERS.call(DEFAULT_BUDGET, bad_decoders.sleep, 600)
    threading.Thread(target=call, daemon=True).start()
    sys.stdin.read(1)
if sys.argv[2] == 'killed':
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize('how', ['ends', 'busy', 'killed'])
def test_nothing_is_left_of_a_program_that_ended(how):
    command = [sys.executable, '-c', PROGRAM, str(ROOT / 'tests'), how]
    ended = subprocess.run(
        command, input='x', capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (ended.returncode, ended.stderr) == (-9 if how == 'killed' else 0, '')
    wait_for(lambda: has_ended(int(ended.stdout)))


def test_a_script_without_a_main_guard_can_use_it(tmp_path):
    (tmp_path / 'plain.py').write_text(PROGRAM)
    command = [sys.executable, 'plain.py', str(ROOT / 'tests'), 'ends']
    ended = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.returncode == 0 and len(ended.stdout.splitlines()) == 1


def test_processes_that_do_not_start_are_named(monkeypatch):
    monkeypatch.setattr('r2plus1d.video.decoders.PROGRAM', 'import no_such_package')
    with pytest.raises(BackendError, match="no process to decode in: .*No module named 'no_such"):
        Decoders().call(DEFAULT_BUDGET, bad_decoders.add, 1)


def test_modules_of_the_current_folder_do_not_run(tmp_path, monkeypatch):
    (tmp_path / 'json.py').write_text(f'open({str(tmp_path / "ran")!r}, "w").close()')
    monkeypatch.chdir(tmp_path)
    assert Decoders().call(DEFAULT_BUDGET, bad_decoders.add, 1) == 2
    assert not (tmp_path / 'ran').exists()


UNGUARDED = """
from r2plus1d.video import convert
convert.MAX_ROWS_TO_ONE = 10**9
"""


@pytest.fixture
def crashing(tmp_path, monkeypatch, replace_decoders):
    """A video on which swscale crashes, where the guard that refuses it is off."""
    folder = tmp_path / 'unguarded'
    folder.mkdir()
    (folder / 'sitecustomize.py').write_text(UNGUARDED)
    search = [str(folder), str(ROOT / 'lib'), os.environ.get('PYTHONPATH', '')]
    monkeypatch.setenv('PYTHONPATH', os.pathsep.join(search))
    replace_decoders(Decoders())  # whose processes begin in this environment
    path = tmp_path / 'tall.mkv'
    frames = (np.full((65000, 1, 3), 60 * i, np.uint8) for i in range(4))
    write_narrow(path, frames)
    return path


def test_a_crash_within_a_database_costs_its_record(crashing, make_video, make_database):
    videos = [make_video(40), crashing, make_video(30), crashing, make_video(40)]
    path = make_database([(v.read_bytes(), 0, 0) for v in videos])
    for settings in (ClipSettings(length=2, clips=1), ClipSettings(length=2, decode_type='start')):
        with DatabaseSource(path, settings, NEEDS, threads=2) as source:
            found = [sample.failure for sample in source]
        assert [bool(reason) for reason in found] == [False, True, False, True, False]
        assert found[1] == found[3] == 'the decoder crashed (SIGSEGV)'


def test_clips_before_a_crash_are_given_and_those_after_it_fail(
    make_video, make_database, monkeypatch
):
    video = make_video(40).read_bytes()
    path = make_database([(video, 0, start) for start in (0, 8, 16)])
    monkeypatch.setattr('r2plus1d.sources.grouped.starting_clips', crashing_after_one)
    with DatabaseSource(path, STARTS, NEEDS, by_video=True) as source:
        found = [sample.failure for sample in source]
    assert found == [None, *['the decoder crashed (SIGSEGV)'] * 2]


def crashing_after_one(source, settings, starts):
    from r2plus1d.video.start_clips import starting_clips

    yield next(starting_clips(source, settings, starts))
    bad_decoders.crash()


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
import bad_decoders
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.decoders import DECODERS

assert len(DECODERS.call(DEFAULT_BUDGET, bad_decoders.arrays, (999, 99))[0]) == 999
"""


def test_a_limit_of_files_is_none_of_clips():
    command = [sys.executable, '-c', LIMITED, str(ROOT / 'tests')]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (ended.returncode, ended.stderr) == (0, '')
