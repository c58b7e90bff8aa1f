"""The fast engine on CPUs: the network as an ONNX graph through OpenVINO."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from openvino import Layout, Type
from openvino.preprocess import PrePostProcessor

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.openvino.core import core
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks import folding
from r2plus1d.networks.input import RGB_MEAN, RGB_STD
from r2plus1d.networks.network import Network
from r2plus1d.weights import onnx_file
from r2plus1d.weights.onnx_model import Source, require_precision

# With int8, of what is not computed in 8 bits
HINTS = {'fp32': 'f32', 'bf16': 'bf16', 'fp16': 'f16', 'int8': 'f32'}
CAPABILITIES = {'fp32': 'FP32', 'bf16': 'BF16', 'fp16': 'FP16', 'int8': 'INT8'}
# One clip at a time was as fast as up to ten together, and a clip's numbers are then the same
# whatever the batch it comes in.
CLIPS_A_RUN = 1


class OpenVinoEngine:
    """Runs one network on the CPU.

    Args:
        network: the Network.
        devices: Devices of the kind `cpu`; several are clips that are under way at once.
        outputs: names of the blobs that `run` returns.
        settings: EngineSettings.

    Raises:
        InputError: a precision that this machine lacks, an output that the network lacks.
    """

    name = 'openvino'

    def __init__(
        self,
        network: Network,
        *,
        devices: Devices,
        outputs: Sequence[str],
        settings: EngineSettings,
    ) -> None:
        assert devices.kind == 'cpu', devices
        self.network, self.outputs, self.precision = network, tuple(outputs), settings.precision
        _require_precision(settings.precision)
        folding.require_blobs(network, self.outputs)
        if settings.cache:
            settings.cache.mkdir(parents=True, exist_ok=True)
        self._properties = _properties(settings, len(devices.ids))
        self._streams = len(devices.ids)
        self._requests: dict[Any, list[Any]] = {}  # {dtype of clips: a request a stream}

    def __enter__(self) -> 'OpenVinoEngine':
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._requests.clear()

    def load(self, weights: Source) -> None:
        """Take parameters {blob: array}, or an OnnxModel."""
        require_precision(weights, self.precision)
        self._serialized = onnx_file.graph_of(
            self.network, weights, self.outputs
        ).SerializeToString()
        self._requests.clear()

    def run(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            pixels: uint8 RGB or normalized float32, N x C x T x H x W, N at least 1.

        Returns:
            {output: float32 array of N rows}.
        """
        requests = self._requests_for(pixels.dtype)
        results: list[dict[str, np.ndarray]] = []
        # By turns, and without calls into Python: OpenVINO's threads end the process at times
        # when they call while the network is taken down.
        for row in range(len(pixels)):
            if row >= len(requests):
                results.append(self._taken(requests[row % len(requests)]))
            requests[row % len(requests)].start_async({'data': pixels[row : row + 1]})
        for row in range(len(results), len(pixels)):
            results.append(self._taken(requests[row % len(requests)]))
        return {name: np.concatenate([rows[name] for rows in results]) for name in self.outputs}

    def _taken(self, request):
        """Copies of what a request computes: the next clip reuses its memory."""
        request.wait()
        return {name: request.get_tensor(name).data.copy() for name in self.outputs}

    def _requests_for(self, dtype):
        """Requests for clips of this dtype, made when the first one comes."""
        if dtype not in self._requests:
            model = core().read_model(self._serialized, b'')
            model.reshape({'data': [CLIPS_A_RUN, *self.network.data_shape]})
            if dtype == np.uint8:
                model = _taking_bytes(model)
            compiled = core().compile_model(model, 'CPU', self._properties)
            self._requests[dtype] = [compiled.create_infer_request() for _ in range(self._streams)]
        return self._requests[dtype]


def _properties(settings, streams):
    properties = {
        'INFERENCE_PRECISION_HINT': HINTS[settings.precision],
        'NUM_STREAMS': str(streams),
    }
    if settings.threads:
        properties['INFERENCE_NUM_THREADS'] = settings.threads
    if settings.cache:
        properties['CACHE_DIR'] = str(settings.cache)
    return properties


def _require_precision(precision):
    known = core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    if CAPABILITIES[precision] not in known:
        have = [name for name, capability in CAPABILITIES.items() if capability in known]
        raise InputError(
            f'precision is {precision}, which this processor lacks; it has {", ".join(have)}'
        )


def _taking_bytes(model):
    """The model with VideoInput's normalization of RGB before it."""
    steps = PrePostProcessor(model)
    steps.input().tensor().set_element_type(Type.u8).set_layout(Layout('NCDHW'))
    steps.input().model().set_layout(Layout('NCDHW'))
    normalization = steps.input().preprocess().convert_element_type(Type.f32)
    normalization.mean(list(RGB_MEAN)).scale(list(RGB_STD))
    return steps.build()
