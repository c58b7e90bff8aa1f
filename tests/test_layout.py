"""Imports in lib/: downwards, without circles, and each framework in its own place."""

import ast

import pytest

from conftest import ROOT

LIBRARY = ROOT / 'lib' / 'r2plus1d'
# From the ground up. A room imports those on the lines before its own; rooms on one line do not
# know each other.
FLOORS = (
    ('errors',),
    ('devices',),
    ('results',),
    ('networks',),
    ('backends.table',),
    ('video', 'backends.installed'),
    ('datasets', 'weights'),
    ('sources', 'model'),
    ('backends',),
    ('inference',),
    ('features',),
    ('evaluation',),
    ('training', 'pictures', 'keywords'),
    ('cli', 'api'),
    ('cluster',),
)
# A method that hands on to a backend, when it is called.
ALLOWED = {('model', 'backends.pytorch.convert')}
LEFT, RIGHT = ('video', 'datasets', 'sources'), ('weights', 'backends', 'model')
# package: where it may be imported
PLACES = {
    'caffe2': ('backends.caffe2',),
    'torch': ('backends.pytorch',),
    'openvino': ('backends.openvino',),
    'nncf': ('backends.openvino',),
    'onnx': ('weights.onnx_file', 'weights.onnx_operators', 'backends.openvino'),
    'av': ('video', 'datasets'),
    'cv2': ('video', 'datasets', 'pictures'),
    'lmdb': ('datasets',),
    'matplotlib': ('pictures',),
    'argparse': ('cli', 'cluster.run'),
    'pyarrow': ('features.parquet',),
    'ray': ('cluster',),
}


def imports_of(library):
    """{module: {imported module or package: whether it is imported when the module is}}."""
    found = {}
    for path in library.rglob('*.py'):
        name = '.'.join(path.relative_to(library).with_suffix('').parts)
        tree = ast.parse(path.read_text())
        deferred = {
            node
            for function in ast.walk(tree)
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
            for node in ast.walk(function)
        }
        imports = found.setdefault(name.removesuffix('.__init__'), {})
        for node in ast.walk(tree):
            for target in targets_of(node):
                imports[target] = imports.get(target, False) or node not in deferred
    for name, imports in found.items():
        found[name] = {resolved(t, found): at_once for t, at_once in imports.items()}
    return found


def targets_of(node):
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f'{node.module}.{alias.name}' for alias in node.names]
    return []


def resolved(target, modules):
    """The module of the library that is meant, or the outside package."""
    if not target.startswith('r2plus1d'):
        return target.partition('.')[0]
    inside = target.removeprefix('r2plus1d').lstrip('.')
    while inside and inside not in modules:
        inside = inside.rpartition('.')[0]
    return f'r2plus1d.{inside}' if inside else 'r2plus1d'


def is_in(module, room):
    return module == room or module.startswith(f'{room}.')


def floor_of(module):
    """The highest number of a floor whose rooms have the module; the longest name counts."""
    rooms = [(room, i) for i, floor in enumerate(FLOORS) for room in floor if is_in(module, room)]
    return max(rooms, key=lambda pair: len(pair[0])) if rooms else (None, len(FLOORS))


def upward(found):
    """Imports of a room that is not below, as text."""
    for module, imports in sorted(found.items()):
        room, floor = floor_of(module)
        for target in sorted(imports):
            inside = target.removeprefix('r2plus1d.')
            if not target.startswith('r2plus1d.') or inside == module:
                continue
            if (module, inside) in ALLOWED and not imports[target]:
                continue
            its_room, its_floor = floor_of(inside)
            if its_room != room and its_floor >= floor:
                yield f'{module} imports {inside}'


def across(found):
    """Imports from one tower to the other, as text."""
    for module, imports in sorted(found.items()):
        for own, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
            for target in sorted(imports):
                inside = target.removeprefix('r2plus1d.')
                if any(is_in(module, r) for r in own) and any(is_in(inside, r) for r in other):
                    yield f'{module} imports {inside}'


def misplaced(found):
    """Imports of a framework outside its place, as text."""
    for module, imports in sorted(found.items()):
        for target in sorted(set(imports) & set(PLACES)):
            if not any(is_in(module, place) for place in PLACES[target]):
                yield f'{module} imports {target}'


def circles(found):
    """Modules that import each other when they are imported, one of each circle as text."""
    graph = {
        module: [
            target.removeprefix('r2plus1d.')
            for target, at_once in imports.items()
            if at_once and target.startswith('r2plus1d.')
        ]
        for module, imports in found.items()
    }
    done = set()

    def visit(module, path):
        if module in path:
            yield ' -> '.join([*path[path.index(module) :], module])
        elif module not in done:
            for target in graph.get(module, ()):
                yield from visit(target, [*path, module])
            done.add(module)

    for module in sorted(graph):
        yield from visit(module, [])


@pytest.fixture(scope='module')
def found():
    return imports_of(LIBRARY)


@pytest.mark.parametrize('rule', [upward, across, misplaced, circles], ids=lambda r: r.__name__)
def test_the_library_keeps_the_rule(found, rule):
    assert len(found) > 80
    assert list(rule(found)) == []


@pytest.mark.parametrize(
    ('rule', 'files', 'message'),
    [
        (
            upward,
            {'networks/a.py': 'import r2plus1d.weights.b', 'weights/b.py': ''},
            'networks.a imports weights.b',
        ),
        (
            upward,
            {'networks/a.py': 'def f():\n    from r2plus1d.weights import b', 'weights/b.py': ''},
            'networks.a imports weights.b',
        ),
        (
            across,
            {'video/a.py': 'from r2plus1d.weights.b import c', 'weights/b.py': ''},
            'video.a imports weights.b',
        ),
        (misplaced, {'weights/a.py': 'def f():\n    import torch.nn'}, 'weights.a imports torch'),
        (misplaced, {'features/a.py': 'import argparse'}, 'features.a imports argparse'),
        (
            circles,
            {'video/a.py': 'import r2plus1d.video.b', 'video/b.py': 'from r2plus1d.video import a'},
            'video.a -> video.b -> video.a',
        ),
    ],
)  # fmt: skip
def test_a_breach_is_found(tmp_path, rule, files, message):
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert message in list(rule(imports_of(tmp_path)))
