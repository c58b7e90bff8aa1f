"""An engine with the weights of a Model in it."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.choose import open_engine
from r2plus1d.devices import Devices
from r2plus1d.model import Model


@contextlib.contextmanager
def opened(
    model: Model, settings: EngineSettings, devices: Devices, outputs: Sequence[str]
) -> Iterator[Any]:
    """Give an engine with the model's weights, None if no output is asked for.

    Raises:
        InputError, BackendError: as open_engine, and as the engine's `load`.
    """
    if not outputs:
        yield None
        return
    with open_engine(
        model.network,
        devices=devices,
        outputs=outputs,
        settings=settings,
        from_onnx=model.onnx is not None,
    ) as engine:
        engine.load(model.onnx or model.parameters)
        yield engine
