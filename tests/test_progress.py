"""The bar of a run on a terminal."""

import io
import re

import pytest

from r2plus1d.results.progress import Progress

STATUS = 'clip: 0.12345, top 1: 0.12345, top5: 0.12345'  # what test_net.py shows


class Terminal(io.StringIO):
    def isatty(self):
        return True


def last_line(monkeypatch, columns, **how):
    """What a terminal of so many columns shows at last."""
    terminal = Terminal()
    monkeypatch.setattr('sys.stderr', terminal)
    monkeypatch.setenv('COLUMNS', str(columns))
    with Progress(19404, unit='videos', every=1, **how) as progress:
        progress._bar.mininterval = 0
        progress._bar.ncols, progress._bar.dynamic_ncols = columns, None
        for _ in range(3):
            progress.step(STATUS, count=6468)
    return terminal.getvalue().rstrip('\n').split('\r')[-1]


@pytest.mark.parametrize('how', [{}, {'title': 'comparing'}])
def test_there_is_a_bar_at_80_columns(monkeypatch, how):
    line = last_line(monkeypatch, 80, **how)
    assert len(line) <= 80
    assert len(re.search(r'\|([█#]+)\|', line)[1]) >= 10
    assert '19404/19404 videos' in line
    assert 'clip: 0.12345' in line


def test_a_wide_terminal_shows_the_whole_status(monkeypatch):
    line = last_line(monkeypatch, 120)
    assert STATUS in line
    assert len(re.search(r'\|([█#]+)\|', line)[1]) > 10
