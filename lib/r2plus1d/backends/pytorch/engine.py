"""PyTorch 2 as an engine, on CPUs and on today's GPUs, without Caffe2."""

import contextlib
from collections.abc import Generator, Iterable, Sequence
from typing import Optional

import numpy as np

from r2plus1d.backends import choose
from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.pytorch import chunks
from r2plus1d.devices import Devices
from r2plus1d.networks import folding
from r2plus1d.networks.network import Network
from r2plus1d.weights.onnx_model import Source, plan_of, require_precision


def require() -> None:
    """Raise InputError unless PyTorch 2 is installed."""
    choose.require('torch')


class TorchEngine:
    """Runs one network in PyTorch, the same parameters on each device, clips dealt out to them.

    A single CPU works in this process; each GPU and each of several replicas has one of its own.
    Clips are computed in chunks of a fixed number, and chunk k of a run goes to device k modulo
    their number.

    On a CPU a clip's rows are the same bits whatever clips come with it. Over replicas they are
    too in bf16; in fp32 the convolutions' sums depend on how many threads each replica has, in
    the last bits, as they do on GPUs on the kernels that cuDNN finds fastest. With `deterministic`
    a GPU takes the same kernels in each run.

    Args:
        network: the Network.
        devices: Devices. CPU replicas divide the threads among them.
        outputs: names of the blobs that `run` returns; their first dimension is the batch.
        settings: EngineSettings. Its precision is `fp32` (without TF32), `bf16`, or on GPUs `tf32`
            or `fp16`; the last layers are computed in float32 in each case. Its threads are those
            of all replicas together.

    Raises:
        InputError: PyTorch is missing or too old, a GPU that it does not see, a precision that the
            device lacks, an output that the network does not have.
    """

    name = 'torch'

    def __init__(
        self,
        network: Network,
        *,
        devices: Devices,
        outputs: Sequence[str],
        settings: EngineSettings,
    ) -> None:
        require()
        from r2plus1d.backends.pytorch import device, worker

        self.network, self.outputs, self.precision = network, tuple(outputs), settings.precision
        folding.require_blobs(network, self.outputs)
        device.require_known(settings.precision)
        if devices.kind == 'cpu':  # a GPU is checked in its own process
            device.require(devices, settings.precision)
        self._chunk = device.clips_a_run(network, devices.kind)
        with contextlib.ExitStack() as ending:
            ending.enter_context(device.threads_as_before())
            self._devices = worker.open_devices(
                network, devices, settings=settings, clips=self._chunk
            )
            self._ending = ending.pop_all()

    def __enter__(self) -> 'TorchEngine':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def load(self, weights: Source) -> None:
        """Give every device the weights.

        Args:
            weights: parameters {blob: array}, complete, as weights.load returns; or an
                OnnxModel of the same network.

        Raises:
            InputError: a file without one of the outputs.
            BackendError: a device without enough memory.
        """
        require_precision(weights, self.precision)
        plan, values = plan_of(self.network, weights, self.outputs)
        with self._closed_on_failure():
            for device in self._devices:
                device.load(plan, values)
            for device in self._devices:
                device.wait()

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            pixels: N x C x T x H x W, N at least 1: uint8 RGB, normalized on the device, or
                float32 that is normalized already.

        Returns:
            {output: float32 array of N rows}, rows in the order of `pixels`.

        Raises:
            BackendError: a device without enough memory, a process that ended.
        """
        (rows,) = self.run_each([pixels])
        assert rows is not None
        return rows

    def run_each(
        self, batches: Iterable[Optional[np.ndarray]]
    ) -> Generator[Optional[dict[str, np.ndarray]], None, None]:
        """Yield what `run` returns for each batch, and None for each None, in order.

        The devices work on the next batches while the rows of one are used, and a chunk that a
        batch does not fill is filled up with clips of the next one.

        Raises:
            BackendError: as `run`. What reading `batches` raises comes after the rows of the
                batches before it.
        """
        assert self._devices, 'closed'
        with self._closed_on_failure():
            for rows in chunks.run_batches(self._devices, batches, size=self._chunk):
                yield rows and {name: rows[name] for name in self.outputs}

    def close(self) -> None:
        """End the processes and free the memory; the engine cannot be used any more."""
        while self._devices:
            self._devices.pop().close()
        self._ending.close()

    @property
    def processes(self) -> list[int]:
        """Ids of the processes of several devices."""
        return [device.pid for device in self._devices if device.pid]

    @contextlib.contextmanager
    def _closed_on_failure(self):
        """After a failure or Ctrl-C nobody knows what is still on its way."""
        try:
            yield
        except GeneratorExit:  # run_each has collected what was on its way
            raise
        except BaseException:
            self.close()
            raise
