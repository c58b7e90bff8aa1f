"""The processes that train one network together, each with one device. It imports PyTorch."""

import contextlib
import datetime
import os
import socket
import warnings
from collections.abc import Iterator
from typing import Any, Optional

import torch
import torch.distributed
import torch.distributed.nn
from torch.nn.parallel import DistributedDataParallel

from r2plus1d import errors
from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.meeting import meeting_place
from r2plus1d.devices import Devices
from r2plus1d.errors import BackendError

# The others wait for the process that tests and saves after an epoch.
PATIENCE = datetime.timedelta(days=1)
PATIENCE_TO_MEET = datetime.timedelta(minutes=10)
LOOPBACK = ('127.0.0.1', 'localhost')
COLLECTIVES = {'cpu': 'gloo', 'gpu': 'nccl'}
STORE = 'store'
# Of names that all releases of PyTorch 2 know, and of the strides of 1 x 1 x 1 kernels
USELESS_WARNINGS = (
    '`broadcast_buffers` is deprecated',
    'torch.distributed.nn.functional.all_reduce is deprecated',
    'Grad strides do not match bucket view strides',
)
OVER_A_CHANNEL = (0, 2, 3, 4)  # dimensions of N x C x T x H x W


class Ranks:
    """This process among those that train together. Made by `open_ranks`.

    Attributes:
        index, count: which of them it is, and how many there are.
    """

    def __init__(self, index: int, count: int) -> None:
        self.index, self.count = index, count
        for text in USELESS_WARNINGS:
            warnings.filterwarnings('ignore', text)
        # With gloo, apart from the gradients, which are on their way at the same time. With NCCL
        # two groups may wait for each other for ever, and one does things in their order.
        is_gloo = torch.distributed.get_backend() == 'gloo'
        self._statistics = torch.distributed.new_group(timeout=PATIENCE) if is_gloo else None

    def wrap(self, module: torch.nn.Module) -> DistributedDataParallel:
        """Return the module with the mean of the gradients over all ranks; rank 0's parameters."""
        try:
            return DistributedDataParallel(module, broadcast_buffers=False)
        except RuntimeError as error:  # NCCL meets here
            if not _is_of_connection(error):
                raise
            raise BackendError(
                f'process {self.index} of {self.count} does not reach the others: '
                f'{_last_line(error)}'
            ) from None

    def mean(self, values: torch.Tensor) -> list[float]:
        """Return the means over all ranks of (N,) values."""
        total = values.clone()
        with self.speaking():
            torch.distributed.all_reduce(total)
            return (total / self.count).tolist()  # a GPU's failure shows here

    @contextlib.contextmanager
    def speaking(self) -> Iterator[None]:
        """Turn the failure of another process into one line.

        Raises:
            BackendError: another process has ended.
        """
        try:
            yield
        except RuntimeError as error:
            if not _is_of_connection(error):
                raise
            raise BackendError(
                f'process {self.index} of {self.count} has lost the others: one has ended; '
                f'its own log says why. Here it is: {_last_line(error)}'
            ) from None

    def batch_norm(
        self,
        data: torch.Tensor,
        scale: torch.Tensor,
        shift: torch.Tensor,
        mean: torch.Tensor,
        variance: torch.Tensor,
        *,
        share: float,
        epsilon: float,
    ) -> torch.Tensor:
        """Normalize N x C x T x H x W with the statistics of the batch on all ranks together.

        Args:
            mean, variance: the running statistics, (C,), which are updated in place.
            share: of this batch in them.
        """
        wide = data.float()
        center = self._sum(wide.mean(OVER_A_CHANNEL)) / self.count
        centered = wide - _over_channels(center)
        spread = self._sum(centered.square().mean(OVER_A_CHANNEL)) / self.count
        with torch.no_grad():
            count = self.count * data.numel() // data.shape[1]
            mean.lerp_(center, share)
            variance.lerp_(spread * (count / (count - 1)), share)
        factor = _over_channels(scale * torch.rsqrt(spread + epsilon))
        return (centered * factor + _over_channels(shift)).to(data.dtype)

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        with self.speaking():
            return torch.distributed.nn.functional.all_reduce(values, group=self._statistics)


def _over_channels(values):
    return values[:, None, None, None]


def _is_of_connection(error):
    text = str(error).lower()
    if 'out of memory' in text:
        return False
    return 'connection' in text or 'gloo' in text or 'nccl' in text


@contextlib.contextmanager
def _open_store(settings: TrainerSettings) -> Iterator[torch.distributed.Store]:
    """Give that through which the processes find each other: at an address, or in a folder."""
    shard = settings.shard
    if settings.address is None:
        with meeting_place(shard, settings.meeting_folder, settings.run_id) as place:
            yield torch.distributed.FileStore(str(place / STORE), shard.count)
        return
    host, port = settings.address
    # torchrun has a store of its own at the address.
    is_master = shard.index == 0 and os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True'
    how: dict[str, Any] = {}
    if is_master and host in LOOPBACK:  # the store itself would listen to the whole network
        how['master_listen_fd'] = socket.create_server((host, port)).detach()
    try:
        store = torch.distributed.TCPStore(
            host, port, shard.count, is_master, timeout=PATIENCE_TO_MEET, **how
        )  # fmt: skip
    except RuntimeError as error:
        raise BackendError(f'no meeting at {host}:{port}: {_first_line(error)}') from None
    # What an attempt of before left there, if torchrun starts the processes anew, is not read.
    # Of several machines each counts its own attempts.
    is_one_machine = os.environ.get('GROUP_WORLD_SIZE') == '1'
    attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') if is_one_machine else '0'
    yield torch.distributed.PrefixStore(f'attempt_{attempt}', store)


def _first_line(error):
    return str(error).partition('\n')[0]


def _last_line(error):
    """What NCCL itself says is at the end."""
    return str(error).strip().splitlines()[-1]


@contextlib.contextmanager
def open_ranks(devices: Devices, settings: TrainerSettings) -> Iterator[Optional[Ranks]]:
    """Give this process's Ranks, once all of them have met; None where it is alone.

    Raises:
        InputError: the rest of an earlier run is in the way.
    """
    shard = settings.shard
    if shard.count == 1:
        yield None
        return
    with _open_store(settings) as store:
        torch.distributed.init_process_group(
            COLLECTIVES[devices.kind],
            store=store,
            rank=shard.index,
            world_size=shard.count,
            timeout=PATIENCE,
        )
        try:
            yield Ranks(shard.index, shard.count)
        except BaseException:
            if COLLECTIVES[devices.kind] == 'nccl':
                # Others may wait in a collective for ever, and the end of the group for them.
                errors.HANGING.append('NCCL')
            else:
                torch.distributed.destroy_process_group()
            raise
        torch.distributed.destroy_process_group()
