"""What a run was asked for, in a file beside what it made: read, written and compared."""

import json
import numbers
import pathlib
from collections.abc import Collection, Mapping
from typing import Any, Optional

from r2plus1d.errors import InputError
from r2plus1d.results.complete import complete_file

Arguments = Mapping[str, Any]  # plain data


def read_arguments(path: pathlib.Path) -> Optional[dict[str, Any]]:
    """Return the dict that write_arguments wrote, None if it is damaged or not there."""
    try:
        arguments = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return arguments if isinstance(arguments, dict) else None


def write_arguments(path: pathlib.Path, arguments: Arguments) -> None:
    with complete_file(path, 'w') as file:
        file.write(json.dumps(arguments, indent=1) + '\n')


def of_options(options: Mapping[str, Any], *, free: Collection[str]) -> dict[str, Any]:
    """Return options as plain data, without those that are not set or whose names are `free`."""
    return {
        name: [_plain(each) for each in value] if isinstance(value, list) else _plain(value)
        for name, value in options.items()
        if name not in free and value is not None
    }


def _plain(value):
    """What JSON has for a value; an integer of numpy's is one too."""
    if isinstance(value, (bool, float, str)):
        return value
    return int(value) if isinstance(value, numbers.Integral) else str(value)


def differing(before: Arguments, now: Arguments) -> list[str]:
    """Names, in order, of what differs between the arguments of a file and those of this run."""
    now = json.loads(json.dumps(now))
    names = (before.keys() | now.keys()) - _without_effect(before, now)
    # A flag that an older release did not have, and that is not used, differs in nothing.
    return sorted(k for k in names if (before.get(k) or None) != (now.get(k) or None))


def _without_effect(*runs):
    """Names of arguments that change no bit: on a CPU every engine computes a clip alone.

    PyTorch's sums depend on how many threads each replica has.
    """
    if any('CPU' not in run.get('gpus', '') for run in runs):
        return set()
    names = {'batch_size', 'engine_threads', 'cpu_replicas', 'gpus'}
    if any(run.get('engine') == 'torch' for run in runs):
        several = any(run.get('cpu_replicas', 1) > 1 for run in runs)
        names = set() if several else {'batch_size'}
    if any(run.get('num_iterations', -1) >= 0 for run in runs):
        names &= {'engine_threads'}  # so many batches: how large they are decides the records
    return names


def require_same(
    place: pathlib.Path, before: Arguments, now: Arguments, *, flag: str = 'output_path'
) -> None:
    """Raise InputError with all that differs between two dicts of arguments.

    Args:
        place: the file or folder that was made with `before`.
        flag: the one that names the output.
    """
    names = differing(before, now)
    if names:
        shown = '; '.join(
            f'{name} was {_shown(before.get(name))} and is {_shown(now.get(name))}'
            for name in names
        )
        raise InputError(
            f'{place} was made with other arguments: {shown}. '
            f'Give the same, another --{flag}, or --overwrite=1 to begin again'
        )


def _shown(value):
    return 'not set' if value is None else value if isinstance(value, str) else json.dumps(value)
