"""benchmarks/cluster_simulation.py: what it must give where it can be worked out by hand."""

import sys

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.cli import command_line
from tool_here import run_here

sys.path.insert(0, str(ROOT / 'benchmarks'))

import cluster_simulation as simulation  # noqa: E402

# Nothing goes wrong, and nothing but the videos takes time.
IDEAL = (
    '--spread=0.001', '--slow_share=0', '--days_to_failure=1e9', '--start_seconds=1e-9',
    '--video_mb=1e-9', '--scan_rate=1e15', '--load_rate=1e15', '--row_kb=1e-9', '--video_rate=2',
)  # fmt: skip


def settings(*words):
    return command_line.parse('', simulation.SIMULATION, argv=words)


def test_without_losses_it_takes_what_the_videos_take():
    found = simulation.simulate(settings(*IDEAL), 10_000, 10, 10)
    assert found.shards == 100
    assert found.best == 10_000 / 2 / 10
    assert found.total == pytest.approx(found.best, rel=1e-3)
    assert found.fits


@pytest.mark.parametrize(
    ('words', 'lost', 'seconds'),
    [
        (['--scan_rate=100'], 'the first look at all records', 100),
        (['--row_kb=30', '--merge_mb=3'], 'merging', 100),
        (['--start_seconds=10'], 'starts of shards', 100),
        (['--video_mb=6', '--storage_mb=100'], 'the storage', 100),
    ],
)
def test_each_loss_is_named(words, lost, seconds):
    found = simulation.simulate(settings(*IDEAL, *words), 10_000, 10, 10)
    assert max(found.lost, key=found.lost.get) == lost
    assert found.lost[lost] == pytest.approx(seconds, rel=1e-2)
    assert found.total == pytest.approx(found.best + seconds, rel=1e-2)


def test_many_shards_even_out_slow_workers():
    args = settings(*IDEAL, '--slow_share=0.1', '--slow_factor=3')
    few, many = (simulation.simulate(args, 100_000, 100, each) for each in (1, 50))
    assert few.total == pytest.approx(3 * few.best, rel=1e-2)
    assert many.total < 1.3 * many.best


def test_dead_workers_cost_what_they_wait():
    args = settings(*IDEAL, '--days_to_failure=0.01', '--requeue_seconds=50')
    random = np.random.default_rng(0)
    ends, _, lost = simulation.work_through(
        args, np.full(1000, 864.0), np.ones(1), start=0.0, random=random
    )
    assert lost == pytest.approx(1000 * 50, rel=0.2)  # each dies once on average
    assert ends[0] == pytest.approx(864_000 + lost)


def test_more_workers_than_videos():
    found = simulation.simulate(settings(*IDEAL), 3, 10, 10)
    assert found.shards == 3


def test_the_table(tmp_path):
    words = ('--videos=1000,200000000', '--workers=2,20', '--shards_per_worker=3')
    done = run_here('benchmarks/cluster_simulation.py', *words)
    lines = done.stdout.splitlines()
    assert lines[0].startswith('| videos | workers | shards | hours |')
    assert [line.split(' | ')[0] for line in lines[2:]] == ['| 1,000'] * 2 + ['| 200,000,000'] * 2
    assert 'the memory of a process' in lines[-1]
    assert 'memory' not in lines[2]
