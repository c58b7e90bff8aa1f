"""What tools/extract_features.py prints of an extraction, and its exit status."""

import argparse
import logging

from r2plus1d.cli.extraction import Outcome
from r2plus1d.cli.main import TOO_MANY_FAILURES

log = logging.getLogger(__name__)


def print_shard(outcome: Outcome, args: argparse.Namespace) -> None:
    """Print what became of a shard."""
    _print_work(outcome, args)
    print(*outcome.lines, sep='\n', flush=True)


def report(outcome: Outcome, args: argparse.Namespace) -> int:
    """Print what there is and return the exit status."""
    _print_work(outcome, args)
    print(*outcome.lines, sep='\n')
    if outcome.failed:
        log.warning('%d failed, listed in %s', outcome.failed, outcome.failures)
    return TOO_MANY_FAILURES if outcome.failed > args.max_failures else 0


def _print_work(outcome, args):
    work = outcome.work
    if args.stats and work:
        print(f'frames decoded: {work.decoded}, converted: {work.converted}, flows: {work.flows}')
