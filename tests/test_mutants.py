"""The program that makes mutants: what it changes, and that it tells the dead from the living."""

import ast

import pytest

import mutants

MODULE = '''"""Two functions, of which one is tested."""


def is_long(count):
    """Whether 5 is passed."""
    return count > 5


def is_short(count):
    return count < 3
'''
TEST = """from r2plus1d.counts import is_long

def test_long():
    assert [is_long(count) for count in (4, 5, 6)] == [False, False, True]
"""


def all_of(source):
    count = len(list(mutants.changes(ast.parse(source))))
    return [mutants.mutant(source, number) for number in range(count)]


@pytest.fixture
def tree(tmp_path):
    """A library of one module, and its test."""
    root = tmp_path / 'project'
    for name, text in (
        ('lib/r2plus1d/__init__.py', ''),
        ('lib/r2plus1d/counts.py', MODULE),
        ('tests/test_counts.py', TEST),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_tested_fault_dies_and_another_lives(tree, tmp_path):
    (tmp_path / 'copy').mkdir()
    copy = mutants.Copy(tree, tmp_path / 'copy')
    found = {what: copy.survives('counts.py', text) for _, what, text in all_of(MODULE)}
    assert found == {
        'count > 5 -> count >= 5': False,
        '5 -> 4': False,
        '5 -> 6': False,
        'count < 3 -> count <= 3': True,
        '3 -> 2': True,
        '3 -> 4': True,
    }
    assert (copy.root / 'lib/r2plus1d/counts.py').read_text() == MODULE


def test_tests_that_fail_without_a_fault_show_nothing(tree, tmp_path):
    (tree / 'tests' / 'test_counts.py').write_text(TEST.replace('True', 'False'))
    (tmp_path / 'copy').mkdir()
    with pytest.raises(SystemExit, match=r'^counts.py: its tests tests/test_counts.py do not pass'):
        mutants.Copy(tree, tmp_path / 'copy').survives('counts.py', MODULE)


def test_a_fault_without_end_dies(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(mutants, 'GRACE_SECONDS', 0)
    monkeypatch.setattr(mutants, 'TIMES_AS_LONG', 2)
    (tmp_path / 'copy').mkdir()
    copy = mutants.Copy(tree, tmp_path / 'copy')
    assert copy.survives('counts.py', MODULE)
    assert not copy.survives('counts.py', 'while True: pass')


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('a = b is not c', {'b is not c -> b is c'}),
        ('a = b < c < d', {'b < c < d -> b <= c < d', 'b < c < d -> b < c <= d'}),
        ('a = b and c', {'b and c -> b or c'}),
        ('a = not b', {'not b -> not not b'}),
        ('a = True', set()),
        ('a.b = c', {'a.b = c left out'}),
        ('a, b.c = c', set()),
        ('a += c', {'a += c left out'}),
        ('if a:\n    raise b', {'raise b left out'}),
        ('try:\n    a()\nfinally:\n    b()', {'a() left out', 'b() left out'}),
        ('try:\n    a()\nexcept C:\n    b()', {'a() left out', 'b() left out'}),
        ('def f():\n    """Do it."""', set()),
    ],
)
def test_changes(source, expected):
    assert {what for _, what, _ in all_of(source)} == expected
    for _, _, text in all_of(source):
        assert ast.unparse(ast.parse(source)) != text


def test_the_sample_follows_from_its_seed(tree):
    everything = mutants.drawn(tree, ['counts.py'], 100, 0)
    assert everything == [('counts.py', number) for number in range(6)]
    samples = [mutants.drawn(tree, ['counts.py'], 3, seed) for seed in (0, 0, 1, 2, 3)]
    assert samples[0] == samples[1]
    assert len({tuple(sample) for sample in samples}) > 1
    assert all(set(sample) < set(everything) for sample in samples)


def test_the_table_names_modules_and_tests_that_are_there():
    for module in mutants.MODULES:
        assert (mutants.ROOT / mutants.LIBRARY / module).is_file(), module
        for path in mutants.nearest(mutants.ROOT, module):
            assert (mutants.ROOT / path).is_file(), path


def test_of_other_modules_the_tests_that_name_it_are_the_nearest(tree):
    (tree / 'tests' / 'test_other.py').write_text('from r2plus1d import errors')
    assert mutants.nearest(tree, 'counts.py') == ['tests/test_counts.py']
    assert mutants.nearest(tree, 'errors.py') == ['tests/test_other.py']
