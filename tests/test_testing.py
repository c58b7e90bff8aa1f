"""The tests in the course of training, called as the loop calls them."""

import contextlib
import logging

import pytest

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.choose import open_engine
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.evaluation.evaluate import EvaluationSettings, evaluate
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.training import testing
from r2plus1d.video.clip_settings import ClipSettings

NETWORK = Network('r2d', 10, clip_length=8, num_labels=9, width=0.0625)
CLIPS = ClipSettings(length=8, decode_type='uniform', clips=2)
ENGINE = EngineSettings()


@pytest.fixture
def open_source(make_video, make_database):
    records = [(make_video(14 + i, seed=i).read_bytes(), i // 3 * 3) for i in range(4)]
    path = make_database([*records, (b'\0no video', 1)])
    return lambda: DatabaseSource(path, CLIPS, RecordNeeds(NETWORK.num_labels))


@pytest.fixture
def open_test(open_source, tmp_path):
    def begin(engine=ENGINE, folder=tmp_path / 'new', source=open_source):
        return testing.open_test(
            source, NETWORK, devices=Devices(), engine=engine, folder=folder, batch_size=3
        )

    return begin


def test_each_test_scores_the_parameters_that_it_gets(open_test, open_source, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    found = []
    with open_test() as test:
        assert 'tests: engine ' in caplog.text
        assert caplog.text.count('fp32, on the CPU') == 1
        for label in (0, 3):
            parameters = random_parameters(NETWORK, 0)
            parameters['last_out_L9_b'][label] = 100  # the class that it always says
            found.append(test(parameters))
            expected = scored_alone(parameters, open_source, tmp_path)
            assert found[-1] == expected
    assert [top1 for _, top1, _ in found] == [0.75, 0.25]
    assert '\n4,,,"not a video' in (tmp_path / 'new' / testing.FAILURES).read_text()


def scored_alone(parameters, open_source, folder):
    settings = EvaluationSettings(batch_size=1, failures=folder / 'alone.csv')
    with (
        open_source() as source,
        open_engine(
            NETWORK, devices=Devices(), outputs=['softmax'], settings=EngineSettings('auto')
        ) as engine,
    ):
        engine.load(parameters)
        return evaluate(source, engine, settings).score.shares


def test_an_engine_that_cannot_is_known_before_anything_is_written(open_test, tmp_path):
    engine = EngineSettings('caffe2', precision='bf16')
    with pytest.raises(InputError, match='engine is caffe2|precision is bf16'), open_test(engine):
        pass
    assert not (tmp_path / 'new').exists()


def test_an_interrupted_test_ends_the_training(open_test, open_source):
    class Interrupted:
        needs, settings = RecordNeeds(NETWORK.num_labels), CLIPS

        def __len__(self):
            return 1

        def __iter__(self):
            raise KeyboardInterrupt

    with (
        open_test(source=lambda: contextlib.nullcontext(Interrupted())) as test,
        pytest.raises(KeyboardInterrupt),
    ):
        test(random_parameters(NETWORK, 0))
