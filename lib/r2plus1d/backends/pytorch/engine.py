"""PyTorch 2 as an engine, on CPUs and on today's GPUs, without Caffe2."""

import contextlib

import numpy as np

from r2plus1d.backends import choose
from r2plus1d.networks import folding
from r2plus1d.weights.onnx_model import plan_of, require_precision

AHEAD = 3  # chunks on their way through one device: one is computed, one copied to it, one waits


def require():
    """Raise InputError unless PyTorch 2 is installed."""
    choose.require('torch')


class TorchEngine:
    """Runs one network in PyTorch, the same parameters on each device, clips dealt out to them.

    One device works in this process, each of several in one of its own. Clips are computed in
    chunks of a fixed number, and chunk k always goes to device k modulo their number.

    On a CPU a clip's rows are the same bits whatever clips come with it. Over replicas they are
    too in bf16; in fp32 the convolutions' sums depend on how many threads each replica has, in
    the last bits, as they do on GPUs on the kernels that cuDNN finds fastest.

    Args:
        network: models.network.Network.
        devices: Devices. CPU replicas divide the threads among them.
        outputs: names of the blobs that `run` returns; their first dimension is the batch.
        settings: EngineSettings. Its precision is `fp32` (without TF32), `bf16` or `fp16` (GPUs
            only); the last layers are computed in float32 in each case. Its threads are those of
            all replicas together.

    Raises:
        InputError: PyTorch is missing or too old, a GPU that it does not see, a precision that the
            device lacks, an output that the network does not have.
    """

    name = 'torch'

    def __init__(self, network, *, devices, outputs, settings):
        require()
        from r2plus1d.backends.pytorch import device, worker

        self.network, self.outputs, self.precision = network, tuple(outputs), settings.precision
        folding.require_blobs(network, self.outputs)
        device.require(devices, settings.precision)
        self._chunk = device.clips_a_run(network, devices.kind)
        self._devices = worker.open_devices(
            network,
            devices,
            precision=settings.precision,
            clips=self._chunk,
            ahead=AHEAD,
            threads=settings.threads,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def load(self, weights):
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

    def run(self, pixels):
        """Run the network.

        Args:
            pixels: N x C x T x H x W, N at least 1: uint8 RGB, normalized on the device, or
                float32 that is normalized already.

        Returns:
            {output: float32 array of N rows}, rows in the order of `pixels`.

        Raises:
            BackendError: a device without enough memory, a process that ended.
        """
        assert self._devices, 'closed'
        chunks = [pixels[i : i + self._chunk] for i in range(0, len(pixels), self._chunk)]
        count, parts = len(self._devices), []
        with self._closed_on_failure():
            for k, chunk in enumerate(chunks):
                device = self._devices[k % count]
                if k >= AHEAD * count:
                    parts.append(device.collect())
                device.submit(chunk)
            for k in range(len(parts), len(chunks)):
                parts.append(self._devices[k % count].collect())
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def close(self):
        """End the processes and free the memory; the engine cannot be used any more."""
        while self._devices:
            self._devices.pop().close()

    @property
    def processes(self):
        """Ids of the processes of several devices."""
        return [device.pid for device in self._devices if device.pid]

    @contextlib.contextmanager
    def _closed_on_failure(self):
        """After a failure or Ctrl-C nobody knows what is still on its way."""
        try:
            yield
        except BaseException:
            self.close()
            raise
