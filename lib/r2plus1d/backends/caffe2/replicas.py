"""One Caffe2 net on one or several devices, with its blobs in a workspace of its own."""

import contextlib
import io
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable, Optional

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from r2plus1d.backends.caffe2.processor import use_avx2
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError

with contextlib.redirect_stdout(io.StringIO()):  # it prints about the operators of its own tests
    from caffe2.python import data_parallel_model

# Machines wait for the one that tests and saves after an epoch. Caffe2 gives up after 30 seconds.
PATIENCE_SECONDS = 24 * 3600

NEWEST_CAPABILITY = (7, 5)  # of which the wheel has kernels

# Caffe2 logs as errors that its build leaves AVX out. What goes wrong is raised, not logged.
CAFFE2_LOG_FATAL_ONLY = 3


class Replicas:
    """Copies of a net on devices, through data_parallel_model; each has its blobs in a scope.

    Args:
        devices: Devices.

    Attributes:
        scopes: such as `gpu_0/`, in the order of the devices; CPU replicas are `cpu_0/`, ...

    Raises:
        InputError: a GPU that Caffe2 does not see.
    """

    _serial = itertools.count()

    def __init__(self, devices: Devices) -> None:
        _require_gpus(devices)
        use_avx2()
        workspace.GlobalInit(['caffe2', f'--caffe2_log_level={CAFFE2_LOG_FATAL_ONLY}'])
        logging.getLogger('data_parallel_model').setLevel(logging.ERROR)
        self.devices = devices
        self.scopes = [f'{devices.kind}_{i}/' for i in devices.ids]
        kind = caffe2_pb2.CUDA if devices.kind == 'gpu' else caffe2_pb2.CPU
        self._options = [core.DeviceOption(kind, i) for i in devices.ids]
        self._workspace = f'replicas_{next(self._serial)}'

    def __len__(self) -> int:
        return len(self.scopes)

    @contextlib.contextmanager
    def workspace(self) -> Iterator[None]:
        """Caffe2 has one current workspace; make it these replicas' for a while."""
        previous = workspace.CurrentWorkspace()
        workspace.SwitchWorkspace(self._workspace, True)
        try:
            yield
        finally:
            workspace.SwitchWorkspace(previous)

    def parallelize(
        self,
        model: Any,
        forward: Callable[[Any, float], list[Any]],
        *,
        update: Optional[Callable[[Any], None]] = None,
        rendezvous: Optional[Mapping[str, Any]] = None,
        net_type: Optional[str] = None,
    ) -> None:
        """Build `model` on every device.

        Args:
            model: an empty ModelHelper.
            forward: from (model, loss_scale) to a list of losses, in a device's scope.
            update: from model, adds the updates of one device's parameters; None for inference.
            rendezvous: of several machines; None for one.
            net_type: of the Caffe2 net; None is `simple` on one device, `dag` on several.
        """
        if rendezvous:
            data_parallel_model._DEFAULT_TIMEOUT_SEC = PATIENCE_SECONDS
        with self.workspace():
            data_parallel_model.Parallelize(
                model,
                input_builder_fun=lambda model: None,
                forward_pass_builder_fun=forward,
                param_update_builder_fun=update,
                devices=list(self.devices.ids),
                rendezvous=rendezvous,
                cpu_device=self.devices.kind == 'cpu',
                net_type=net_type or ('simple' if len(self) == 1 and not rendezvous else 'dag'),
            )
        if self.devices.kind == 'cpu' and len(self) == 1:
            _share_buffers(model.net.Proto())
        self._net = model.net

    def set(self, blobs: Mapping[str, np.ndarray]) -> None:
        """Give every device the blobs {name: array}."""
        with self.workspace():
            for scope, option in zip(self.scopes, self._options):
                for name, array in blobs.items():
                    workspace.FeedBlob(scope + name, array, device_option=option)

    def create(self) -> None:
        """Make the net ready to run; its inputs have to be set."""
        with self.workspace():
            workspace.CreateNet(self._net, overwrite=True)

    def run(self, shares: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        """Run the net on one (data, label) for each device."""
        with self.workspace():
            for scope, option, (data, label) in zip(self.scopes, self._options, shares):
                data = np.ascontiguousarray(data, np.float32)
                workspace.FeedBlob(f'{scope}data', data, device_option=option)
                label = np.ascontiguousarray(label)
                workspace.FeedBlob(f'{scope}label', label, device_option=option)
            workspace.RunNet(self._net.Proto().name)

    def fetch(self, name: str, device: int = 0) -> np.ndarray:
        """Return a blob of one device, counted from 0."""
        with self.workspace():
            return workspace.FetchBlob(self.scopes[device] + name)

    def close(self) -> None:
        """Free the memory of every blob."""
        with self.workspace():
            workspace.ResetWorkspace()


def _share_buffers(net):
    """Let the convolutions take turns with one buffer for unfolded images instead of one each.

    R(2+1)D-34 on clips of 32 frames then needs 4.3 GB instead of 7.7. On several devices at once
    they would have to wait for each other.
    """
    for op in net.op:
        if op.type == 'Conv':
            op.arg.add(name='shared_buffer', i=1)


def has_kernels(devices: Devices) -> bool:
    """Whether this build of Caffe2 can run on these GPUs: CUDA 10.2 ends with Turing (2018)."""
    if not workspace.has_gpu_support:
        return False
    seen = workspace.NumGpuDevices()
    return all(i < seen and _capability(i) <= NEWEST_CAPABILITY for i in devices.ids)


def _capability(index):
    properties = workspace.GetDeviceProperties(index)
    return properties['major'], properties['minor']


def _require_gpus(devices):
    if devices.kind == 'cpu':
        return
    seen = workspace.NumGpuDevices() if workspace.has_gpu_support else 0
    if any(i >= seen for i in devices.ids):
        asked = ','.join(map(str, devices.ids))
        raise InputError(
            f'gpus is {asked}; Caffe2 sees {seen or "no"} GPUs here. '
            '--gpus= (nothing) runs on the CPU'
        )
