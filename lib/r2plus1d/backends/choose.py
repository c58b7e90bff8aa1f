"""Opens what runs a network: one of the backends of the table, named or chosen."""

import importlib
from collections.abc import Sequence

from r2plus1d.backends.base import Engine, EngineSettings
from r2plus1d.backends.installed import has
from r2plus1d.backends.table import AUTO, BACKENDS, ENGINES, runners_of
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network

CAFFE2 = EngineSettings('caffe2')


def open_engine(
    network: Network,
    *,
    devices: Devices,
    outputs: Sequence[str],
    settings: EngineSettings = CAFFE2,
    from_onnx: bool = False,
) -> Engine:
    """Return an Engine for `network`; use it as a context manager.

    Args:
        devices: the rows of a batch are divided among them.
        outputs: names of the blobs that `run` returns.
        from_onnx: the weights will be an OnnxModel.

    Raises:
        InputError: an engine, precision or device that is not there, an output that the network
            does not have.
    """
    name = chosen(settings, devices, from_onnx=from_onnx)
    require(name, from_onnx=from_onnx)
    _require_used(settings, name, devices)
    # Imported when it is asked for: an engine that is not installed is nobody's business.
    module, _, made = BACKENDS[name].engine.partition(':')
    constructor = getattr(importlib.import_module(module), made)
    return constructor(network, devices=devices, outputs=outputs, settings=settings)


def chosen(settings: EngineSettings, devices: Devices, *, from_onnx: bool = False) -> str:
    """Return the engine that `auto` stands for on these devices, or the one that is named."""
    if settings.engine != 'auto':
        return settings.engine
    able = [name for name in AUTO[devices.kind] if name in runners_of(onnx=from_onnx)]
    there = [name for name in able if has(name)]
    if devices.kind == 'gpu' and len(there) > 1 and not _caffe2_runs_on(devices):
        there.remove('caffe2')  # alone, it says what it lacks
    easiest = next(name for name in able if name != 'caffe2')  # to install
    return there[0] if there else easiest


def require(name: str, *, from_onnx: bool = False) -> None:
    """Raise InputError unless the engine is installed and can take the weights."""
    if name not in BACKENDS:
        raise InputError(f'engine is {name}; known: {", ".join(ENGINES)}')
    if not has(name):
        how = BACKENDS[name].install
        raise InputError(f'engine is {name}, which is not installed here: {how}')
    if from_onnx and not BACKENDS[name].takes_onnx:
        others = ' and '.join(runners_of(onnx=True))
        raise InputError(f'engine is {name}, which does not run .onnx files; {others} do')


def _require_used(settings, name, devices):
    """Refuse what the backend lacks, and settings that it would ignore."""
    row = BACKENDS[name]
    if devices.kind not in row.devices:
        others = ' and '.join(runners_of(device=devices.kind))
        raise InputError(f'engine is {name}, which is for the CPU; {others} use GPUs')
    if settings.precision not in row.precisions:
        only = ' only' if len(row.precisions) == 1 else ''
        raise InputError(
            f'precision is {settings.precision}; the engine {name} has '
            f'{", ".join(row.precisions)}{only}'
        )
    if name == 'caffe2' and settings.threads:
        raise InputError(f'engine_threads is {settings.threads}; the engine caffe2 takes all cores')
    if name != 'openvino' and settings.cache:
        raise InputError(f'engine_cache is for the engine openvino; this one is {name}')
    if name == 'torch' and devices.kind == 'gpu' and not settings.use_cudnn:
        raise InputError('use_cudnn=0 is for the engine caffe2; torch uses cuDNN')


def _caffe2_runs_on(devices):
    """Whether Caffe2's build has kernels for these GPUs."""
    if not has('caffe2'):
        return False
    from r2plus1d.backends.caffe2.replicas import has_kernels

    return has_kernels(devices)
