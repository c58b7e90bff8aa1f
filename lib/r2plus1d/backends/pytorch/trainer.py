"""Training in PyTorch 2, with Caffe2's update: on a CPU, and on one GPU for each process."""

import contextlib
import math
import os
import pathlib
import shutil
import sysconfig
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any, Optional

import numpy as np
import torch

from r2plus1d.backends.base import TrainerSettings, TrainingState
from r2plus1d.backends.pytorch import device
from r2plus1d.backends.pytorch.clock import Clock
from r2plus1d.backends.pytorch.convolution import has_3d
from r2plus1d.backends.pytorch.failures import failures_in_words
from r2plus1d.backends.pytorch.gpu_checks import warn_of_cudnn
from r2plus1d.backends.pytorch.gradients import Gradients
from r2plus1d.backends.pytorch.memory import keep_freed_memory, use_huge_pages
from r2plus1d.backends.pytorch.profile import profile_steps
from r2plus1d.backends.pytorch.ranks import open_ranks
from r2plus1d.backends.pytorch.together import Together, together
from r2plus1d.backends.pytorch.training_module import TrainingModule
from r2plus1d.backends.pytorch.update import add_decay, update
from r2plus1d.devices import Devices
from r2plus1d.errors import BackendError, InputError
from r2plus1d.networks import graph
from r2plus1d.networks.initial import training_parameters
from r2plus1d.networks.network import Network
from r2plus1d.weights.checkpoint import save_checkpoint

STEPS_TO_SETTLE = 5  # after which there is as much memory as there will be


class TorchTrainer:
    """A network being trained in this process, and in others with the same parameters.

    On a CPU that it has for itself, its threads share the clips of a batch (see Together). Replicas
    compute their parts of a batch at the same time; each is as a device of its own to batch norm,
    and the running statistics are the first one's. On GPUs each process has one.

    With the same seed, data and number of threads, the parameters are the same bits on a CPU.

    Args:
        network: the Network.
        devices: the CPU with its replicas, or one GPU.
        settings: the TrainerSettings.

    Raises:
        InputError: a device or a precision that is not there; the rest of an earlier run is in
            the way of several machines.
        BackendError: a GPU without enough memory.
    """

    name = 'torch'

    def __init__(self, network: Network, *, devices: Devices, settings: TrainerSettings) -> None:
        _require(devices, settings)
        self.network, self._settings, self._iteration, self._steps = network, settings, 0, 0
        is_cpu = devices.kind == 'cpu'
        self._device = torch.device('cpu') if is_cpu else torch.device('cuda', devices.ids[0])
        self._clock, self.gradient_norm = Clock(self._device), math.nan
        self.seconds: Mapping[str, float] = self._clock.seconds
        self._ending = contextlib.ExitStack()
        if is_cpu:
            keep_freed_memory()
        else:
            self._ending.enter_context(_gpu(self._device, settings.precision == 'tf32'))
            warn_of_cudnn(settings.precision, has_3d(graph.trace(network).nodes))
        self._ranks = self._ending.enter_context(open_ranks(devices, settings))
        with self._memory_for('the parameters'):
            self._module = TrainingModule(
                network,
                training_parameters(network, settings.seed),
                dtype=torch.bfloat16 if settings.precision == 'bf16' else torch.float32,
                frozen=settings.frozen,
                ranks=self._ranks if settings.sync_bn else None,
            ).to(self._device)
            self._momenta = [torch.zeros_like(p) for p in self._module.trained.values()]
        self._by_factor: dict[float, list[int]] = {}
        for i, name in enumerate(self._module.trained):
            self._by_factor.setdefault(settings.layer_rates.get(name, 1.0), []).append(i)
        threads: Optional[Together] = None
        if is_cpu and self._ranks is None:
            threads = self._ending.enter_context(together(torch.get_num_threads()))
        with self._memory_for('the gradients'):
            self._gradients = Gradients(
                self._module, settings, replicas=len(devices.ids) if is_cpu else 1,
                ranks=self._ranks, threads=threads, clock=self._clock,
            )  # fmt: skip
        shapes = graph.trace(network).parameters
        self._frozen = {name: np.zeros(shapes[name], np.float32) for name in settings.frozen}
        self._last: Optional[tuple[np.ndarray, np.ndarray, float]] = None

    def __enter__(self) -> 'TorchTrainer':
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._ending.__exit__(*exc_info)

    def step(
        self, data: np.ndarray, label: np.ndarray, learning_rate: float
    ) -> tuple[float, float]:
        """Train on one batch, the same number of clips in each part; see base.Trainer.

        Returns:
            (loss, accuracy): means over all parts and processes.

        Raises:
            BackendError: a GPU without enough memory; another process has ended.
        """
        self._require_same_place()
        with self._memory_for(f'{len(data)} clips'), self._clock.step():
            total, right = self._gradients.add(data, label, self._iteration)
            parameters = list(self._module.trained.values())
            gradients = [parameter.grad for parameter in parameters]
            norm = _norm_of(gradients)
            decayed = [n for n in self._module.trained if not n.endswith('_b')]
            add_decay(
                [self._module.trained[n].grad for n in decayed],
                [self._module.trained[n] for n in decayed],
                self._settings.weight_decay,
            )
            for factor, places in self._by_factor.items():
                update(
                    *([each[i] for i in places] for each in (parameters, gradients, self._momenta)),
                    rate=learning_rate * factor,
                )
            for parameter in parameters:
                parameter.grad = None
            self._clock.mark('update')
            figures = torch.stack([total, right / len(data)])
            loss, accuracy = self._ranks.mean(figures) if self._ranks else figures.tolist()
            self.gradient_norm = float(norm)
        self._iteration, self._last = self._iteration + 1, (data, label, learning_rate)
        self._steps += 1
        if self._steps == STEPS_TO_SETTLE and self._device.type == 'cpu':
            use_huge_pages()
        return loss, math.nan if self.network.multi_label else accuracy

    def _require_same_place(self):
        """Before the first step: the processes continue from the same checkpoint."""
        if self._ranks is None or self._last is not None:
            return
        own = torch.tensor([self._iteration], dtype=torch.float64, device=self._device)
        if self._ranks.mean(own) != own.tolist():
            raise BackendError(
                f'process {self._ranks.index} has done {self._iteration} iterations, others have '
                'not: all need the same checkpoints, in a folder that they share'
            )

    def state(self) -> TrainingState:
        """Return a copy of everything from which training continues.

        What a GPU's memory is not needed for meanwhile is given back, for the test that follows.
        """
        if self._device.type == 'cuda':
            torch.cuda.empty_cache()
        momenta = {
            name: momentum.cpu().numpy().copy()
            for name, momentum in zip(self._module.trained, self._momenta)
        }
        trained = graph.trace(self.network).trained
        return TrainingState(
            self._module.blobs(),
            {name: (self._frozen if name in self._frozen else momenta)[name] for name in trained},
            self._iteration,
        )

    @torch.no_grad()
    def restore(self, state: TrainingState) -> None:
        """Continue from a TrainingState; see base.Trainer."""
        self._module.set_blobs(state.parameters)
        for name, momentum in zip(self._module.trained, self._momenta):
            momentum.copy_(torch.from_numpy(np.array(state.momenta[name], np.float32)))
        self._frozen = {name: np.array(state.momenta[name]) for name in self._frozen}
        self._iteration = state.iteration

    def save(self, path: pathlib.Path) -> None:
        """Write the state as a minidb, which Caffe2's trainer continues from; see base.Trainer."""
        save_checkpoint(path, **vars(self.state()), card=self._settings.card)

    def profile(self) -> list[tuple[float, str, str]]:
        """Return the time of each of PyTorch's operators; see base.Trainer."""
        assert self._last is not None, 'no step yet'
        data, label, rate = self._last
        return profile_steps(lambda: self.step(data, label, rate), self._device)

    def _memory_for(self, what):
        advice = '; a smaller batch_size takes less, and so does accumulate'
        return failures_in_words(self._device, f'{what} in training', advice)


def _require(devices: Devices, settings: TrainerSettings) -> None:
    """Raise InputError unless PyTorch can train so on the devices."""
    if settings.compiles and devices.kind == 'gpu':
        _require_compiler()
    if devices.kind == 'cpu' and settings.precision == 'tf32':
        raise InputError(f'precision is tf32, which {devices} lacks; it has fp32')
    device.require(devices, settings.precision)
    if devices.kind == 'gpu' and len(devices.ids) > 1:
        ids = ','.join(map(str, devices.ids))
        raise InputError(
            f'gpus is {ids}; a trainer torch has one: tools/train_net.py starts a process for each'
        )
    if settings.compiles and devices.kind == 'cpu':
        raise InputError('compile is for GPUs; on a CPU it makes training no faster')
    if settings.sync_bn and settings.shard.count == 1:
        raise InputError('sync_bn is for several processes; this is one')
    if settings.sync_bn and (settings.parts > 1 or len(devices.ids) > 1):
        raise InputError('sync_bn does not go with accumulate or cpu_replicas')
    if settings.sync_bn and settings.compiles:
        raise InputError(
            'sync_bn does not go with compile: PyTorch compiles no batch norm over GPUs'
        )


def _require_compiler():
    """Refuse what PyTorch would tell in a traceback at the first step."""
    if find_spec('triton') is None:
        raise InputError(
            'compile needs Triton, which is not installed: it comes with PyTorch for CUDA, and the '
            'Docker image leaves it out'
        )
    compilers = [os.environ['CC']] if os.environ.get('CC') else ['gcc', 'clang']
    if not any(map(shutil.which, compilers)):
        raise InputError(f'compile needs a C compiler, and there is no {" or ".join(compilers)}')
    scheme = sysconfig.get_default_scheme()  # Debian's own has no headers
    scheme = 'posix_prefix' if scheme == 'posix_local' else scheme
    header = pathlib.Path(sysconfig.get_path('include', scheme), 'Python.h')
    if not header.is_file():
        raise InputError(
            f'compile needs {header}: install the headers of this Python (python3-dev)'
        )


def _norm_of(gradients):
    return torch.stack(torch._foreach_norm(gradients)).norm()


@contextlib.contextmanager
def _gpu(target: torch.device, allow_tf32: bool) -> Iterator[None]:
    """Make `target` the current GPU; cuDNN measures which kernel is fastest for each shape."""
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = allow_tf32
    try:
        with (
            torch.cuda.device(target),
            torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=allow_tf32),
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
