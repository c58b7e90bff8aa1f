"""What tools/test_net.py prints and writes of an evaluation, and its exit status."""

import argparse
import logging
from typing import Any, Optional

from r2plus1d.cli import from_flags
from r2plus1d.cli.from_evaluation_flags import Evaluation
from r2plus1d.cli.main import INTERRUPTED, TOO_MANY_FAILURES
from r2plus1d.cli.report_output import describe_database, describe_file, save_report
from r2plus1d.evaluation.by_class import by_class_lines
from r2plus1d.evaluation.evaluate import Result
from r2plus1d.evaluation.tally import Tally
from r2plus1d.networks import cost

log = logging.getLogger(__name__)


class EvaluationOutput:
    """The totals on stdout, and the page of --report.

    Args:
        args: parsed options of the tool.
        job: what they ask for.
    """

    def __init__(self, args: argparse.Namespace, job: Evaluation) -> None:
        self._args, self._job = args, job
        self._unprinted: Optional[OSError] = None
        self._tally = Tally(args.num_labels, top_k=args.top_k, most_mistakes=args.mistakes)

    def told(self) -> dict[str, Any]:
        """Return the arguments `each` and `report` of evaluate."""
        counts = self._args.report or self._args.by_class
        return {'each': self._tally.add_sample if counts else None, 'report': self._print}

    def _print(self, result: Result) -> None:
        """Print the totals, and with --by_class those of each class."""
        multiply_adds, parameters = cost.totals(self._job.network)
        lines = [
            f'videos: {result.records}, scored: {result.scored}, failed: {result.failed}',
            f'Test accuracy: {result.score}',
            f'FLOPs: {multiply_adds / 1e9:.3f}, params: {parameters / 1e6:.3f}',
        ]
        if result.ended:
            lines.insert(0, self._partial(result))
        if result.failed:
            log.warning('%d failed, listed in %s', result.failed, self._job.settings.failures)
        if not result.scored:
            log.warning('no video was scored: the accuracies below say nothing')
        if self._args.by_class and result.scored:
            labels = range(self._job.network.num_labels)
            lines += by_class_lines(self._tally, self._job.settings.class_names or labels)
        try:
            print(*lines, sep='\n', flush=True)
        except OSError as error:  # whoever reads has gone; the page is written all the same
            self._unprinted = error

    def _partial(self, result: Result) -> str:
        """A line about a run that ended early; log where it goes on."""
        output = self._job.settings.output
        if output and result.scored:
            log.warning(
                'the predictions so far are in %s.partial; the same command goes on', output
            )
        rest = result.records - result.scored - result.failed
        return f'partial: {result.ended}, {rest} of {result.records} videos not reached'

    def finish(self, result: Result, *, engine: str = '') -> int:
        """Write the page, if one is asked for, and return the exit status.

        Args:
            engine: what ran the network, in words for the page; empty if shards did.
        """
        page = self._args.report
        if page and result.ended:
            log.warning('%s is written when the run is complete', page)
        elif page:
            self._save_report(engine)
            log.info('the report is in %s', page)
        if self._unprinted:
            raise self._unprinted
        return self._status(result)

    def _save_report(self, engine: str) -> None:
        args, job = self._args, self._job
        save_report(
            args, self._tally, title=f'{job.network.name} on {args.test_data}',
            class_names=job.settings.class_names, budget=from_flags.budget(args),
            details={
                'network': job.network.name,
                **({'engine': engine} if engine else {}),
                'weights': describe_file(job.stored.path),
                'database': describe_database(args.test_data),
            },
        )  # fmt: skip

    def _status(self, result: Result) -> int:
        most = self._args.max_failures
        if result.failed > most:
            log.warning('exit status %d: max_failures is %d', TOO_MANY_FAILURES, most)
        if result.ended == 'interrupted':
            return INTERRUPTED
        return TOO_MANY_FAILURES if result.ended or result.failed > most else 0
