"""What a tool prints does nothing to a terminal, whatever the names in files and servers hold."""

import io
import logging
import os
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.cli import main, onnx_output
from r2plus1d.errors import InputError, printable
from r2plus1d.networks.network import Network
from r2plus1d.weights import minidb
from tool_here import run_here

ESCAPE = '\x1b]0;title\x07\x1b[2J'


@pytest.mark.parametrize(
    ('text', 'shown'),
    [
        ('plain text, 100%', 'plain text, 100%'),
        ('äöü 動画 \u3000 \U0001f3c3\u200d\u2640', 'äöü 動画 \u3000 \U0001f3c3\u200d\u2640'),
        (ESCAPE, r'\x1b]0;title\x07\x1b[2J'),
        ('two\r\nlines\ttab', r'two\r\nlines\ttab'),
        ('\x00\x7f\x9b31m', r'\x00\x7f\x9b31m'),
        ('turned \u202e round\u2028', r'turned \u202e round\u2028'),
        (os.fsdecode(b'any \xff byte'), r'any \udcff byte'),
        (InputError('of an error\n'), r'of an error\n'),
    ],
)
def test_what_controls_a_terminal_is_written_out(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.parametrize('error', [InputError, MemoryError])
def test_an_error_is_one_plain_line(monkeypatch, capsys, error):
    def fail():
        raise error(f'{ESCAPE}\nsecond line')

    monkeypatch.setattr(sys, 'argv', [f'a{ESCAPE}tool.py'])
    with pytest.raises(SystemExit):
        main.run(fail)
    (line,) = capsys.readouterr().err.splitlines()
    text = f'{ESCAPE}\nsecond line'
    if error is MemoryError:
        text = 'not enough memory (`ulimit -v` may limit it): second line'
    assert line == printable(f'a{ESCAPE}tool.py: {text}')


def test_a_log_is_plain_and_a_traceback_keeps_its_lines(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(logging.getLogger(), 'handlers', [])  # as in a process of its own
    monkeypatch.setattr(sys, 'stderr', stream)

    def work():
        log = logging.getLogger('r2plus1d.anything')
        log.warning('record %s', ESCAPE)
        try:
            raise ValueError('inner')
        except ValueError:
            log.exception('two\nlines')

    with pytest.raises(SystemExit):
        main.run(work)
    first, second, *traceback = stream.getvalue().splitlines()
    assert (first, second) == (printable(f'record {ESCAPE}'), r'two\nlines')
    assert traceback[-1] == 'ValueError: inner'


def test_a_wrong_flag_is_one_plain_line(run_tool):
    done = run_tool('tools/model_zoo.py', f'--download={ESCAPE}\nx')
    (line,) = done.stderr.splitlines()
    assert line.isprintable()


def test_names_in_a_weight_file_are_shown_plainly(tmp_path):
    path = tmp_path / 'model.mdl'
    minidb.write(path, {f'blob{ESCAPE}': np.full(3, np.nan, np.float32)}, {})
    path = path.rename(tmp_path / 'a\x1b[31m.mdl')
    done = run_here(
        'tools/export_onnx.py', f'--load_model_path={path}', f'--output={tmp_path}/out.onnx'
    )
    assert done.returncode == main.FAILED
    (line,) = done.stderr.splitlines()
    assert line.isprintable()


def test_names_of_classes_are_shown_plainly(tmp_path):
    onnx = pytest.importorskip('onnx', reason='needs ONNX')
    model = onnx.ModelProto()
    model.metadata_props.add(key='labels', value=f'["{ESCAPE}"]')
    model.graph.output.add(name=ESCAPE)
    (tmp_path / 'x.onnx').write_bytes(b'')
    lines = list(onnx_output.summary(tmp_path / 'x.onnx', Network('r2d', 10), model))
    assert printable(f'  labels: ["{ESCAPE}"]') in lines
    assert all(line.isprintable() for line in lines)


def printed(text, encoding):
    code = f'from r2plus1d.cli.main import run; run(lambda: print({text!a}))'
    environment = {**os.environ, 'PYTHONPATH': str(ROOT / 'lib'), 'PYTHONIOENCODING': encoding}
    return subprocess.run(
        [sys.executable, '-c', code], capture_output=True, env=environment, check=False
    )


def test_a_path_of_any_bytes_is_printed_as_these_bytes():
    done = printed('a\udcff', 'utf-8')
    assert (done.returncode, done.stdout) == (0, b'a\xff\n')


def test_a_name_that_stdout_cannot_encode_is_one_line():
    done = printed('caf\u00e9', 'ascii')
    assert (done.returncode, done.stdout) == (1, b'')
    said = b'ascii, the encoding of stdout, has no \\xe9: set PYTHONIOENCODING=utf-8\n'
    assert done.stderr.endswith(said), done.stderr
    assert done.stderr.count(b'\n') == 1
