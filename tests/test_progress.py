"""The bar of a run on a terminal."""

import io
import logging
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


def lines_of(caplog, monkeypatch, counts, seconds=10.0, **how):
    """What a log says of steps that take so many seconds each."""
    times = iter(range(100))
    monkeypatch.setattr('sys.stderr', io.StringIO())
    monkeypatch.setattr('r2plus1d.results.progress.time.monotonic', lambda: seconds * next(times))
    caplog.set_level(logging.INFO)
    with Progress(10, unit='clips', **how) as progress:
        for count in counts:
            progress.step('fine', count)
    return caplog.messages


def test_a_log_gets_a_line_at_each_so_many_steps(caplog, monkeypatch):
    lines = lines_of(caplog, monkeypatch, [1] * 10, every=4)
    assert lines == ['4 of 10 clips, fine, 00:15 left', '8 of 10 clips, fine, 00:05 left']


def test_steps_that_pass_several_lines_at_once_get_one(caplog, monkeypatch):
    lines = lines_of(caplog, monkeypatch, [1, 6, 3], every=2, title='fusing')
    assert lines == ['fusing: 7 of 10 clips, fine, 00:04 left']


def test_what_an_earlier_run_did_takes_no_time(caplog, monkeypatch):
    lines = lines_of(caplog, monkeypatch, [2, 2], every=3, done=4)
    assert lines == ['6 of 10 clips, fine, 00:20 left']


def test_a_narrow_terminal_cuts_the_status(monkeypatch):
    monkeypatch.setattr('sys.stderr', io.StringIO())
    monkeypatch.setenv('COLUMNS', '60')
    with Progress(10, unit='clips', every=1, title='a') as progress:
        # 59 columns less 'a: ', '10/10 clips || 1:23:45, ' and a bar of 10
        assert progress._fitted('x' * 60) == 'x' * 22
    monkeypatch.setenv('COLUMNS', '20')
    assert progress._fitted('x') == ''
