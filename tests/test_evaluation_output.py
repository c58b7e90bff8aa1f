"""What an evaluation leaves behind where nobody reads its totals, and which videos have an id."""

import argparse
import types

import pytest

from r2plus1d.cli import report_output
from r2plus1d.cli.evaluation_output import EvaluationOutput
from r2plus1d.evaluation.evaluate import Result
from r2plus1d.evaluation.metrics import Accuracy
from r2plus1d.networks.network import Network


def test_a_page_is_written_where_nobody_reads_the_totals(tmp_path, monkeypatch):
    args = argparse.Namespace(
        num_labels=2, top_k=1, mistakes=0, report=tmp_path / 'r.html', by_class=False,
        max_failures=0,
    )  # fmt: skip
    network = Network('r2d', 10, clip_length=8, num_labels=2)
    output, written = EvaluationOutput(args, types.SimpleNamespace(network=network)), []
    monkeypatch.setattr(output, '_save_report', written.append)

    def gone(*_, **__):
        raise BrokenPipeError

    monkeypatch.setattr('builtins.print', gone)
    result = Result(1, Accuracy(1))
    output.told()['report'](result)
    with pytest.raises(BrokenPipeError):
        output.finish(result, engine='e')
    assert written == ['e']


@pytest.mark.parametrize(
    ('text', 'is_id'),
    [('5', True), ('-5', True), ('--5', False), ('5' * 20, False), ('', False), ('a', False)],
)
def test_what_is_a_video_id(text, is_id):
    assert report_output._is_id(text) == is_id
