"""The command `r2plus1d`: the programs of tools/ and data/ as subcommands.

Only the standard library is imported here; a program imports what it needs.
"""

import ast
import difflib
import importlib.metadata
import pathlib
import runpy
import sys

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
BAD_USAGE = 2


def main() -> None:
    """Run the program that the first argument names, in this process.

    Raises:
        SystemExit: with the program's status; 2 for a name that is none.
    """
    words, known = sys.argv[1:], programs()
    if not words or words[0] in ('-h', '--help'):
        print(_listing(known))
    elif words[0] == '--version':
        print('r2plus1d', version())
    elif words[0] in known:
        _run(known[words[0]], words[1:])
    else:
        near = difflib.get_close_matches(words[0], known, n=1)
        hint = f'; the nearest is {near[0]}' if near else ''
        print(f'r2plus1d: no program {words[0]}{hint} (r2plus1d lists them)', file=sys.stderr)
        sys.exit(BAD_USAGE)


def programs() -> dict[str, pathlib.Path]:
    """Return {name: its file}: of the wheel, or of the checkout that lib/ lies in."""
    folders = [PACKAGE / 'programs']
    if not folders[0].is_dir():
        folders = [PACKAGE.parents[1] / name for name in ('tools', 'data')]
    paths = [path for folder in folders for path in sorted(folder.glob('[!_]*.py'))]
    return {path.stem: path for path in paths}


def version() -> str:
    """Return the version of the package, `unknown` where it is imported without being installed."""
    try:
        return importlib.metadata.version('r2plus1d')
    except importlib.metadata.PackageNotFoundError:
        return 'unknown'


def _run(path, words):
    sys.argv = [f'r2plus1d {path.stem}', *words]
    sys.path.insert(0, str(path.parent))  # as `python path` does
    runpy.run_path(str(path), run_name='__main__')


def _listing(known):
    width = max(map(len, known), default=0)
    lines = [f'  {name:<{width}}  {_summary(path)}' for name, path in known.items()]
    return '\n'.join(
        ['usage: r2plus1d PROGRAM [--help] [flags]', '', *lines, '', 'r2plus1d --version']
    )


def _summary(path):
    """The first line of a program's docstring; nothing is run to find it."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding='utf-8'))) or ''
    return text.partition('\n')[0]
