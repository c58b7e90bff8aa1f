"""What runs a network: clips in, named arrays out, by one of several engines.

caffe2     the reference: the original's graph, on CPUs and GPUs up to 2018
openvino   many times as fast on CPUs
torch      on today's GPUs, through PyTorch 2; needs no Caffe2

Every engine has `load(weights)`, with parameters {blob: array} as models.weights.load returns or
an engines.onnx.OnnxModel, then `run(pixels)`.
"""

import dataclasses
import pathlib
import typing

from r2plus1d.backends.installed import TORCH_RELEASE, has
from r2plus1d.errors import InputError

ENGINES = ('auto', 'caffe2', 'openvino', 'torch')
PRECISIONS = ('fp32', 'bf16', 'fp16', 'int8')


@dataclasses.dataclass(frozen=True)
class EngineSettings:
    """How a network is run.

    Attributes:
        engine: one of ENGINES.
        precision: one of PRECISIONS, what the network computes in; its outputs are float32. int8
            needs an OnnxModel that was made for it.
        threads: of OpenVINO and PyTorch on the CPU; 0 leaves it to them.
        cache: folder of networks that OpenVINO has prepared before, or None.
        use_cudnn: cuDNN on GPUs, in Caffe2.
    """

    engine: str = 'auto'
    precision: str = 'fp32'
    threads: int = 0
    cache: typing.Optional[pathlib.Path] = None
    use_cudnn: bool = True


CAFFE2 = EngineSettings('caffe2')


def open_engine(network, *, devices, outputs, settings=CAFFE2, from_onnx=False):
    """Return an engine for `network`; use it as a context manager.

    Args:
        network: models.network.Network.
        devices: Devices; the rows of a batch are divided among them.
        outputs: names of the blobs that `run` returns.
        settings: EngineSettings.
        from_onnx: the weights will be an OnnxModel.

    Returns:
        An object with `name`, `precision`, `network` and `outputs`; `load(weights)`;
        `run(pixels)` from uint8 or normalized float32 N x C x T x H x W, N at least 1, to
        {output: float32 array of N rows}.

    Raises:
        InputError: an engine, precision or device that is not there, an output that the network
            does not have.
    """
    name = chosen(settings, devices, from_onnx=from_onnx)
    require(name, from_onnx=from_onnx)
    _require_used(settings, name, devices)
    # Each is imported when it is asked for: an engine that is not installed is nobody's business.
    if name == 'caffe2':
        from r2plus1d.backends.caffe2.engine import Caffe2Engine

        return Caffe2Engine(network, devices=devices, outputs=outputs, use_cudnn=settings.use_cudnn)
    if name == 'openvino':
        from r2plus1d.backends.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(network, devices=devices, outputs=outputs, settings=settings)
    from r2plus1d.backends.pytorch.engine import TorchEngine

    return TorchEngine(
        network,
        devices=devices,
        outputs=outputs,
        precision=settings.precision,
        threads=settings.threads,
    )


def _require_used(settings, name, devices):
    """Refuse settings that the engine would ignore."""
    if name == 'caffe2' and settings.precision != 'fp32':
        raise InputError(f'precision is {settings.precision}; the engine caffe2 has fp32 only')
    if name == 'caffe2' and settings.threads:
        raise InputError(f'engine_threads is {settings.threads}; the engine caffe2 takes all cores')
    if name != 'openvino' and settings.cache:
        raise InputError(f'engine_cache is for the engine openvino; this one is {name}')
    if name == 'torch' and devices.kind == 'gpu' and not settings.use_cudnn:
        raise InputError('use_cudnn=0 is for the engine caffe2; torch uses cuDNN')


def chosen(settings, devices, *, from_onnx=False):
    """The engine that `auto` stands for on these devices, or the one that is named."""
    if settings.engine not in ENGINES:
        raise InputError(f'engine is {settings.engine}; known: {", ".join(ENGINES)}')
    if settings.precision not in PRECISIONS:
        raise InputError(f'precision is {settings.precision}; known: {", ".join(PRECISIONS)}')
    if settings.engine != 'auto':
        return settings.engine
    if devices.kind == 'gpu':
        is_only_one = has('caffe2') and not has('torch')  # it says what it lacks
        runs = not from_onnx and (is_only_one or _caffe2_runs_on(devices))
        return 'caffe2' if runs else 'torch'
    if has('openvino') or not (has('caffe2') or has('torch')):
        return 'openvino'
    return 'caffe2' if has('caffe2') and not from_onnx else 'torch'


def require(name, *, from_onnx=False):
    """Raise InputError unless the engine is installed and can take the weights."""
    if not has(name):
        how = {
            'caffe2': 'Python 3.9 and torch==1.10.2',
            'openvino': 'pip install openvino onnx',
            'torch': f'PyTorch {TORCH_RELEASE}, Python 3.10+, no Caffe2: docs/installation.md',
        }
        raise InputError(f'engine is {name}, which is not installed here: {how[name]}')
    if name == 'caffe2' and from_onnx:
        raise InputError('engine is caffe2, which does not run .onnx files; openvino and torch do')


def _caffe2_runs_on(devices):
    """Whether Caffe2's build has kernels for these GPUs."""
    if not has('caffe2'):
        return False
    from r2plus1d.backends.caffe2.replicas import has_kernels

    return has_kernels(devices)
