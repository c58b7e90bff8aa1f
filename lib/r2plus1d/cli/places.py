"""What a tool writes is nothing that it reads, and no two of its outputs are one file."""

import itertools
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Optional

from r2plus1d.cli.flag_types import paths, written
from r2plus1d.cli.flags import Option
from r2plus1d.datasets.video_files import is_video_name
from r2plus1d.errors import InputError
from r2plus1d.results.complete import require_place

LMDB_FILES = ('data.mdb', 'lock.mdb')


def require_apart(options: Mapping[str, Option], values: Mapping[str, object]) -> None:
    """Raise InputError if an output would take the place of an input or of another output.

    Args:
        options: of the tool; those of the type flag_types.written are outputs, other paths inputs.
        values: of the options, None for those without.
    """
    outputs = list(_places(options, values, written))
    inputs = [*_places(options, values, pathlib.Path), *_places(options, values, paths)]
    for name, path in outputs:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f'{name} is {path}, which is no regular file; name another file')
        for other, given in inputs:
            if _takes_its_place(path, given):
                raise InputError(f'{name} is {path}, which {other} names; name another file')
    for (name, path), (other, given) in itertools.combinations(outputs, 2):
        if os.path.realpath(path) == os.path.realpath(given):
            raise InputError(f'{name} and {other} are both {path}; name two files')


def require_plot(path: Optional[pathlib.Path]) -> None:
    """Raise InputError unless a picture can be made at `path`; None is well."""
    require_place(path)
    if path and path.suffix != '.png':
        raise InputError(f'plot is {path}; its name has to end in .png')
    if path:
        from r2plus1d.pictures.lettering import require_matplotlib  # numpy takes a moment

        require_matplotlib()  # now, not when everything else is done


def _places(
    options: Mapping[str, Option], values: Mapping[str, object], kind: object
) -> Iterator[tuple[str, pathlib.Path]]:
    for name, (own, _, _) in options.items():
        if own is kind:
            value = values.get(name)
            several = value if isinstance(value, list) else [value]
            yield from ((name, path) for path in several if isinstance(path, pathlib.Path))


def _takes_its_place(path: pathlib.Path, given: pathlib.Path) -> bool:
    """Whether an output is an input, the file of a database, or a video of a folder."""
    try:
        if not path.is_file():
            return False
        if path.samefile(given):
            return True
        is_inside = path.resolve().is_relative_to(given.resolve())
    except OSError:  # the input is not there, which is for others to say
        return False
    return is_inside and (path.name in LMDB_FILES or is_video_name(path.name))
