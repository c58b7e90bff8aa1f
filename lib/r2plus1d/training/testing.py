"""The tests in the course of training: what the network scores after an epoch, by an engine."""

import contextlib
import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Callable

import numpy as np

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.choose import open_engine
from r2plus1d.devices import Devices
from r2plus1d.evaluation.evaluate import EvaluationSettings, evaluate
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.network import Network
from r2plus1d.sources.sample import SampleSource
from r2plus1d.training.loop import Test

log = logging.getLogger(__name__)

FAILURES = 'test_failures.csv'


@contextlib.contextmanager
def open_test(
    open_source: Callable[[], contextlib.AbstractContextManager[SampleSource]],
    network: Network,
    *,
    devices: Devices,
    engine: EngineSettings,
    folder: pathlib.Path,
    batch_size: int,
) -> Iterator[Test]:
    """Give the function from parameters to accuracies that `loop.train` calls after each epoch.

    Args:
        open_source: makes the source of the test records, which is read in every test.
        devices: the rows of a batch are divided among them.
        folder: where the list of failed records goes; it is made.
        batch_size: videos that the engine gets at a time, over all devices.

    Raises:
        InputError: what the engine or the source lacks, so that it is known before an epoch is
            trained. Nothing is written if the engine lacks something.
    """
    try_engine(network, devices=devices, settings=engine)
    folder.mkdir(parents=True, exist_ok=True)
    settings = EvaluationSettings(batch_size=batch_size, failures=folder / FAILURES)
    with open_source() as source:

        def test(parameters: Mapping[str, np.ndarray]) -> tuple[float, float, float]:
            return score(parameters, source, network, devices, engine, settings)

        yield test


def try_engine(network: Network, *, devices: Devices, settings: EngineSettings) -> None:
    """Open the engine of the tests with parameters of this network, whatever their values.

    Raises:
        InputError: what the engine lacks.
    """
    shapes = parameter_shapes(network)
    zeros = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
    with open_engine(
        network, devices=devices, outputs=[network.prediction], settings=settings
    ) as engine:
        engine.load(zeros)
        log.info('tests: engine %s, %s, on %s', engine.name, engine.precision, devices)


def score(
    parameters: Mapping[str, np.ndarray],
    source: SampleSource,
    network: Network,
    devices: Devices,
    settings: EngineSettings,
    evaluation: EvaluationSettings,
) -> tuple[float, float, float]:
    """Return (clip, top-1, top-k accuracy) over the source; see metrics for several labels a video.

    Args:
        parameters: {blob: float32 array}, complete.

    Raises:
        KeyboardInterrupt: the test was interrupted.
    """
    # Opened anew, as fast as keeping it: between the tests all memory is training's.
    with open_engine(
        network, devices=devices, outputs=[network.prediction], settings=settings
    ) as engine:
        engine.load(parameters)
        result = evaluate(source, engine, evaluation)
    if result.ended:
        raise KeyboardInterrupt
    return result.score.shares
