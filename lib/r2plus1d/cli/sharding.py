"""What --shard, --merge and --ray ask for."""

import argparse
from typing import Optional

from r2plus1d.devices import Shard
from r2plus1d.errors import InputError


def chosen_shard(args: argparse.Namespace) -> Optional[Shard]:
    """Return the Shard of the flags SHARDS, None without one.

    Raises:
        InputError: merge or ray is asked for too.
    """
    if args.shard is not None and args.merge:
        raise InputError('shard runs one part and merge puts all parts together: give one of them')
    if has_ray(args) and (args.shard is not None or args.merge):
        raise InputError('ray does all parts and merges them: leave out shard and merge')
    return args.shard


def has_ray(args: argparse.Namespace) -> bool:
    """Whether the parts are done on a cluster of Ray."""
    return getattr(args, 'ray', None) is not None


def is_sharded(args: argparse.Namespace) -> bool:
    """Whether the run is one shard, or merges them, or does all of them on a cluster."""
    return chosen_shard(args) is not None or args.merge or has_ray(args)
