"""The fast engine on CPUs: the network as an ONNX graph through OpenVINO."""

import numpy as np
import openvino
from openvino import Layout, Type
from openvino.preprocess import PrePostProcessor

from r2plus1d.errors import InputError
from r2plus1d.networks import folding
from r2plus1d.networks.input import RGB_MEAN, RGB_STD
from r2plus1d.weights import onnx_file
from r2plus1d.weights.onnx_model import require_precision

# With int8, of what is not computed in 8 bits
HINTS = {'fp32': 'f32', 'bf16': 'bf16', 'fp16': 'f16', 'int8': 'f32'}
CAPABILITIES = {'fp32': 'FP32', 'bf16': 'BF16', 'fp16': 'FP16', 'int8': 'INT8'}
# One clip at a time was as fast as up to ten together, and a clip's numbers are then the same
# whatever the batch it comes in.
CLIPS_A_RUN = 1


class OpenVinoEngine:
    """Runs one network on the CPU.

    Args:
        network: models.network.Network.
        devices: Devices of the kind `cpu`; several are clips that are under way at once.
        outputs: names of the blobs that `run` returns.
        settings: EngineSettings.

    Raises:
        InputError: a precision that this machine lacks, an output that the network lacks.
    """

    name = 'openvino'

    def __init__(self, network, *, devices, outputs, settings):
        assert devices.kind == 'cpu', devices
        self._core = openvino.Core()
        self.network, self.outputs, self.precision = network, tuple(outputs), settings.precision
        _require_precision(self._core, settings.precision)
        folding.require_blobs(network, self.outputs)
        if settings.cache:
            settings.cache.mkdir(parents=True, exist_ok=True)
        self._properties = _properties(settings, len(devices.ids))
        self._streams = len(devices.ids)
        self._compiled = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._compiled.clear()

    def load(self, weights):
        """Take parameters {blob: array}, or an OnnxModel."""
        require_precision(weights, self.precision)
        self._serialized = onnx_file.graph_of(
            self.network, weights, self.outputs
        ).SerializeToString()
        self._compiled.clear()

    def run(self, pixels):
        """Run the network.

        Args:
            pixels: uint8 RGB or normalized float32, N x C x T x H x W, N at least 1.

        Returns:
            {output: float32 array of N rows}.
        """
        queue = self._queue(pixels.dtype)
        results = {}
        queue.set_callback(lambda request, row: results.__setitem__(row, self._rows(request)))
        for row in range(len(pixels)):
            queue.start_async({'data': pixels[row : row + 1]}, row)
        queue.wait_all()
        return {
            name: np.concatenate([results[row][name] for row in range(len(pixels))])
            for name in self.outputs
        }

    def _rows(self, request):
        """Copies: the next clip reuses the request's memory."""
        return {name: request.get_tensor(name).data.copy() for name in self.outputs}

    def _queue(self, dtype):
        """A queue of requests for clips of this dtype, made when the first one comes."""
        if dtype not in self._compiled:
            model = self._core.read_model(self._serialized, b'')
            model.reshape({'data': [CLIPS_A_RUN, *self.network.data_shape]})
            if dtype == np.uint8:
                model = _taking_bytes(model)
            compiled = self._core.compile_model(model, 'CPU', self._properties)
            self._compiled[dtype] = openvino.AsyncInferQueue(compiled, self._streams)
        return self._compiled[dtype]


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


def _require_precision(core, precision):
    known = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
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
