"""The reference engine: the Caffe2 graph on the CPU, or on one or many devices side by side."""

import math
from collections.abc import Sequence

import numpy as np

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.caffe2 import layers
from r2plus1d.backends.caffe2.layers import build
from r2plus1d.backends.caffe2.replicas import Replicas
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.input import normalize_rgb
from r2plus1d.networks.network import Network
from r2plus1d.weights.onnx_model import OnnxModel, Source

# Caffe2's CPU convolution works through a batch clip by clip, so a larger batch only costs memory
# (100 MB a clip of R(2+1)D-18 at 8 frames). Alone, a clip also gives the same bits whatever the
# batch it comes in, which other operators' sums do not.
CPU_CLIPS_A_RUN = 1
# On a GPU more together are faster, as far as the memory goes: 64 clips of 8 x 112 x 112.
GPU_PIXELS_A_RUN = 16 * 32 * 112 * 112


def clips_a_run(network: Network, kind: str) -> int:
    """Return how many clips a device of the kind computes together."""
    if kind == 'cpu':
        return CPU_CLIPS_A_RUN
    return max(1, GPU_PIXELS_A_RUN // math.prod(network.data_shape[1:]))


class Caffe2Engine:
    """Runs one network, the same parameters on each device, the rows of a batch divided among them.

    Args:
        network: the Network.
        devices: the Devices.
        outputs: names of the blobs that `run` returns; their first dimension is the batch.
        settings: EngineSettings; of them only `use_cudnn` is read, for GPUs.

    Raises:
        InputError: a GPU that Caffe2 does not see, an output that the network does not have.
    """

    name, precision = 'caffe2', 'fp32'

    def __init__(
        self,
        network: Network,
        *,
        devices: Devices,
        outputs: Sequence[str],
        settings: EngineSettings,
    ) -> None:
        self.network, self.outputs = network, tuple(outputs)
        self._replicas = Replicas(devices)
        # Parameters are fed, never initialized: weights are complete or refused before this.
        model = layers.new_model(network.name, use_cudnn=settings.use_cudnn, init_params=False)
        self._replicas.parallelize(model, lambda model, loss_scale: build(model, network))
        made = {name for op in model.net.Proto().op for name in op.output}
        for name in self.outputs:
            if self._replicas.scopes[0] + name not in made:
                raise InputError(f'{network.name} has no blob {name}; tools/show_net.py lists them')

    def __enter__(self) -> 'Caffe2Engine':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._replicas.close()

    def load(self, weights: Source) -> None:
        """Give every device the parameters {blob: array}, complete, as match_parameters returns."""
        assert not isinstance(weights, OnnxModel), 'choose.require refuses it'
        self._replicas.set(weights)
        self._replicas.set({
            'data': np.zeros((1, *self.network.data_shape), np.float32),
            'label': self._labels(1),
        })  # fmt: skip
        self._replicas.create()

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            pixels: uint8 RGB or normalized float32, N x C x T x H x W, N at least 1.

        Returns:
            {output: array of N rows}, rows in the order of `pixels` whatever the devices.
        """
        step = clips_a_run(self.network, self._replicas.devices.kind) * len(self._replicas)
        parts = [self._run_part(pixels[i : i + step]) for i in range(0, len(pixels), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _labels(self, count):
        """The graph reads labels for its loss, which no output depends on."""
        return np.zeros((count, *self.network.label_shape), np.int32)

    def _run_part(self, pixels):
        data = pixels if pixels.dtype == np.float32 else normalize_rgb(pixels)
        shares = np.array_split(data, len(self._replicas))
        used = [device for device, rows in enumerate(shares) if len(rows)]
        # A device without a share runs on a row of another's, and its outputs are left out.
        padded = [rows if len(rows) else data[:1] for rows in shares]
        self._replicas.run([(rows, self._labels(len(rows))) for rows in padded])
        return {
            name: np.concatenate([self._replicas.fetch(name, device) for device in used])
            for name in self.outputs
        }
