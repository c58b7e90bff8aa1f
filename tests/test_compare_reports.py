"""Two runs on the same videos: tools/compare_reports.py, and what it is made of."""

import csv
import random

import pytest

from r2plus1d.errors import InputError
from r2plus1d.evaluation.compare_predictions import Change, compare_predictions
from r2plus1d.evaluation.intervals import wilson
from r2plus1d.evaluation.read_predictions import Predictions
from r2plus1d.results.hold import holding
from tool_here import run_here

TOOL = 'tools/compare_reports.py'
NAMES = ('ape', 'bee', 'cat', 'dog')


def write(path, rows, *, key='key', videos=True):
    """Write predictions of (name, label, best class) rows."""
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow([key, 'video', 'label', 'top1', 'probability1', 'clips_right', 'clips'])
        for i, (name, label, best) in enumerate(rows):
            cells = [name, f'{name}.mp4' if videos else '', label, best, f'0.{i + 10}', 1, 2]
            writer.writerow(cells)
    return path


@pytest.fixture
def runs(tmp_path):
    """Two runs of 200 videos of which 190 are in both, and what they say: {name: (label, best)}."""
    rng, said = random.Random(0), []
    labels = {f'v{i:03}': rng.choice(NAMES) for i in range(210)}
    for share in (0.6, 0.75):
        said.append({
            name: (label, label if rng.random() < share else rng.choice(NAMES))
            for name, label in labels.items()
        })  # fmt: skip
    for name in list(labels)[:10]:
        del said[1][name]
    for name in list(labels)[-10:]:
        del said[0][name]
    paths = []
    for number, rows in enumerate(said):
        shuffled = [(name, *pair) for name, pair in rows.items()]
        rng.shuffle(shuffled)
        paths.append(write(tmp_path / f'{"ab"[number]}.csv', shuffled))
    return paths, said


def test_two_runs_do_not_write_one_list_of_changes(runs, tmp_path):
    (first, second), _ = runs
    with holding(tmp_path / 'c.csv'):
        done = run_here(TOOL, first, second, f'--output={tmp_path / "c.csv"}')
    assert done.returncode == 1
    assert 'c.csv is being written by process' in done.stderr


def test_the_counts_are_those_of_a_loop(runs):
    paths, (first, second) = runs
    changes = []
    found = compare_predictions(*map(Predictions, paths), changed=changes.append)
    common = first.keys() & second.keys()
    rights = {n: (first[n][0] == first[n][1], second[n][0] == second[n][1]) for n in common}
    counts = [sum(r == pair for r in rights.values()) for pair in
              ((True, True), (True, False), (False, True), (False, False))]  # fmt: skip
    assert [found.both, found.lost, found.gained, found.neither] == counts
    assert min(counts) > 5
    assert (found.videos, found.only_first, found.only_second) == (190, 10, 10)
    assert {c.name: (c.videos, c.right1, c.right2) for c in found.classes} == {
        label: (
            sum(first[n][0] == label for n in common),
            sum(rights[n][0] for n in common if first[n][0] == label),
            sum(rights[n][1] for n in common if first[n][0] == label),
        )
        for label in NAMES
    }
    gains = [c.right2 - c.right1 for c in found.classes]
    assert gains == sorted(gains)
    assert {(c.name, c.what, c.label, c.first, c.second) for c in changes} == {
        (f'{n}.mp4', 'lost' if rights[n][0] else 'gained', first[n][0], first[n][1], second[n][1])
        for n in common
        if rights[n][0] != rights[n][1]
    }
    right = counts[0] + counts[1]
    assert found.accuracy(0) == (right / 190, *wilson(right / 190, 190))
    assert found.accuracy(1)[0] == (counts[0] + counts[2]) / 190


def test_the_tool_prints_writes_and_draws(runs, tmp_path):
    (a, b), _ = runs
    done = run_here(TOOL, a, b, f'--output={tmp_path}/c.csv', f'--report={tmp_path}/c.html')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    changes = []
    found = compare_predictions(Predictions(a), Predictions(b), changed=changes.append)
    assert lines[0].startswith(f'A: {a}, top 1: {found.accuracy(0)[0]:.5f} (')
    assert lines[2] == 'videos: 190 in both, 10 only in A, 10 only in B'
    assert lines[3].startswith(f'right: {found.both} in both, {found.lost} only in A, ')
    assert lines[4] == f"McNemar's exact test, two-sided: p = {found.p_value:.4g}"
    assert lines[5:7] == [
        '| class | videos | right in A | right in B | change |',
        '| --- | --: | --: | --: | --: |',
    ]
    assert len(lines) == 7 + sum(c.right1 != c.right2 for c in found.classes)
    with (tmp_path / 'c.csv').open(newline='') as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(Change._fields)
    assert [row[:5] for row in rows[1:]] == [list(change[:5]) for change in changes]
    page = (tmp_path / 'c.html').read_text()
    assert f'p = {found.p_value:.4g}' in page
    assert all(change.name in page for change in changes)


def test_the_same_run_twice_changes_nothing(runs, tmp_path):
    (a, _), _ = runs
    done = run_here(TOOL, a, a, f'--report={tmp_path}/c.html')
    assert done.stdout.endswith("McNemar's exact test, two-sided: p = 1\n")
    assert (tmp_path / 'c.html').read_text().count('<p>None.</p>') == 2


def test_keys_name_the_videos_where_they_have_no_names(tmp_path):
    a = write(tmp_path / 'a.csv', [('0', 1, 1), ('1', 0, 1)], videos=False)
    b = write(tmp_path / 'b.csv', [('1', 0, 0), ('0', 1, 1)])
    changes = []
    assert compare_predictions(Predictions(a), Predictions(b), changed=changes.append).videos == 2
    assert [(c.name, c.what) for c in changes] == [('1', 'gained')]
    ids = write(tmp_path / 'c.csv', [('0.mp4', 1, 1)], key='number')
    with pytest.raises(InputError, match='do not name their videos alike'):
        compare_predictions(Predictions(a), Predictions(ids), changed=changes.append)


def test_runs_that_cannot_be_compared(tmp_path):
    a = write(tmp_path / 'a.csv', [('x', 1, 1), ('y', 0, 1)])
    other = write(tmp_path / 'b.csv', [('z', 1, 1)])
    done = run_here(TOOL, a, other)
    assert (done.returncode, done.stdout) == (1, '')
    assert f'{a} (2 videos) and {other} (1) have no video in common' in done.stderr
    relabelled = write(tmp_path / 'c.csv', [('x', 0, 1)])
    done = run_here(TOOL, a, relabelled)
    assert f'video x.mp4 is of class 1 in {a} and of class 0 in {relabelled}' in done.stderr
    named = write(tmp_path / 'd.csv', [('x', 'bee', 'bee'), ('y', 'ape', 'ape')])
    done = run_here(TOOL, a, named)
    assert f'{a} has numbers of classes, and {named} has names; give --labels' in done.stderr
    (tmp_path / 'names.txt').write_text('ape\nbee\n')
    done = run_here(TOOL, a, named, f'--labels={tmp_path}/names.txt')
    assert 'right: 1 in both, 0 only in A, 1 only in B, 0 in none' in done.stdout
    assert '| ape | 1 | 0 | 1 | +1 |' in done.stdout
    for words in ([a], [a, a, a]):
        assert 'CSVs of predictions; two are compared' in run_here(TOOL, *words).stderr
    done = run_here(TOOL, a, a, f'--report={tmp_path}/c.csv')
    assert 'its name has to end in .html' in done.stderr


def test_a_page_lists_some_changes_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr('r2plus1d.pictures.comparison.MOST_CHANGES', 3)
    rows = [(f'v{i}', 0, i % 2) for i in range(20)]
    a = write(tmp_path / 'a.csv', rows)
    b = write(tmp_path / 'b.csv', [(name, label, 0) for name, label, _ in rows])
    assert run_here(TOOL, a, b, f'--report={tmp_path}/c.html').returncode == 0
    page = (tmp_path / 'c.html').read_text()
    assert 'The first 3 of 10; --output lists all.' in page
    assert page.count('.mp4') == 3
