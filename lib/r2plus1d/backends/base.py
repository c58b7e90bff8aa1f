"""What every backend offers: the Engine that runs a network, the Trainer that trains one."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Optional, Protocol

import numpy as np

from r2plus1d.devices import Shard
from r2plus1d.errors import require_integer
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
        deterministic: two runs on a GPU give the same bits, in PyTorch.
    """

    engine: str = 'auto'
    precision: str = 'fp32'
    threads: int = 0
    cache: Optional[pathlib.Path] = None
    use_cudnn: bool = True
    deterministic: bool = False

    def __post_init__(self) -> None:
        require_integer('threads', self.threads, 0)


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
        """Take parameters {blob: array}, complete, as match_parameters returns; or an OnnxModel.

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


@dataclasses.dataclass(frozen=True)
class TrainerSettings:
    """How a network is trained, whatever the data.

    Attributes:
        trainer: a name in `table.BACKENDS` that has one, or `auto`.
        weight_decay: factor of the L2 penalty, on what Caffe2's brew tags as weights: those of
            convolutions and FC layers, and the scales of batch norms, as in the original.
        seed: of the initial parameters.
        shard: this machine's part of what several machines train together; in PyTorch this
            process's part of what several processes do, one for each device.
        meeting_folder: a folder that all machines share, through which they find each other.
        run_id: tells runs in the same folder apart.
        address: (host, port) at which the processes of the trainer torch meet instead, or None.
        use_cudnn, cudnn_workspace_limit_mb: cuDNN on GPUs and the memory that it may use, in MiB.
        card: {key: text} that checkpoints say of the network, see weights.card; None for nothing.
        precision: one of the trainer's precisions in `table.BACKENDS`. The parameters are float32
            in each of them.
        parts: a device computes its clips of an iteration in so many equal parts, one after the
            other, to take less memory; batch norm sees a part at a time.
        sync_bn: batch norm takes its statistics over all processes together.
        compiles: PyTorch compiles the network for its GPU first, which takes a minute or more.
        frozen: names of trained parameters that stay as they are; see networks.stages.
        layer_rates: {trained parameter: factor of its learning rate, above 0}; 1 for the others.
    """

    trainer: str = 'auto'
    weight_decay: float = 0.005
    seed: int = 0
    shard: Shard = Shard()
    meeting_folder: pathlib.Path = pathlib.Path()
    run_id: str = 'r2plus1d'
    address: Optional[tuple[str, int]] = None
    use_cudnn: bool = True
    cudnn_workspace_limit_mb: int = 64
    card: Optional[Mapping[str, str]] = None
    precision: str = 'fp32'
    parts: int = 1
    sync_bn: bool = False
    compiles: bool = False
    frozen: tuple[str, ...] = ()
    layer_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingState:
    """Everything from which training continues, of no framework.

    Attributes:
        parameters: {blob: float32 array} of an inference network: parameters and running
            statistics, complete.
        momenta: {trained parameter: float32 array of its shape}, complete.
        iteration: number of iterations done.
    """

    parameters: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    momenta: Mapping[str, np.ndarray] = dataclasses.field(repr=False)
    iteration: int = 0


class Trainer(Protocol):
    """Trains one network; it is a context manager, which frees the memory at its end.

    Attributes:
        name: of its backend.
        network: the Network.
        gradient_norm: of the last step's gradient, without weight decay; NaN if it is not known.
        seconds: {part of a step: seconds in all steps so far}; empty if it is not known.
    """

    name: str
    network: Network
    gradient_norm: float
    seconds: Mapping[str, float]

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

    def state(self) -> TrainingState:
        """Return a copy of everything from which training continues."""

    def restore(self, state: TrainingState) -> None:
        """Continue from a TrainingState of the same network, complete and of the right shapes."""

    def save(self, path: pathlib.Path) -> None:
        """Write the state as a minidb, complete or not at all.

        Raises:
            InputError: it cannot be written.
        """

    def profile(self) -> list[tuple[float, str, str]]:
        """Return [(milliseconds of a step, operator type, which or how many)], the slowest first.

        The network runs a few more times on its last batch, which trains it further.
        """

    def __enter__(self) -> 'Trainer': ...

    def __exit__(self, *exc_info: object) -> None: ...
