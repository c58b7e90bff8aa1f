"""A flag that would do nothing is refused, by its name.

A flag whose value is its default is never refused, so that old commands go on working.
"""

import argparse

from r2plus1d.cli.flag_rules import READ, READ_BY
from r2plus1d.cli.unread import Unread
from r2plus1d.errors import InputError


class Given(set):
    """Names of flags, `changed` of them not the default; `tool` is the tool's name or None."""

    def __init__(self, names: 'set[str]', *, changed: 'set[str]', tool: 'str | None') -> None:
        super().__init__(names)
        self.changed = changed
        self.tool = tool


def rules(tool: str, flag: str) -> 'tuple[Unread, ...]':
    """When a flag of a tool does nothing; KeyError for a flag that is not in the table."""
    rule = READ_BY.get(tool, {}).get(flag) or READ[flag]
    if isinstance(rule, str):
        return ()
    return rule if isinstance(rule, tuple) else (rule,)


def refuse_unread(args: argparse.Namespace, *, weights_are_read: bool = True) -> None:
    """Refuse flags that were given and would do nothing.

    Args:
        args: parsed options, with `given` as command_line.parse makes it.
        weights_are_read: whether what a weight file says is in `args`; otherwise what it may
            still say decides nothing.

    Raises:
        InputError: names the first such flag in alphabetical order, its value and the reason.
    """
    if args.given.tool is None:
        return
    for flag in sorted(args.given.changed):
        for rule in rules(args.given.tool, flag):
            is_known = weights_are_read or rule.decided_by in args.given or not rule.decided_by
            if is_known and rule.holds(args):
                raise InputError(
                    f'{flag}={_shown(args, flag)} does nothing {rule.when}; leave it out'
                )


def _shown(args, flag):
    value = getattr(args, flag)
    return int(value) if isinstance(value, bool) else value
