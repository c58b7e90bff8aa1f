"""The reference engine: the Caffe2 graph on the CPU, or on one or many devices side by side."""

import contextlib
import io
import itertools
import logging

import numpy as np
from caffe2.proto import caffe2_pb2
from caffe2.python import core, workspace

from r2plus1d.engines import Devices
from r2plus1d.errors import InputError
from r2plus1d.models import layers
from r2plus1d.models.network import build

with contextlib.redirect_stdout(io.StringIO()):  # it prints about the operators of its own tests
    from caffe2.python import data_parallel_model

# Caffe2's CPU convolution works through a batch clip by clip, so a larger batch only costs memory
# (100 MB a clip of R(2+1)D-18 at 8 frames).
CPU_CLIPS_A_RUN = 2
# Caffe2 logs as errors that its build leaves AVX out. What goes wrong is raised, not logged.
CAFFE2_LOG_FATAL_ONLY = 3


class Caffe2Engine:
    """Runs one network, the same parameters on each device, the rows of a batch divided among them.

    Args:
        network: models.network.Network.
        devices: Devices.
        outputs: names of the blobs that `run` returns; their first dimension is the batch.
        use_cudnn: cuDNN on GPUs.

    Raises:
        InputError: a GPU that Caffe2 does not see, an output that the network does not have.
    """

    _serial = itertools.count()

    def __init__(self, network, *, devices, outputs, use_cudnn=True):
        _require_gpus(devices)
        self.network, self.devices, self.outputs = network, devices, tuple(outputs)
        self._scopes = [f'{devices.kind}_{i}/' for i in devices.ids]
        self._device_type = caffe2_pb2.CUDA if devices.kind == 'gpu' else caffe2_pb2.CPU
        _initialize_caffe2()
        self._workspace = f'engine_{next(self._serial)}'
        with self._own_workspace():
            self._model = self._parallel_model(use_cudnn)
        made = {name for op in self._model.net.Proto().op for name in op.output}
        for name in self.outputs:
            if self._scopes[0] + name not in made:
                raise InputError(f'{network.name} has no blob {name}; tools/show_net.py lists them')

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        with self._own_workspace():
            workspace.ResetWorkspace()

    def load(self, parameters):
        """Give every device the parameters {blob: array}, complete, as weights.load returns."""
        with self._own_workspace():
            for scope, option in self._device_options():
                for name, array in parameters.items():
                    workspace.FeedBlob(scope + name, array, device_option=option)
            self._feed(
                [
                    (
                        np.zeros((1, *self.network.data_shape), np.float32),
                        np.zeros((1, *self.network.label_shape), np.int32),
                    )
                ]
                * len(self.devices.ids)
            )
            workspace.CreateNet(self._model.net, overwrite=True)

    def run(self, data, label):
        """Run the network.

        Args:
            data: float32 N x C x T x H x W, N at least 1.
            label: int32 (N,), or (N, num_labels) for a multi-label network.

        Returns:
            {output: array of N rows}, rows in the order of `data` whatever the devices.
        """
        step = len(data)
        if self.devices.kind == 'cpu':
            step = min(step, CPU_CLIPS_A_RUN * len(self.devices.ids))
        parts = [
            self._run_part(data[i : i + step], label[i : i + step])
            for i in range(0, len(data), step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in self.outputs}

    def _run_part(self, data, label):
        count = len(self.devices.ids)
        shares = list(zip(np.array_split(data, count), np.array_split(label, count)))
        with self._own_workspace():
            # A device without a share runs on a row of another's, and its outputs are left out.
            self._feed([share if len(share[0]) else (data[:1], label[:1]) for share in shares])
            workspace.RunNet(self._model.net.Proto().name)
            return {name: self._fetch(name, shares) for name in self.outputs}

    def _fetch(self, name, shares):
        used = [scope for scope, (data, _) in zip(self._scopes, shares) if len(data)]
        return np.concatenate([workspace.FetchBlob(scope + name) for scope in used])

    def _feed(self, shares):
        for (scope, option), (data, label) in zip(self._device_options(), shares):
            data = np.ascontiguousarray(data, np.float32)
            workspace.FeedBlob(f'{scope}data', data, device_option=option)
            workspace.FeedBlob(f'{scope}label', np.ascontiguousarray(label), device_option=option)

    def _parallel_model(self, use_cudnn):
        # Parameters are fed, never initialized: weights are complete or refused before this.
        model = layers.new_model(self.network.name, use_cudnn=use_cudnn, init_params=False)
        data_parallel_model.Parallelize(
            model,
            input_builder_fun=lambda model: None,
            forward_pass_builder_fun=lambda model, loss_scale: build(model, self.network),
            param_update_builder_fun=None,
            devices=list(self.devices.ids),
            cpu_device=self.devices.kind == 'cpu',
            net_type='simple' if len(self.devices.ids) == 1 else 'dag',
        )
        if self.devices == Devices('cpu', self.devices.ids[:1]):
            _share_buffers(model.net.Proto())
        return model

    def _device_options(self):
        for scope, i in zip(self._scopes, self.devices.ids):
            yield scope, core.DeviceOption(self._device_type, i)

    def _own_workspace(self):
        return _Workspace(self._workspace)


class _Workspace:
    """Caffe2 has one current workspace; this makes an engine's own the current one for a while."""

    def __init__(self, name):
        self._name = name

    def __enter__(self):
        self._previous = workspace.CurrentWorkspace()
        workspace.SwitchWorkspace(self._name, True)

    def __exit__(self, *exc_info):
        workspace.SwitchWorkspace(self._previous)


def _share_buffers(net):
    """Let the convolutions take turns with one buffer for unfolded images instead of one each.

    R(2+1)D-34 on clips of 32 frames then needs 4.3 GB instead of 7.7. On several devices at once
    they would have to wait for each other.
    """
    for op in net.op:
        if op.type == 'Conv':
            op.arg.add(name='shared_buffer', i=1)


def _initialize_caffe2():
    workspace.GlobalInit(['caffe2', f'--caffe2_log_level={CAFFE2_LOG_FATAL_ONLY}'])
    logging.getLogger('data_parallel_model').setLevel(logging.ERROR)


def _require_gpus(devices):
    if devices.kind == 'cpu':
        return
    seen = workspace.NumGpuDevices() if workspace.has_gpu_support else 0
    missing = [i for i in devices.ids if i >= seen]
    if missing:
        asked = ','.join(map(str, devices.ids))
        raise InputError(
            f'gpus is {asked}; Caffe2 sees {seen} here. --gpus= (nothing) runs on the CPU'
        )
