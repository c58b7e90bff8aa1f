"""Which classes are told apart: the accuracy of each, and which are taken for which."""

from collections.abc import Sequence

from r2plus1d.evaluation.tally import Tally

WIDEST = 12  # classes of a table of all pairs; of more, the most frequent mistakes are listed
MOST_MISTAKES = 20
LONGEST_NAME = 24  # in a table


def by_class_lines(tally: Tally, names: Sequence[object]) -> list[str]:
    """Return a table in text: a row for each class with its accuracy, and what it is taken for.

    Args:
        names: of the classes, in order.
    """
    shown = [_short(str(name)) for name in names]
    is_small = len(shown) <= WIDEST
    rows = [['class', 'videos', 'right', *(shown if is_small else [])]]
    for label, name in enumerate(shown):
        total, right = int(tally.videos[label]), int(tally.right[label])
        percent = f'{100 * right / total:.1f}%' if total else '-'
        taken_for = [
            str(right if label == other else tally.confused[label, other])
            for other in range(len(shown))
        ]
        rows.append([name, str(total), percent, *(taken_for if is_small else [])])
    lines = _aligned(rows)
    if is_small:
        return ['', 'columns: what the videos of a class were taken for', *lines]
    return ['', *lines, *_mistakes(tally, shown)]


def _mistakes(tally, names):
    """Lines of the most frequent pairs of classes."""
    pairs = sorted(tally.confused.items(), key=lambda item: (-item[1], item[0]))[:MOST_MISTAKES]
    rows = [[str(count), names[label], names[best]] for (label, best), count in pairs]
    return ['', *_aligned([['videos', 'of', 'taken for'], *rows])] if rows else []


def _aligned(rows):
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell[:1].isdigit() or cell == '-' else cell.ljust(width)
            for cell, width in zip(row, widths)
        ]
        lines.append('  '.join(cells).rstrip())
    return lines


def _short(name):
    return name if len(name) <= LONGEST_NAME else f'{name[: LONGEST_NAME - 3]}...'
