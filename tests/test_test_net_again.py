"""tools/test_net.py begun, ended in one way or another, and begun again."""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import pytest

from conftest import ROOT
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.weights.files import save_pickle
from tool_here import run_here

TOOL = 'tools/test_net.py'
NETWORK = Network('r2d', 10, clip_length=8, num_labels=7, width=0.125)
RECORDS, FAILED = 60, {3, 17, 18}
# Slow, so that there is a moment between two records; it may end itself at one of them.
DRIVER = """
import os, random, resource, runpy, signal, sys, threading, time
from r2plus1d.evaluation import evaluate
which, number, limit = sys.argv[1:4]
score, scored = evaluate.score_video, []

def slowly(*args, **options):
    time.sleep(0.02)
    scored.append(1)
    if which != 'none' and len(scored) == int(number):
        delay = random.uniform(0, 0.05)
        threading.Timer(delay, os.kill, (os.getpid(), getattr(signal, which))).start()
    return score(*args, **options)

evaluate.score_video = slowly
if which != 'none' and int(number) == 0:
    threading.Timer(random.uniform(0, 1), os.kill, (os.getpid(), signal.SIGKILL)).start()
if int(limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
sys.argv = sys.argv[4:]
sys.path.insert(0, sys.argv[0].rpartition('/')[0])
runpy.run_path(sys.argv[0], run_name='__main__')
"""


class Evaluation(NamedTuple):
    """The flags of an evaluation, and what one without interruption gives."""

    flags: list
    totals: str
    predictions: bytes
    failures: bytes


@pytest.fixture(scope='module')
def evaluation(make_video, tmp_path_factory):
    folder = tmp_path_factory.mktemp('evaluation')
    with DatabaseWriter(folder / 'db', RECORDS) as writer:
        for i in range(RECORDS):
            video = b'no video' if i in FAILED else make_video(12, seed=i % 5).read_bytes()
            writer.add(Record(video, (i % 7,), None, i))
    save_pickle(folder / 'weights.pkl', random_parameters(NETWORK, 0))
    flags = [f'--test_data={folder / "db"}', f'--load_model_path={folder / "weights.pkl"}']
    flags += ['--clip_length_rgb=8', '--clip_per_video=2', '--batch_size=3', '--max_failures=3']
    result = run_here(TOOL, *flags, f'--output={folder / "p.csv"}')
    assert result.returncode == 0, result.stderr
    assert 'videos: 60, scored: 57, failed: 3' in result.stdout
    assert not [path for path in folder.iterdir() if path.suffix in ('.journal', '.lock')]
    lists = [(folder / name).read_bytes() for name in ('p.csv', 'failures.csv')]
    return Evaluation(flags, result.stdout, *lists)


@pytest.fixture
def arguments(evaluation, tmp_path):
    return [*evaluation.flags, f'--output={tmp_path / "p.csv"}']


@pytest.fixture
def run(arguments, tmp_path):
    """Return a function that runs the tool in a process which ends itself."""

    def run(which, number, *more, limit=0):
        return subprocess.run(
            [sys.executable, '-c', DRIVER, which, str(number), str(limit), str(ROOT / TOOL)]
            + [*arguments, *more],
            capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
        )  # fmt: skip

    return run


def done(folder):
    """Records in the journal."""
    journal = folder / 'p.csv.journal'
    lines = journal.read_bytes().splitlines(keepends=True) if journal.exists() else []
    return sum(len(json.loads(line.split(b'\t')[0])) for line in lines[1:] if line.endswith(b'\n'))


def assert_same(evaluation, folder, result):
    assert result.returncode == 0, result.stderr
    assert result.stdout == evaluation.totals
    assert (folder / 'p.csv').read_bytes() == evaluation.predictions
    assert (folder / 'failures.csv').read_bytes() == evaluation.failures
    left = {path.name for path in folder.iterdir()}
    assert left == {'p.csv', 'failures.csv'}


def test_six_kills(evaluation, arguments, run, tmp_path):
    """At random moments: between two batches, in one, early in the start."""
    rng, before = random.Random(7), 0
    for number in range(6):
        result = run('SIGKILL', 0 if number == 2 else rng.randint(1, 4))
        assert result.returncode == -signal.SIGKILL, result.stderr
        assert done(tmp_path) >= before, 'what was done is done again'
        before = done(tmp_path)
    assert 3 < before < RECORDS
    result = run_here(TOOL, *arguments)
    assert f'{before} of 60 videos are done' in result.stderr
    assert_same(evaluation, tmp_path, result)


@pytest.mark.parametrize(('which', 'status'), [('SIGINT', 130), ('SIGTERM', 143), ('SIGHUP', 129)])
def test_signals_end_it_with_what_there_is(evaluation, arguments, run, tmp_path, which, status):
    result = run(which, 6)
    assert result.returncode == status, result.stderr
    scored = int(re.search(r'scored: (\d+)', result.stdout)[1])
    assert 1 < scored < 57
    assert result.stdout.startswith('partial: interrupted, ')
    assert 'p.csv.partial; the same command goes on' in result.stderr
    assert 'Traceback' not in result.stderr
    assert (tmp_path / 'p.csv.partial').read_bytes().count(b'\n') == scored + 1
    assert evaluation.predictions.startswith((tmp_path / 'p.csv.partial').read_bytes())
    assert not (tmp_path / 'p.csv.lock').exists()
    assert_same(evaluation, tmp_path, run_here(TOOL, *arguments))


def test_a_full_disk_costs_nothing_that_is_written(evaluation, arguments, run, tmp_path):
    result = run('none', 0, limit=2500)
    assert result.returncode == 1
    *_, last = result.stderr.splitlines()
    assert last == f'test_net.py: {tmp_path}/p.csv.journal: File too large'
    assert 'Traceback' not in result.stderr
    before = done(tmp_path)
    assert before > 3
    result = run_here(TOOL, *arguments)
    assert f'{before} of 60 videos are done' in result.stderr
    assert_same(evaluation, tmp_path, result)


def test_other_arguments_are_refused(evaluation, arguments, run, tmp_path):
    assert run('SIGKILL', 6).returncode == -signal.SIGKILL
    before = done(tmp_path)
    save_pickle(tmp_path / 'other.pkl', random_parameters(NETWORK, 1))
    for flag, message in (
        ('--clip_per_video=3', 'clip_per_video was 2 and is 3'),
        ('--aggregation=max', 'aggregation was mean and is max'),
        (f'--load_model_path={tmp_path / "other.pkl"}', 'load_model_path was sha256 '),
        ('--num_iter=2', 'records was not set and is 6'),
    ):
        result = run_here(TOOL, *arguments, flag)
        assert result.returncode == 1
        assert f'p.csv.journal was made with other arguments: {message}' in result.stderr
        assert 'another --output, or --overwrite=1' in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert done(tmp_path) == before
    result = run_here(TOOL, *arguments, '--overwrite=1', '--aggregation=max')
    assert 'are done' not in result.stderr
    assert result.returncode == 0


def test_another_database_is_refused(evaluation, arguments, run, tmp_path):
    assert run('SIGKILL', 6).returncode == -signal.SIGKILL
    database = pathlib.Path(evaluation.flags[0].partition('=')[2])
    shutil.copytree(database, tmp_path / 'copy', copy_function=shutil.copy)  # with its own time
    result = run_here(TOOL, *arguments, f'--test_data={tmp_path / "copy"}')
    assert 'other arguments: test_data was ' in result.stderr
    assert result.returncode == 1


def test_what_decides_nothing_may_differ(evaluation, arguments, run, tmp_path):
    assert run('SIGKILL', 6).returncode == -signal.SIGKILL
    more = ['--batch_size=5', '--num_decode_threads=1', '--display_iter=1']
    assert_same(evaluation, tmp_path, run_here(TOOL, *arguments, *more))


def test_a_failure_that_ends_the_run_is_tried_again(arguments, tmp_path):
    for _ in range(2):
        result = run_here(TOOL, *arguments, '--on_error=fail', '--max_failures=0')
        assert result.returncode == 3
        assert 'videos: 60, scored: 3, failed: 1' in result.stdout
        assert done(tmp_path) == 3


def test_the_second_run_is_told_who_holds_the_output(arguments, tmp_path):
    with (tmp_path / 'log').open('w') as log:
        process = subprocess.Popen(
            [sys.executable, '-c', DRIVER, 'none', '0', '0', str(ROOT / TOOL), *arguments],
            stdout=subprocess.DEVNULL, stderr=log,
        )  # fmt: skip
    try:
        while done(tmp_path) < 3:
            assert process.poll() is None
            time.sleep(0.002)
        result = run_here(TOOL, *arguments)
        assert result.returncode == 1
        owner = f'process {process.pid} on {os.uname().nodename} since '
        assert f'p.csv is being written by {owner}' in result.stderr
        assert len(result.stderr.splitlines()) == 1
        other = run_here(TOOL, *arguments[:-1], f'--failures={tmp_path / "failures.csv"}')
        assert f'failures.csv is being written by {owner}' in other.stderr
        assert 'or name another place: --failures=PATH' in other.stderr
    finally:
        process.kill()
        process.wait()


def test_a_run_that_is_refused_leaves_nothing(evaluation, tmp_path):
    for flags in (['--gpus=97'], ['--clip_length_rgb=16'], ['--clip_start_positions=-1']):
        with contextlib.suppress(SystemExit):
            run_here(TOOL, *evaluation.flags, f'--output={tmp_path / "new" / "p.csv"}', *flags)
        assert list(tmp_path.iterdir()) == [], flags


def test_who_reads_the_totals_may_be_gone(evaluation, arguments, tmp_path):
    command = [sys.executable, str(ROOT / TOOL), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert 'Traceback' not in errors
    assert 'BrokenPipe' not in errors
    assert (tmp_path / 'p.csv').read_bytes() == evaluation.predictions
    assert not (tmp_path / 'p.csv.journal').exists()
