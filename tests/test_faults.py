"""benchmarks/faults.py: what it counts of a few damaged files, and that each column can count."""

import subprocess
import sys

import numpy as np
import pytest

import bad_decoders
from conftest import ROOT
from r2plus1d.errors import InputError
from r2plus1d.video.budget import Budget

sys.path.insert(0, str(ROOT / 'benchmarks'))

import faults_trials as trials  # noqa: E402
from faults_changes import KINDS, mutate  # noqa: E402

COLUMNS = ['kind', 'files', *trials.COLUMNS]


def run(*flags):
    command = [sys.executable, str(ROOT / 'benchmarks' / 'faults.py'), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def rows_of(text):
    """{kind: {column: count}} of the table."""
    rows = [line.strip('| ').split(' | ') for line in text.splitlines() if line.startswith('| ')]
    assert rows[0] == COLUMNS
    return {kind: dict(zip(COLUMNS[1:], map(int, counts))) for kind, *counts in rows[2:]}


def test_a_table_of_few_damaged_files(tmp_path, make_video):
    folder = tmp_path / 'own'
    folder.mkdir()
    content = make_video(24).read_bytes()
    (folder / 'sound.mp4').write_bytes(content)
    (folder / 'cut.mp4').write_bytes(content[: len(content) * 2 // 3])
    kinds = 'mpegts,paths,minidb,model folder,features.npy,list'
    done = run('--mutations=3', f'--kinds={kinds}', f'--folder={folder}', f'--keep={tmp_path}/kept')
    assert done.returncode == 0, done.stderr
    assert 'cut.mp4 is left out: not a video, or truncated' in done.stderr
    rows = rows_of(done.stdout)
    videos, others = ['mpegts', 'own'], kinds.split(',')[1:]
    assert list(rows) == [*videos, 'the same videos as records', *others, '**all**']
    assert {row['files'] for row in rows.values()} == {3, 6, 27}
    assert all(sum(row.values()) == 2 * row['files'] for row in rows.values())
    for column in ('traceback', 'hang', 'crash', 'memory'):
        assert rows['**all**'][column] == 0, column
    records = rows['the same videos as records']
    assert records['named'] == records['files'] == sum(rows[kind]['files'] for kind in videos)
    assert 'seed 0' in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ['cut.mp4', 'sound.mp4']


def test_the_seed_decides():
    flags = ['--kinds=minidb,list', '--mutations=6']
    found = [run(*flags, f'--seed={seed}').stdout for seed in (1, 1)]
    assert found[0] == found[1] and rows_of(found[0])['minidb']['files'] == 6


def test_a_kind_that_is_not_known():
    done = run('--kinds=mp5')
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1
    assert "kinds has 'mp5'; known: mp4, " in done.stderr


@pytest.mark.parametrize('size', [1, 2, 50, 5000])
def test_damage_is_damage_and_follows_from_the_seed(size):
    content, other = bytes(size), b'x' * 70
    found = [mutate(np.random.default_rng(seed), content, other) for seed in range(300)]
    assert all(damaged != content for _, damaged in found)
    kinds = {kind for kind, _ in found}
    assert kinds >= set(KINDS) - {'zero', 'swap', 'repeat'}
    assert found == [mutate(np.random.default_rng(seed), content, other) for seed in range(300)]
    rich = np.random.default_rng(0).bytes(size + 100)
    assert {mutate(np.random.default_rng(i), rich, other)[0] for i in range(300)} == set(KINDS)


def refuses(path):
    raise InputError(f'{path} is odd')


def refuses_namelessly(path):
    raise InputError('it is odd')


def fails(path):
    raise ZeroDivisionError


def is_missing(path):
    return path.with_name('none').read_bytes()


def takes_memory(path):
    return bytearray(2**33)


def crashes(path):
    bad_decoders.crash()


def ends(path):
    bad_decoders.leave(3)


def spins(path):
    bad_decoders.spin()


def warns(path):
    trials.logging.getLogger('any').warning('odd')
    return 1, 2


def reads(path):
    return 1, 2


@pytest.mark.parametrize(
    ('read', 'column'),
    [
        (reads, trials.CORRECT),
        (warns, trials.NAMED),
        (refuses, trials.NAMED),
        (is_missing, trials.NAMED),
        (refuses_namelessly, trials.TRACEBACK),
        (fails, trials.TRACEBACK),
        (takes_memory, trials.MEMORY),
        (crashes, trials.CRASH),
        (ends, trials.CRASH),
        (spins, trials.HANG),
    ],
)
def test_each_column_can_count(tmp_path, monkeypatch, read, column):
    monkeypatch.setattr(trials, 'BUDGET', Budget(memory=2**31, seconds=-9))
    monkeypatch.setattr('r2plus1d.video.decoders.CLOCK_SECONDS', 1000)
    path = tmp_path / 'file'
    answer, found = trials.read_isolated(read, path)
    assert (found or trials.column_of(answer, trials.Answer(1, 2))) == column


def test_other_results():
    sound = trials.Answer(form=1, values=2)
    assert trials.column_of(trials.Answer(1, 3), sound) == trials.CONTENT
    assert trials.column_of(trials.Answer(3, 2), sound) == trials.SILENT
    assert trials.column_of(trials.Answer(3, 3, 'odd'), sound) == trials.NAMED
    assert trials.column_of(None, sound) == trials.TRACEBACK


def test_rows_that_are_lost_are_silent(tmp_path):
    path = tmp_path / 'x'
    path.write_bytes(b'header\r\na\rb\n\n  \nc')
    assert trials.rows_in(path) == 3
