"""A page about two runs on the same videos."""

import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from r2plus1d.evaluation.compare_predictions import GAINED, LOST, Change, Comparison
from r2plus1d.pictures.html_page import Column, facts, paragraph, section, shown, table
from r2plus1d.pictures.report import Facts, interval, write_page

MOST_CHANGES = 200  # of each kind, on the page


class Changes:
    """Keeps the first videos that were lost and gained, as many as the page lists.

    Attributes:
        first: {kind: Changes}, in the order in which they came.
    """

    def __init__(self) -> None:
        self.first: dict[str, list[Change]] = {LOST: [], GAINED: []}

    def add(self, change: Change) -> None:
        """Take in one of the changes."""
        if len(self.first[change.what]) < MOST_CHANGES:
            self.first[change.what].append(change)


def write_comparison(
    path: pathlib.Path,
    found: Comparison,
    changes: Changes,
    *,
    paths: Sequence[Any],
    facts_of_run: Facts,
) -> None:
    """Write the page; it appears at `path` when it is complete.

    Args:
        paths: of the predictions of the two runs, A and B.
        facts_of_run: as report.write_report.
    """
    body = [
        section('Accuracy', _accuracies(found, paths)),
        section('Right in one run only', *_totals(found)),
        section('Classes', _classes(found)),
        section('Right in A, wrong in B', *_changed(changes.first[LOST], found.lost)),
        section('Wrong in A, right in B', *_changed(changes.first[GAINED], found.gained)),
        *(section(heading, facts(pairs)) for heading, pairs in facts_of_run.items()),
    ]
    summary = (
        f'{found.videos} videos are in both runs, {found.only_first} only in A and '
        f'{found.only_second} only in B; those in both are compared.'
    )
    write_page(path, title='Two runs compared', summary=summary, body=''.join(body))


def _accuracies(found, paths):
    columns = Column('run'), Column('predictions'), Column('top 1', True), Column('95% interval')
    rows = (
        [name, shown(path), f'{share:.5f}', interval(low, high)]
        for name, path, (share, low, high) in zip('AB', paths, map(found.accuracy, (0, 1)))
    )
    return table(columns, rows) + paragraph('The intervals are Wilson score intervals.')


def _totals(found) -> Iterable[str]:
    columns = Column(''), Column('right in B', True), Column('wrong in B', True)
    yield table(
        columns,
        [
            ['right in A', f'{found.both}', f'{found.lost}'],
            ['wrong in A', f'{found.gained}', f'{found.neither}'],
        ],
    )
    yield paragraph(
        f"McNemar's exact test, two-sided: p = {found.p_value:.4g}, the probability of a split of "
        f'{found.lost} to {found.gained} or a more uneven one, if both runs were equally good.'
    )


def _classes(found):
    columns = (
        Column('class'), Column('videos', True), Column('right in A', True),
        Column('right in B', True), Column('change', True),
    )  # fmt: skip
    rows = (
        [
            shown(c.name), f'{c.videos}', f'{c.right1}', f'{c.right2}',
            _signed(c.right2 - c.right1),
        ]
        for c in found.classes
    )  # fmt: skip
    return table(columns, rows, is_sortable=True)


def _signed(change):
    kind = GAINED if change > 0 else LOST if change < 0 else ''
    return f'<span class="{kind}">{change:+d}</span>' if kind else '0'


def _changed(listed, count) -> Iterable[str]:
    if not count:
        yield paragraph('None.')
        return
    columns = (
        Column('video'), Column('class'), Column('A says'), Column('probability', True),
        Column('B says'), Column('probability', True),
    )  # fmt: skip
    rows = (
        [
            f'<code>{shown(c.name)}</code>', shown(c.label), shown(c.first),
            f'{c.probability1:.4f}', shown(c.second), f'{c.probability2:.4f}',
        ]
        for c in listed
    )  # fmt: skip
    yield table(columns, rows, is_sortable=True)
    if len(listed) < count:
        yield paragraph(f'The first {len(listed)} of {count}; --output lists all.')
