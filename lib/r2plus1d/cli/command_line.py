"""From the words of a command line to the values of a tool's flags."""

import argparse
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from r2plus1d.cli.flag_types import bit, gpus, integers, paths, shard, written
from r2plus1d.cli.flags import REQUIRED, Option
from r2plus1d.cli.help import Row, split_description
from r2plus1d.cli.main import Parser, before_the_rest
from r2plus1d.cli.places import require_apart
from r2plus1d.cli.refusals import Given, refuse_unread


def parse(
    description: str,
    *groups: Mapping[str, Option],
    argv: Optional[Sequence[str]] = None,
    positional: Sequence[str] = (),
    **changes: Any,
) -> argparse.Namespace:
    """Parse a command line.

    Args:
        description: docstring of the tool; the command of its `Example:` names the tool.
        groups: dicts of options, such as those of cli.flags.
        argv: the arguments; None takes the process's own.
        positional: options whose values may be given as words without its name, in this order;
            one of several values takes all the words that are left.
        changes: defaults that differ for this tool, or REQUIRED.

    Returns:
        argparse.Namespace with an attribute for each option, and `given`, the set of the names of
        those that were on the command line (refusals.Given).

    Raises:
        InputError: an output is an input; a flag that was given does nothing. What a weight file
            may decide is known only later: a tool that reads one calls refusals.refuse_unread once
            more.
    """
    parser = Parser(description)
    options = {
        name: (kind, changes.get(name, default), text)
        for name, (kind, default, text) in _merged(groups).items()
    }
    for name, (kind, default, text) in options.items():
        _add(parser, name, kind, default, text, is_positional=name in positional)
    given = sys.argv[1:] if argv is None else argv
    words = _with_names(given, [(name, options[name][0] is paths) for name in positional])
    args = parser.parse_args(words)
    for name, (kind, _, _) in options.items():
        setattr(args, name, getattr(args, name, [] if kind in (integers, gpus) else None))
    names = {word[2:].split('=')[0] for word in words if word.startswith('--')}
    changed = {name for name in names if not _is_default(getattr(args, name), options[name])}
    args.given = Given(names, changed=changed, tool=_tool(description))
    refuse_unread(args, weights_are_read=getattr(args, 'load_model_path', None) is None)
    require_apart(options, vars(args))
    return args


def _with_names(words: Sequence[str], positional: Sequence[tuple[str, bool]]) -> list[str]:
    """Write words that are no flag and no flag's value as flags.

    Args:
        words: of a command line. What stands behind `--` is no flag.
        positional: (name, whether it takes all the words that are left), in order.
    """
    flags_of = list(before_the_rest(words)) if positional else list(words)
    left, named, before = list(positional), [], ''
    for place, each in enumerate(words):
        is_rest = place > len(flags_of)
        if place == len(flags_of) and left:
            continue  # the `--` itself
        is_value = not is_rest and before.startswith('--') and '=' not in before
        if left and not is_value and (is_rest or not each.startswith('-')):
            name, takes_all = left[0]
            left = left if takes_all else left[1:]
            each = f'--{name}={each}'
        named.append(each)
        before = each
    return named


def _add(parser, name, kind, default, text, *, is_positional):
    how = {'type': kind, 'default': argparse.SUPPRESS}
    if default not in (None, REQUIRED, []):
        how['default'] = int(default) if kind is bit else default
    if kind is bit:
        how.update(nargs='?', const=True)  # --name alone is --name=1
    if kind is paths:
        how.update(nargs='+', action='extend')  # --videos=A --videos=B are both
    shown = (
        '' if how.get('default', argparse.SUPPRESS) is argparse.SUPPRESS else str(how['default'])
    )
    metavar = _word(name, kind) if is_positional else _metavar(kind)
    words, is_required = getattr(kind, 'shown', ''), default is REQUIRED
    row = Row(name, metavar, text, words, shown, is_required, is_positional)
    parser.add_flag(row, **how)


def _is_default(value, option):
    kind, default, _ = option
    if isinstance(default, str):  # argparse reads a default that is a text as it reads a flag
        default = kind(default)
    return value == default


def _tool(description):
    """Name of the tool that the example in its docstring calls, or None."""
    found = re.search(r'(\w+)\.py\b', split_description(description)[1])
    return found and found[1]


def _merged(groups):
    return {name: option for group in groups for name, option in group.items()}


def _word(name, kind):
    """What stands for the value of a flag that is given without its name."""
    return f'{name.removesuffix("s").upper()}...' if kind is paths else name.upper()


def _metavar(kind):
    names = {
        bit: '0|1',
        integers: 'N,N',
        gpus: 'N,N',
        shard: 'I/N',
        pathlib.Path: 'PATH',
        written: 'PATH',
        paths: 'PATH',
        str: 'TEXT',
    }
    return names.get(kind, 'WORD' if hasattr(kind, 'shown') else 'N')
