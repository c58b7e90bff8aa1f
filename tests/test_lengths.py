"""Modules and functions are short, as CONTRIBUTING.md says."""

import ast

import pytest

from conftest import ROOT

LONGEST_MODULE, LONGEST_FUNCTION = 300, 40  # lines; the docstring of a function is not counted
FOLDERS = ('lib', 'tools', 'data', 'benchmarks', 'scripts')


def too_long(text):
    """Yield what is too long in the text of a module."""
    if text.count('\n') >= LONGEST_MODULE:
        yield f'{text.count(chr(10))} lines'
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            length = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            if length >= LONGEST_FUNCTION:
                yield f'{node.name}: {length} lines'


def test_what_is_here_is_short():
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob('*.py')]
    assert len(paths) > 200
    assert [f'{p}: {fault}' for p in paths for fault in too_long(p.read_text())] == []


@pytest.mark.parametrize(
    ('text', 'faults'),
    [
        ('a = 1\n' * 299, []),
        ('a = 1\n' * 300, ['300 lines']),
        ('def f():\n' + '    a = 1\n' * 39, []),
        ('def f():\n' + '    a = 1\n' * 40, ['f: 40 lines']),
        ('def f():\n    """' + 'It.\n' * 50 + '"""\n' + '    a = 1\n' * 39, []),
        ('def f():\n    """It."""\n', []),
    ],
)
def test_what_is_long_is_found(text, faults):
    assert list(too_long(text)) == faults
