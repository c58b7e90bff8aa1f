"""The backends as a table; what can be chosen, refused and read in --help follows from it."""

import dataclasses
from typing import Optional

TORCH_RELEASE = 2  # the first that the engine torch runs on
TORCH_PYTHONS = '3.10 to 3.14'  # of the engine torch


@dataclasses.dataclass(frozen=True)
class Backend:
    """What runs a network, and may train it.

    Attributes:
        engine: where its Engine is, as module:class; it is imported when it is opened.
        devices: kinds of Devices that it runs on.
        precisions: what it computes in, on one device or another.
        packages: what has to be installed.
        takes_onnx: whether it runs .onnx files.
        install: how to get the packages.
        summary: for --help.
        trainer: where its Trainer is, as module:class, or None.
        trains_in: precisions of the Trainer.
    """

    engine: str
    devices: tuple[str, ...]
    precisions: tuple[str, ...]
    packages: tuple[str, ...]
    takes_onnx: bool
    install: str
    summary: str
    trainer: Optional[str] = None
    trains_in: tuple[str, ...] = ()


BACKENDS = {
    'caffe2': Backend(
        engine='r2plus1d.backends.caffe2.engine:Caffe2Engine',
        devices=('cpu', 'gpu'),
        precisions=('fp32',),
        packages=('caffe2.python',),
        takes_onnx=False,
        install='Python 3.9 and torch==1.10.2',
        summary="the reference: the original's graph, on CPUs and GPUs up to 2018",
        trainer='r2plus1d.backends.caffe2.trainer:Caffe2Trainer',
        trains_in=('fp32',),
    ),
    'openvino': Backend(
        engine='r2plus1d.backends.openvino.engine:OpenVinoEngine',
        devices=('cpu',),
        precisions=('fp32', 'bf16', 'fp16', 'int8'),
        packages=('openvino', 'onnx'),
        takes_onnx=True,
        install='pip install openvino onnx',
        summary='many times as fast on CPUs',
    ),
    'torch': Backend(
        engine='r2plus1d.backends.pytorch.engine:TorchEngine',
        devices=('cpu', 'gpu'),
        precisions=('fp32', 'tf32', 'bf16', 'fp16'),
        packages=('torch',),
        takes_onnx=True,
        install=f'PyTorch {TORCH_RELEASE}, Python {TORCH_PYTHONS} and no Caffe2: '
        'docs/installation.md',
        summary="on today's GPUs, through PyTorch 2",
        trainer='r2plus1d.backends.pytorch.trainer:TorchTrainer',
        trains_in=('fp32', 'tf32', 'bf16'),
    ),
}
# What `auto` tries, in this order.
AUTO = {'cpu': ('openvino', 'caffe2', 'torch'), 'gpu': ('caffe2', 'torch')}
ENGINES = ('auto', *BACKENDS)
AUTO_TRAINER = ('torch', 'caffe2')
TRAINERS = ('auto', *(name for name, row in BACKENDS.items() if row.trainer))
TRAINING_PRECISIONS = tuple(dict.fromkeys(p for row in BACKENDS.values() for p in row.trains_in))
PRECISIONS = tuple(dict.fromkeys(p for row in BACKENDS.values() for p in row.precisions))


def runners_of(*, device: str = '', precision: str = '', onnx: bool = False) -> list[str]:
    """Return the names of the backends that have the device, the precision, and take .onnx."""
    return [
        name
        for name, row in BACKENDS.items()
        if (not device or device in row.devices)
        and (not precision or precision in row.precisions)
        and (row.takes_onnx or not onnx)
    ]


def describe_precisions() -> str:
    """Return which backend has which precisions, for --help."""
    return '; '.join(f'{name}: {", ".join(row.precisions)}' for name, row in BACKENDS.items())


def describe_auto() -> str:
    """Return what `auto` stands for, for --help."""
    return '; '.join(
        f'on a {kind.upper()} the first of {", ".join(names)} that is installed and runs there'
        for kind, names in AUTO.items()
    )
