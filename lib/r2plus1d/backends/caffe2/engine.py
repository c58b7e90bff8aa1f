"""The reference engine: the Caffe2 graph on the CPU, or on one or many devices side by side."""

import numpy as np

from r2plus1d.backends.caffe2 import layers
from r2plus1d.backends.caffe2.layers import build
from r2plus1d.backends.caffe2.replicas import Replicas
from r2plus1d.errors import InputError
from r2plus1d.networks.input import normalize_rgb

# Caffe2's CPU convolution works through a batch clip by clip, so a larger batch only costs memory
# (100 MB a clip of R(2+1)D-18 at 8 frames). Alone, a clip also gives the same bits whatever the
# batch it comes in, which other operators' sums do not.
CPU_CLIPS_A_RUN = 1


class Caffe2Engine:
    """Runs one network, the same parameters on each device, the rows of a batch divided among them.

    Args:
        network: models.network.Network.
        devices: Devices.
        outputs: names of the blobs that `run` returns; their first dimension is the batch.
        settings: EngineSettings; of them only `use_cudnn` is read, for GPUs.

    Raises:
        InputError: a GPU that Caffe2 does not see, an output that the network does not have.
    """

    name, precision = 'caffe2', 'fp32'

    def __init__(self, network, *, devices, outputs, settings):
        self.network, self.outputs = network, tuple(outputs)
        self._replicas = Replicas(devices)
        # Parameters are fed, never initialized: weights are complete or refused before this.
        model = layers.new_model(network.name, use_cudnn=settings.use_cudnn, init_params=False)
        self._replicas.parallelize(model, lambda model, loss_scale: build(model, network))
        made = {name for op in model.net.Proto().op for name in op.output}
        for name in self.outputs:
            if self._replicas.scopes[0] + name not in made:
                raise InputError(f'{network.name} has no blob {name}; tools/show_net.py lists them')

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._replicas.close()

    def load(self, parameters):
        """Give every device the parameters {blob: array}, complete, as weights.load returns."""
        self._replicas.set(parameters)
        self._replicas.set({
            'data': np.zeros((1, *self.network.data_shape), np.float32),
            'label': self._labels(1),
        })  # fmt: skip
        self._replicas.create()

    def run(self, pixels):
        """Run the network.

        Args:
            pixels: uint8 RGB or normalized float32, N x C x T x H x W, N at least 1.

        Returns:
            {output: array of N rows}, rows in the order of `pixels` whatever the devices.
        """
        data = pixels if pixels.dtype == np.float32 else normalize_rgb(pixels)
        step = len(data)
        if self._replicas.devices.kind == 'cpu':
            step = min(step, CPU_CLIPS_A_RUN * len(self._replicas))
        parts = [self._run_part(data[i : i + step]) for i in range(0, len(data), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _labels(self, count):
        """The graph reads labels for its loss, which no output depends on."""
        return np.zeros((count, *self.network.label_shape), np.int32)

    def _run_part(self, data):
        shares = np.array_split(data, len(self._replicas))
        used = [device for device, rows in enumerate(shares) if len(rows)]
        # A device without a share runs on a row of another's, and its outputs are left out.
        padded = [rows if len(rows) else data[:1] for rows in shares]
        self._replicas.run([(rows, self._labels(len(rows))) for rows in padded])
        return {
            name: np.concatenate([self._replicas.fetch(name, device) for device in used])
            for name in self.outputs
        }
