"""Guards of the evaluation that only a faulty reader or a huge request sets off."""

import dataclasses

import numpy as np
import pytest

from r2plus1d.errors import InputError, RecordError
from r2plus1d.evaluation.compare import compare_engines
from r2plus1d.evaluation.evaluate import EvaluationSettings, evaluate
from r2plus1d.inference.prediction import predict
from r2plus1d.pictures import contact_sheet
from r2plus1d.sources.sample import RecordNeeds, Sample
from r2plus1d.video.clip import Clips
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video

CLIPS = Clips(np.zeros((2, 3, 8, 112, 112), np.uint8), np.zeros(2), np.zeros((2, 2)))
GOOD = Sample(0, '0', labels=(1,), clips=CLIPS)
BAD = Sample(0, '0', failure='bad')


class Reader(list):
    settings = ClipSettings(length=8, clips=2)
    needs = RecordNeeds(3)
    size = None

    def __len__(self):
        return super().__len__() if self.size is None else self.size


class Engine:
    network = type('Network', (), {'prediction': 'softmax'})

    def __init__(self):
        self.batches = []

    def run(self, data):
        self.batches.append(len(data))
        return {'softmax': np.eye(3, dtype=np.float32)[np.ones(len(data), int)]}


def test_failures_are_handed_on_at_once_and_in_order():
    seen = []

    def watched():
        for index, sample in enumerate([GOOD, BAD, GOOD, GOOD, GOOD, BAD, BAD, GOOD]):
            seen.append(index)
            yield dataclasses.replace(sample, index=index)

    reader, engine = Reader(), Engine()
    reader.__class__ = type('Lazy', (Reader,), {'__iter__': lambda self: watched()})
    order, ahead = [], []
    for sample, outputs in predict(reader, engine, batch_size=2):
        order.append((sample.index, outputs is None))
        ahead.append(len(seen) - len(order))
    assert order == [(i, i in (1, 5, 6)) for i in range(8)]
    assert max(ahead) <= 1
    assert engine.batches == [2, 4, 2, 2]


def test_records_that_vanish_are_noticed(tmp_path):
    reader = Reader([GOOD, GOOD])
    reader.size = 3
    settings = EvaluationSettings(failures=tmp_path / 'f.csv')
    with pytest.raises(InputError, match='3 records at its start, 2 scored and 0 failed'):
        evaluate(reader, Engine(), settings)


class EngineWithNaN(Engine):
    """Gives NaN for the second record of a batch."""

    def run(self, data):
        rows = super().run(data)
        rows['softmax'][2:4, 0] = np.nan
        return rows


class Journal:
    """Keeps the indices of what it is given."""

    done = 0

    def __init__(self):
        self.kept = []

    def scored(self):
        return ()

    def add(self, batch):
        self.kept += [sample.index for sample, _ in batch]

    def remove(self):
        pass


def test_a_comparison_scores_no_nan(tmp_path):
    reader = Reader(dataclasses.replace(GOOD, index=index, labels=(0,)) for index in range(3))
    sound = Engine()

    class WithNaN(Engine):
        def run(self, data):
            rows = sound.run(data)
            return {'softmax': np.full_like(rows['softmax'], np.nan)}

    found = compare_engines(reader, {'a': sound, 'b': WithNaN()})
    assert (found.failed, found.clips, found.scores['b'].videos) == (3, 0, 0)


@pytest.mark.parametrize('stop', [False, True])
def test_nan_is_no_class(tmp_path, stop):
    reader = Reader(dataclasses.replace(GOOD, index=index, labels=(0,)) for index in range(3))
    settings = EvaluationSettings(failures=tmp_path / 'f.csv', stop_at_failure=stop)
    journal = Journal()
    result = evaluate(reader, EngineWithNaN(), settings, journal=journal)
    assert (result.scored, result.failed) == ((1, 1) if stop else (2, 1))
    assert 'softmax of the network has NaN or infinite numbers' in settings.failures.read_text()
    assert journal.kept == ([0] if stop else [0, 1, 2])  # the one that failed is tried again


def test_a_sheet_has_an_end(monkeypatch, tmp_path):
    monkeypatch.setattr(contact_sheet, 'MAX_SHEET_ROWS', 1)
    shown = contact_sheet.collect(Reader([GOOD]))
    with pytest.raises(InputError, match='a sheet of 2 rows; at most 1: use --num_records'):
        contact_sheet.save_sheet(tmp_path / 'x.png', shown, Reader.settings)


def test_a_stream_without_packets(make_video):
    with Video(make_video(12)) as video:
        video._packets._unread = iter(())
        with pytest.raises(RecordError, match='no video data'):
            video.count_packets()
