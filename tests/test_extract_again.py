"""tools/extract_features.py begun, ended in one way or another, and begun again."""

import os
import pathlib
import pickle
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import pytest

from conftest import ROOT
from extraction import START, TOOL, rows_of, run_here, save_weights
from r2plus1d.backends.installed import has
from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.errors import InputError
from r2plus1d.features import extract
from r2plus1d.features.store import Store
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds, Sample
from r2plus1d.weights.files import save_pickle

# Programs begin soonest with the first of them.
ENGINE = next(name for name in ('openvino', 'caffe2', 'torch') if has(name))
CLIPS, FAILED = 160, {3, 77, 78}
NETWORK = Network('r2d', 10, clip_length=8, num_labels=8, width=0.0625)
PARAMETERS = random_parameters(NETWORK, 0)
FLAGS = (
    '--model_name=r2d', '--model_depth=10', '--width=0.0625', '--clip_length_rgb=8',
    '--num_labels=8', f'--engine={ENGINE}',
)  # fmt: skip
# The journal is written after each batch, so that there is something to go on with early.
DRIVER = """
import runpy, signal, sys, time
from r2plus1d.features import store

def add_and_act(self, entries, arrays):
    add(self, entries, arrays)
    if self.done >= {after}:
        store.Store.add = add
        {action}

add, store.Store.add = store.Store.add, add_and_act
store.SECONDS_BETWEEN_SYNCS = 0
if {after} == 0:
    {action}
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition('/')[0])
runpy.run_path(sys.argv[0], run_name='__main__')
"""
HOLD = 'while True: time.sleep(0.02)'  # until a signal comes, to whichever thread
# The signal of this timer ends a process as SIGKILL does. It counts the time of the process alone,
# so that others on the machine do not matter.
DIE = 'signal.setitimer(signal.ITIMER_PROF, {:f})'


class Extraction(NamedTuple):
    """A database, the flags of an extraction of it, and what one without interruption gives."""

    database: pathlib.Path
    flags: list
    pickle: bytes
    rows: bytes


@pytest.fixture(scope='module')
def extraction(make_video, tmp_path_factory):
    folder = tmp_path_factory.mktemp('extraction')
    videos = [make_video(60, suffix, g=12, seed=i) for i, suffix in enumerate(('mp4', 'mkv'))]
    videos.append(make_video(70, 'avi', g=12))
    rng = random.Random(0)
    with DatabaseWriter(folder / 'db', CLIPS) as writer:
        for i in range(CLIPS):
            start = 1000 if i in FAILED else rng.randrange(50)
            writer.add(Record(os.fsencode(videos[i % 3]), (i % 8,), start, i))
    flags = [*FLAGS, save_weights(folder, PARAMETERS), '--use_local_file=1', '--batch_size=4']
    flags += ['--features=softmax,label,video_id,start_frame', '--max_failures=3']
    place = [f'--test_data={folder / "db"}', f'--output_path={folder / "f.pkl"}']
    result = run_here(*place, *flags)
    assert result.returncode == 0, result.stderr
    rows = (folder / 'f.rows.csv').read_bytes()
    return Extraction(folder / 'db', flags, (folder / 'f.pkl').read_bytes(), rows)


@pytest.fixture
def arguments(extraction, tmp_path):
    place = [f'--test_data={extraction.database}', f'--output_path={tmp_path / "f.pkl"}']
    return [*place, *extraction.flags]


@pytest.fixture
def begin(arguments, tmp_path):
    """Return a function that begins an extraction in a process, which acts after some records."""
    begun = []

    def run(*more, after, action):
        driver = DRIVER.format(after=after, action=action)
        with (tmp_path / 'log').open('w') as log:
            process = subprocess.Popen(
                [sys.executable, '-c', driver, str(ROOT / TOOL), *arguments, *more],
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        begun.append(process)
        return process

    yield run
    for process in begun:
        if process.poll() is None:
            process.kill()
        process.wait()


def done(folder):
    journal = folder / 'f.pkl.partial' / 'journal.jsonl'
    return journal.read_bytes().count(b'\n') if journal.exists() else 0


def wait_for(folder, records, process):
    """Wait until so many records are in the journal."""
    while done(folder) < records:
        assert process.poll() is None, (folder / 'log').read_text()
        time.sleep(0.002)


def assert_same(extraction, folder):
    assert (folder / 'f.pkl').read_bytes() == extraction.pickle
    assert (folder / 'f.rows.csv').read_bytes() == extraction.rows
    assert not (folder / 'f.pkl.partial').exists()
    assert len(rows_of(folder / 'f.failures.csv')) == 3


def test_four_kills(extraction, arguments, begin, tmp_path):
    """At random moments: between two batches, in one, in the first ones, early in the start."""
    rng, killed, before = random.Random(7), [], 0
    for number in range(4):
        if number == 2:  # before it has come to anything
            process = begin(after=0, action=DIE.format(rng.uniform(0.1, 0.5)))
        else:
            action = DIE.format(rng.uniform(0.001, 0.05))
            process = begin(after=before + rng.randint(1, 16), action=action)
        killed.append(process.wait(300) == -signal.SIGPROF)
        before = done(tmp_path)
        assert before < CLIPS or not (tmp_path / 'f.pkl').exists()
    assert all(killed)
    assert 10 < before < CLIPS
    result = run_here(*arguments)
    assert result.returncode == 0, result.stderr
    assert f'{before} of 160 records are done' in result.stderr
    assert 'records: 160, extracted: 157, failed: 3' in result.stdout
    assert_same(extraction, tmp_path)


def test_an_interruption(extraction, arguments, begin, tmp_path):
    process = begin(after=8, action=HOLD)
    wait_for(tmp_path, 8, process)
    second = run_here(*arguments)
    assert second.returncode == 1
    owner = f'process {process.pid} on {os.uname().nodename} since '
    message = f'{tmp_path / "f.pkl.partial"} is being written by {owner}'
    assert second.stderr.startswith(f'extract_features.py: {message}')
    assert len(second.stderr.splitlines()) == 1
    assert message in run_here(*arguments, '--overwrite=1').stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    log = (tmp_path / 'log').read_text()
    assert log.splitlines()[-2:] == [
        f'{done(tmp_path)} of 160 records are in {tmp_path / "f.pkl.partial"}; '
        'the same command continues',
        'extract_features.py: interrupted',
    ]
    assert 8 <= done(tmp_path) < CLIPS
    assert not (tmp_path / 'f.pkl').exists()
    refused = run_here(*arguments, '--scale_h=130', '--features=softmax')
    assert refused.returncode == 1
    assert (
        'f.pkl.partial was made with other arguments: '
        'features was softmax,label,video_id,start_frame and is softmax; '
        'scale_h was 128 and is 130. Give the same' in refused.stderr
    )
    assert len(refused.stderr.splitlines()) == 1
    before = done(tmp_path)
    changed = ['--batch_size=7', '--num_decode_threads=1']
    changed += [] if ENGINE == 'torch' else ['--cpu_replicas=2']
    result = run_here(*arguments, *changed)
    assert result.returncode == 0
    assert f'{before} of 160 records are done' in result.stderr
    assert_same(extraction, tmp_path)


def test_threads_end_before_the_database_is_closed(extraction, tmp_path):
    class Engine:
        network = NETWORK

        def run(self, pixels):
            raise KeyboardInterrupt

    settings = extract.ExtractionSettings(batch_size=4, threads=3)
    columns = extract.columns(NETWORK, ['softmax'])
    numbers = {'num_records': CLIPS, 'rows': 1, 'batch': 4}
    left = None
    with (
        DatabaseSource(
            extraction.database, START, RecordNeeds(8, use_local_file=True), by_video=True
        ) as source,
        Store(tmp_path / 'f.partial', columns, arguments={}, **numbers) as store,
    ):
        try:
            extract.extract(source, Engine(), store, settings)
        except KeyboardInterrupt:  # until this ends, it keeps alive what is not closed
            names = [thread.name for thread in threading.enumerate()]
            left = [name for name in names if name.startswith('decode')]
    assert left == []


def test_records_that_vanish_are_noticed(tmp_path):
    class Source:
        settings = START

        def __len__(self):
            return 3

        def samples(self, first, **options):
            yield from (Sample(i, str(i), failure='bad') for i in range(first, 2))

    columns = extract.columns(NETWORK, ['start_frame'])
    settings = extract.ExtractionSettings(batch_size=4)
    message = 'the database changed during the run: 3 records at its start, 2 read'
    with (
        Store(tmp_path / 'f.partial', columns, num_records=3, rows=1, arguments={}) as store,
        pytest.raises(InputError, match=message),
    ):
        extract.extract(Source(), None, store, settings)


def test_an_interruption_says_what_beginning_again_does(begin, tmp_path):
    process = begin('--overwrite=1', after=1, action=HOLD)
    wait_for(tmp_path, 1, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == 130
    assert 'the same command begins again\n' in (tmp_path / 'log').read_text()


def test_a_folder_that_was_killed(extraction, arguments, begin, tmp_path):
    flags = ['--output_format=npy', '--features=start_frame', '--sanity_check=0']
    process = begin(*flags, after=4, action=HOLD)
    wait_for(tmp_path, 4, process)
    process.kill()
    process.wait()
    result = run_here(*arguments, *flags)
    assert result.returncode == 0, result.stderr
    rows = (tmp_path / 'f.pkl' / 'rows.csv').read_text().splitlines()
    assert rows == [row.rsplit(',', 2)[0] for row in extraction.rows.decode().splitlines()]


@pytest.fixture
def quick(extraction, tmp_path):
    """Arguments of an extraction that needs no network, and is complete."""
    place = [f'--test_data={extraction.database}', f'--output_path={tmp_path / "f.pkl"}']
    flags = [*FLAGS, '--use_local_file=1', '--features=start_frame', '--max_failures=3']
    assert run_here(*place, *flags).returncode == 0
    return [*place, *flags]


def stamps(folder):
    return {path.name: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.iterdir()}


def test_a_complete_output_is_left_alone(quick, tmp_path):
    before = stamps(tmp_path)
    result = run_here(*quick)
    assert result.returncode == 0
    assert 'f.pkl is complete already; --overwrite=1 begins again' in result.stderr
    assert 'records: 160, extracted: 157, failed: 3' in result.stdout
    assert run_here(*quick, '--max_failures=2').returncode == 3
    for flag in ('--batch_size=5', '--cpu_replicas=2'):
        assert 'complete already' in run_here(*quick, flag).stderr
    for flag, message in (
        ('--scale_h=130', 'f.pkl was made with other arguments: scale_h was 128 and is 130'),
        ('--features=video_id', 'features was start_frame and is video_id'),
        ('--num_iterations=1', 'num_iterations was -1 and is 1; test_data was '),
    ):
        result = run_here(*quick, flag)
        assert result.returncode == 1
        assert message in result.stderr
    assert stamps(tmp_path) == before


def test_a_complete_output_is_replaced_on_request(quick, tmp_path):
    first = (tmp_path / 'f.pkl').read_bytes()
    assert run_here(*quick, '--overwrite=1').returncode == 0
    assert (tmp_path / 'f.pkl').read_bytes() == first
    assert run_here(*quick, '--overwrite=1', '--features=video_id').returncode == 0
    found = pickle.loads((tmp_path / 'f.pkl').read_bytes())
    assert found['video_id'].tolist() == [i for i in range(CLIPS) if i not in FAILED]
    assert 'complete already' in run_here(*quick, '--features=video_id').stderr


def test_it_is_the_content_that_counts(quick, extraction, make_database, make_video, tmp_path):
    """A database or weights elsewhere are the same; others under the same name are not."""
    shutil.copytree(extraction.database, tmp_path / 'copy')
    elsewhere = [f'--test_data={tmp_path / "copy"}']
    assert 'complete already' in run_here(*quick, *elsewhere).stderr
    other = [f'--test_data={make_database([(make_video(60), 0, 0)])}']
    result = run_here(*quick, *other)
    assert result.returncode == 1
    assert 'f.pkl was made with other arguments: test_data was ' in result.stderr


def test_other_weights_are_refused(extraction, make_database, make_video, tmp_path):
    database = make_database([(make_video(60), 0, 0)])
    flags = [f'--test_data={database}', '--use_local_file=1', *FLAGS]
    flags.append(f'--output_path={tmp_path / "f.pkl"}')
    assert run_here(*flags, save_weights(tmp_path, PARAMETERS)).returncode == 0
    (tmp_path / 'sub').mkdir()
    moved = (tmp_path / 'weights.pkl').rename(tmp_path / 'sub' / 'w.pkl')
    result = run_here(*flags, f'--load_model_path={moved}')
    assert 'complete already' in result.stderr
    save_pickle(moved, random_parameters(NETWORK, 1))
    result = run_here(*flags, f'--load_model_path={moved}')
    assert 'load_model_path was sha256 ' in result.stderr
    assert result.returncode == 1
