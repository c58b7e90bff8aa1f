"""What every backend offers: the Engine that runs a network, the Trainer that trains one."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Optional, Protocol

import numpy as np

from r2plus1d.networks.network import Network
from r2plus1d.weights.onnx_model import Source


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """How a network is run.

    Attributes:
        engine: a name in `table.BACKENDS`, or `auto`.
        precision: one of `table.PRECISIONS`, what the network computes in; its outputs are
            float32. int8 needs an OnnxModel that was made for it.
        threads: of OpenVINO and PyTorch on the CPU; 0 leaves it to them.
        cache: folder of networks that OpenVINO has prepared before, or None.
        use_cudnn: cuDNN on GPUs, in Caffe2.
    """

    engine: str = 'auto'
    precision: str = 'fp32'
    threads: int = 0
    cache: Optional[pathlib.Path] = None
    use_cudnn: bool = True


class Engine(Protocol):
    """Runs one network; it is a context manager, which frees the memory at its end.

    Attributes:
        name: of its backend.
        precision: what the network computes in.
        network: the Network.
        outputs: names of the blobs that `run` returns.
    """

    name: str
    precision: str
    network: Network
    outputs: tuple[str, ...]

    def load(self, weights: Source) -> None:
        """Take parameters {blob: array}, complete, as load_parameters returns; or an OnnxModel.

        Raises:
            InputError: weights of another network, or without one of the outputs.
            BackendError: a device without enough memory.
        """

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            pixels: N x C x T x H x W, N at least 1: uint8 RGB, or float32 that is normalized
                already.

        Returns:
            {output: float32 array of N rows}, rows in the order of `pixels`.

        Raises:
            BackendError: a device without enough memory, a process that ended.
        """

    def __enter__(self) -> 'Engine': ...

    def __exit__(self, *exc_info: object) -> None: ...


class Trainer(Protocol):
    """Trains one network; it is a context manager, which frees the memory at its end.

    Attributes:
        network: the Network.
        parameter_names: of what an inference network needs: parameters and running statistics.
        momentum_names: of what only training needs.
    """

    network: Network

    @property
    def parameter_names(self) -> list[str]: ...

    @property
    def momentum_names(self) -> list[str]: ...

    def get(self, names: Iterable[str]) -> dict[str, np.ndarray]:
        """Return {name: float32 array} of parameters, statistics or momenta."""

    def set(self, blobs: Mapping[str, np.ndarray]) -> None:
        """Set {name: array} of any of them."""

    def step(
        self, data: np.ndarray, label: np.ndarray, learning_rate: float
    ) -> tuple[float, float]:
        """Train on one batch.

        Args:
            data: float32 N x C x T x H x W, normalized.
            label: int32 (N,), or (N, num_labels) of 0 and 1 for a multi-label network.

        Returns:
            (loss, accuracy) of the batch before the update; the accuracy of a multi-label network
            is NaN.
        """

    def save(self, path: pathlib.Path, iteration: int) -> None:
        """Write a checkpoint, complete or not at all.

        Raises:
            InputError: it cannot be written.
        """

    def __enter__(self) -> 'Trainer': ...

    def __exit__(self, *exc_info: object) -> None: ...
