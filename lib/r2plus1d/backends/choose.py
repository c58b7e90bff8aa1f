"""Opens what runs or trains a network: one of the backends of the table, named or chosen."""

import importlib
from collections.abc import Sequence
from typing import Any, Callable

from r2plus1d.backends.base import Engine, EngineSettings, Trainer, TrainerSettings
from r2plus1d.backends.installed import has
from r2plus1d.backends.table import AUTO, AUTO_TRAINER, BACKENDS, ENGINES, TRAINERS, runners_of
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network, require_trainable

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
    constructor = _imported(BACKENDS[name].engine)
    return constructor(network, devices=devices, outputs=outputs, settings=settings)


def open_trainer(network: Network, *, devices: Devices, settings: TrainerSettings) -> Trainer:
    """Return a Trainer for `network`; use it as a context manager.

    Args:
        devices: a batch is divided among them.

    Raises:
        InputError: a network that is only tested; no such trainer, device or setting; the rest of
            an earlier run is in the way.
        ModuleNotFoundError: Caffe2 is not installed, and it is to train.
    """
    require_trainable(network)
    constructor = find_trainer(settings.trainer)
    require_numbers(devices)
    _require_trains(chosen_trainer(settings.trainer), settings)
    return constructor(network, devices=devices, settings=settings)


def require_numbers(devices: Devices) -> None:
    """Raise InputError for GPUs that are named: whoever trains counts them."""
    if len(devices.names) > 1 and any(name.startswith('MIG-') for name in devices.names):
        raise InputError(
            f'gpus is {",".join(devices.names)}; training takes one part of a GPU (MIG): a program '
            'sees no more'
        )
    if devices.names:
        names, numbers = ','.join(devices.names), ','.join(map(str, devices.ids))
        raise InputError(
            f'gpus is {names}; training takes numbers: set CUDA_VISIBLE_DEVICES={names} and give '
            f'--gpus={numbers}'
        )


def chosen_trainer(name: str) -> str:
    """Return the trainer that `auto` stands for here, or the one that is named.

    Raises:
        InputError: no such trainer.
    """
    if name not in TRAINERS:
        raise InputError(f'trainer is {name}; known: {", ".join(TRAINERS)}')
    if name != 'auto':
        return name
    return next((there for there in AUTO_TRAINER if has(there)), AUTO_TRAINER[-1])


def find_trainer(name: str) -> Callable[..., Trainer]:
    """Return the class of a trainer; its framework is imported.

    Raises:
        InputError, ModuleNotFoundError: as open_trainer.
    """
    name = chosen_trainer(name)
    row = BACKENDS[name]
    if name != 'caffe2' and not has(name):  # Caffe2's absence is told when it is imported
        raise InputError(f'trainer is {name}, which is not installed here: {row.install}')
    assert row.trainer is not None, name
    return _imported(row.trainer)


def _require_trains(name, settings):
    """Refuse what the trainer lacks."""
    precisions = BACKENDS[name].trains_in
    if settings.precision not in precisions:
        only = ' only' if len(precisions) == 1 else ''
        raise InputError(
            f'the precision of training is {settings.precision}; the trainer {name} has '
            f'{", ".join(precisions)}{only}'
        )
    if name == 'torch':
        of_caffe2 = {
            'use_cudnn': not settings.use_cudnn,
            'cudnn_workspace_limit_mb': settings.cudnn_workspace_limit_mb
            != TrainerSettings.cudnn_workspace_limit_mb,
        }
        for flag in (flag for flag, is_asked in of_caffe2.items() if is_asked):
            raise InputError(f'{flag} is for the trainer caffe2; torch decides itself about cuDNN')
        return
    asked = {
        'accumulate': settings.parts > 1,
        'sync_bn': settings.sync_bn,
        'compile': settings.compiles,
        'freeze': bool(settings.frozen),
        'layer_rates': bool(settings.layer_rates),
    }
    for flag in (flag for flag, is_asked in asked.items() if is_asked):
        raise InputError(f'{flag} is for the trainer torch; this one is {name}')


def _imported(place: str) -> Callable[..., Any]:
    """The class of module:class, imported now: what is not installed is nobody's business."""
    module, _, name = place.partition(':')
    return getattr(importlib.import_module(module), name)


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
    if devices.names and name != 'torch':
        raise InputError(
            f'gpus is {",".join(devices.names)}; the engine {name} takes numbers, torch takes names'
        )
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
    if settings.deterministic and (name, devices.kind) != ('torch', 'gpu'):
        raise InputError(
            f'deterministic is for the engine torch on GPUs; this one is {name} on {devices}'
        )
    if name == 'torch' and devices.kind == 'gpu' and not settings.use_cudnn:
        raise InputError('use_cudnn=0 is for the engine caffe2; torch uses cuDNN')


def _caffe2_runs_on(devices):
    """Whether Caffe2's build has kernels for these GPUs."""
    if not has('caffe2') or devices.names:
        return False
    from r2plus1d.backends.caffe2.replicas import has_kernels

    return has_kernels(devices)
