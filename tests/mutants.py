"""Make small faults in the library, and print those that the nearest tests do not see.

    nice -n 19 .venv/bin/python tests/mutants.py                        # a sample of all of MODULES
    nice -n 19 .venv/bin/python tests/mutants.py --count=40 video/sampling.py results/complete.py

Each mutant is one change of one module: a comparison, an `and`, an `or`, a `not`, a whole number
that is one more or one less, a statement or a `raise` that is left out. The tests run in a copy of
the tree, without golden arrays. A mutant that survives is not tested, or it changes nothing.
"""

import argparse
import ast
import contextlib
import functools
import os
import pathlib
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIBRARY = pathlib.Path('lib', 'r2plus1d')
NOT_COPIED = ('.*', '__pycache__', 'output', '*_lmdb')
GRACE_SECONDS, TIMES_AS_LONG = 60, 5  # what a mutant gets: an endless loop is a fault that is seen
# module: its nearest tests, those that take longest last
MODULES = {
    'video/sampling.py': 'sampling read_clips reader',
    'video/parts.py': 'chain cut_files',
    'video/chain.py': 'chain',
    'video/read_clips.py': 'read_clips reader',
    'video/start_clips.py': 'read_clips grouped_reader reader',
    'datasets/database.py': 'database',
    'sources/database_source.py': 'reader grouped_reader',
    'sources/file_source.py': 'extract_videos',
    'sources/grouped.py': 'grouped_reader',
    'sources/sample.py': 'reader training_data grouped_reader',
    'sources/shuffled.py': 'training_data',
    'sources/whole_videos.py': 'reader',
    'features/store.py': 'feature_store feature_output',
    'features/publish.py': 'feature_output',
    'features/npy_rows.py': 'feature_store feature_output',
    'evaluation/metrics.py': 'scores evaluate',
    'evaluation/compare_predictions.py': 'compare_reports',
    'evaluation/intervals.py': 'intervals',
    'evaluation/read_predictions.py': 'read_predictions',
    'evaluation/tally.py': 'tally',
    'evaluation/video_sums.py': 'dense_prediction',
    'evaluation/predictions.py': 'scores dense_prediction',
    'results/class_names.py': 'results given_files known_classes',
    'results/complete.py': 'complete',
    'results/failures.py': 'results',
    'results/printed.py': 'shards_of_videos',
    'results/progress.py': 'progress',
    'training/start.py': 'training_loop',
}
OPPOSITES = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip


def changes(tree):
    """Yield (node, function that changes it in `tree`) for each mutant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            for i, op in enumerate(node.ops):
                yield node, functools.partial(node.ops.__setitem__, i, OPPOSITES[type(op)]())
        elif isinstance(node, ast.BoolOp):
            yield node, functools.partial(setattr, node, 'op', OPPOSITES[type(node.op)]())
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            twice = ast.UnaryOp(ast.Not(), node.operand)
            yield node, functools.partial(setattr, node, 'operand', twice)
        elif isinstance(node, ast.Constant) and type(node.value) is int:
            for value in (node.value - 1, node.value + 1):
                yield node, functools.partial(setattr, node, 'value', value)
        for statements in (getattr(node, name, None) for name in ('body', 'orelse', 'finalbody')):
            for i, statement in enumerate(statements if isinstance(statements, list) else ()):
                if can_be_left_out(statement):
                    yield statement, functools.partial(statements.__setitem__, i, ast.Pass())


def can_be_left_out(statement):
    """Whether the module without it is one that somebody could have written."""
    if isinstance(statement, ast.Expr):
        return not isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Assign):  # without it a plain name would be a NameError
        parts = [part for target in statement.targets for part in ast.walk(target)]
        return not any(isinstance(p, ast.Name) and isinstance(p.ctx, ast.Store) for p in parts)
    return isinstance(statement, (ast.Raise, ast.AugAssign))


def mutant(source, number):
    """Return (line, what was changed, the changed source) of one of the `changes`."""
    tree = ast.parse(source)
    node, change = list(changes(tree))[number]
    before = ast.unparse(node)
    change()
    after = ast.unparse(node)
    shown = f'{before} left out' if after == before else f'{before} -> {after}'
    return node.lineno, ' '.join(shown.split()), ast.unparse(tree)


def drawn(root, modules, count, seed):
    """Return a random sample of mutants, [(module, number)], together by module."""
    sites = [
        (module, number)
        for module in modules
        for number in range(len(list(changes(ast.parse((root / LIBRARY / module).read_text())))))
    ]
    return sorted(random.Random(seed).sample(sites, min(count, len(sites))))


def nearest(root, module):
    """Return the paths of the tests to run; those that name it, for a module not in MODULES."""
    if module in MODULES:
        return [f'tests/test_{name}.py' for name in MODULES[module].split()]
    *folders, name = pathlib.PurePath(module).with_suffix('').parts
    package, whole = '.'.join(['r2plus1d', *folders]), '.'.join(['r2plus1d', *folders, name])
    texts = {path: path.read_text() for path in sorted((root / 'tests').glob('test_*.py'))}
    wanted = (whole, f'from {package} import {name}')
    return [f'tests/{path.name}' for path, t in texts.items() if any(w in t for w in wanted)]


class Copy:
    """A copy of the tree, in which mutants are tested.

    Args:
        root: the tree; a copy of it is made in `folder`.
        folder: an empty one.
    """

    def __init__(self, root, folder):
        self.root, self._limits = folder / 'tree', {}
        shutil.copytree(root, self.root, ignore=shutil.ignore_patterns(*NOT_COPIED))
        setup = self.root / 'scripts' / 'setup.sh'
        if setup.exists():  # it would make an environment of the copy
            setup.write_text(f"printf '%s\\n' {shlex.quote(sys.executable)}\n")
        self._temporary = folder / 'temporary'
        self._temporary.mkdir()

    def survives(self, module, text):
        """Whether the nearest tests pass with `text` in the place of the module."""
        tests = tuple(nearest(self.root, module))
        if tests not in self._limits:
            began = time.monotonic()
            if not tests or self._status(tests, None) != 0:
                raise SystemExit(f'{module}: its tests {" ".join(tests)} do not pass as it is')
            self._limits[tests] = GRACE_SECONDS + TIMES_AS_LONG * (time.monotonic() - began)
        path = self.root / LIBRARY / module
        whole = path.read_text()
        try:
            _write(path, text)
            return self._status(tests, self._limits[tests]) == 0
        finally:
            _write(path, whole)

    def _status(self, tests, limit):
        """The exit status of pytest, None if it took longer than `limit` seconds."""
        command = [sys.executable, '-m', 'pytest', '-q', '-x', '-p', 'no:cacheprovider', *tests]
        paths = {'PYTHONPATH': str(self.root / 'lib'), 'TMPDIR': str(self._temporary)}
        process = subprocess.Popen(
            command, cwd=self.root, env={**os.environ, **paths}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            return process.wait(limit)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):  # also what the tests left running
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _write(path, source):
    """Put `source` into a module; what Python compiled of the one before could pass for it."""
    path.write_text(source)
    for compiled in (path.parent / '__pycache__').glob(f'{path.stem}.*'):
        compiled.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('modules', nargs='*', default=[*MODULES], help='such as video/sampling.py')
    parser.add_argument('--count', type=int, default=150, help='mutants (150)')
    parser.add_argument('--seed', type=int, default=0, help='of the sample (0)')
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the tests too
    sample, survivors = drawn(ROOT, args.modules, args.count, args.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(ROOT, pathlib.Path(folder))
        for done, (module, number) in enumerate(sample, 1):
            line, what, text = mutant((ROOT / LIBRARY / module).read_text(), number)
            print(f'{done} of {len(sample)}: {module}:{line}: {what}', file=sys.stderr, flush=True)
            if copy.survives(module, text):
                survivors += 1
                print(f'{LIBRARY / module}:{line}: {what}', flush=True)
    print(f'{len(sample)} mutants, {survivors} survived')


if __name__ == '__main__':
    main()
