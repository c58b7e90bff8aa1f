"""Every public function, method and field of a dataclass says its types."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / 'lib' / 'r2plus1d'


def _is_public(name: str) -> bool:
    return not name.startswith('_') or (name.startswith('__') and name.endswith('__'))


def _is_dataclass(node: ast.ClassDef) -> bool:
    decorators = [d.func if isinstance(d, ast.Call) else d for d in node.decorator_list]
    return any(ast.unparse(d).split('.')[-1] == 'dataclass' for d in decorators)


def _missing_in_function(node, in_class: bool) -> 'list[str]':
    is_static = any(ast.unparse(d) == 'staticmethod' for d in node.decorator_list)
    arguments = node.args.posonlyargs + node.args.args
    if in_class and not is_static:
        arguments = arguments[1:]
    arguments += node.args.kwonlyargs + [a for a in (node.args.vararg, node.args.kwarg) if a]
    missing = [a.arg for a in arguments if a.annotation is None]
    if node.returns is None and node.name != '__init__':
        missing.append('return')
    return missing


def _missing_in_body(body, prefix: str = '', in_class: bool = False) -> 'list[str]':
    found = []
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _is_public(node.name):
            missing = _missing_in_function(node, in_class)
            if missing:
                found.append(f'{prefix}{node.name} (line {node.lineno}): {", ".join(missing)}')
        elif isinstance(node, ast.ClassDef) and _is_public(node.name):
            found += _missing_in_body(node.body, f'{prefix}{node.name}.', in_class=True)
            if _is_dataclass(node):
                found += _fields_without_types(node)
    return found


def _fields_without_types(node: ast.ClassDef) -> 'list[str]':
    """Names assigned without a type, which a dataclass does not take as fields."""
    return [
        f'{node.name}.{ast.unparse(n.targets[0])} (line {n.lineno}): type'
        for n in node.body
        if isinstance(n, ast.Assign)
    ]


def missing_annotations(source: str) -> 'list[str]':
    """What lacks a type in the text of a module, one line each; special methods count as public."""
    return _missing_in_body(ast.parse(source).body)


def _modules() -> 'dict[str, list[str]]':
    paths = sorted(PACKAGE.rglob('*.py'))
    return {
        p.relative_to(PACKAGE).as_posix(): missing_annotations(p.read_text(encoding='utf-8'))
        for p in paths
    }


def test_public_signatures_and_fields_are_annotated():
    lines = [f'{path}: {line}' for path, missing in _modules().items() for line in missing]
    assert not lines, '\n'.join(lines)


def test_a_missing_annotation_is_found():
    assert missing_annotations('def f(a, *, b: int, **c) -> int: ...') == ['f (line 1): a, c']
    assert missing_annotations('def f(a: int): ...') == ['f (line 1): return']
    assert missing_annotations('class A:\n def f(self, x) -> int: ...') == ['A.f (line 2): x']
    assert missing_annotations('class A:\n @staticmethod\n def f(x) -> int: ...') == [
        'A.f (line 3): x'
    ]
    assert missing_annotations('@dataclass(frozen=True)\nclass A:\n b = 3') == [
        'A.b (line 3): type'
    ]
    assert missing_annotations('class A:\n def __init__(self, x): ...') == [
        'A.__init__ (line 2): x'
    ]


def test_private_functions_and_annotated_ones_are_left_alone():
    assert not missing_annotations(
        'def _f(a): ...\nclass _A:\n def f(self): ...\ndef g(a: int) -> int: ...'
    )
    assert not missing_annotations('class A:\n def __init__(self, x: int): ...\n b = 3')
