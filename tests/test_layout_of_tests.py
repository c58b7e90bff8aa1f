"""No test module imports another, and tools are tested as programs or through lib."""

import ast
import pathlib
import re

import pytest

from conftest import ROOT

OURS = pathlib.Path(__file__).resolve()  # it holds an example of each fault
MODULES = [path for path in sorted((ROOT / 'tests').glob('*.py')) if path != OURS]
IMPORTS_TEST = re.compile(r'^(?:import |from |(?=\w+\.[A-Z]))(test_\w+)', re.MULTILINE)
FORBIDDEN = {'importlib.util', 'importlib.machinery', 'spec_from_file_location', 'module_from_spec'}


def faults_of(source):
    """What a module of tests must not do, one line each."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or '', *(f'{node.module}.{alias.name}' for alias in node.names)]
        elif isinstance(node, ast.Attribute):
            names = [node.attr]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = IMPORTS_TEST.findall(node.value)  # a program, or what is patched
        elif isinstance(node, ast.Call) and _loads_tool(node):
            faults.append(f'{node.lineno}: run_path of a tool that is not run as a program')
        for name in names:
            if name.startswith(('test_', 'tools.')) or name == 'tools' or name in FORBIDDEN:
                faults.append(f'{node.lineno}: {name}')
    return faults


def _loads_tool(call):
    """Whether this is a run_path of a tool that does not run it as `python tool` does."""
    if not ast.unparse(call.func).endswith('run_path') or 'tools' not in ast.unparse(call):
        return False
    return not any(
        keyword.arg == 'run_name' and ast.unparse(keyword.value) == "'__main__'"
        for keyword in call.keywords
    )


@pytest.mark.parametrize('path', MODULES, ids=lambda path: path.stem)
def test_a_test_module_stands_alone(path):
    assert faults_of(path.read_text()) == []


@pytest.mark.parametrize(
    'source',
    [
        'from test_reader import x',
        'import test_reader as t',
        'import importlib.util',
        'from importlib import util',
        'importlib.util.spec_from_file_location(name, path)',
        'runpy.run_path(str(ROOT / "tools/x.py"))["main"]',
        "monkeypatch.setattr('test_reader.FAILED', set())",
        'CODE = """\nimport test_reader\n"""',
    ],
)
def test_the_check_finds_each_fault(source):
    assert faults_of(source) != []


def test_the_check_lets_programs_be():
    assert faults_of("runpy.run_path(str(ROOT / 'tools/x.py'), run_name='__main__')") == []
    assert faults_of('from extraction import run_here') == []
