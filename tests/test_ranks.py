"""The processes of one training when one of them fails: over gloo on 127.0.0.1, as over NCCL."""

import dataclasses
import datetime
import os
import socket
import subprocess
import sys

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import open_trainer
from r2plus1d.backends.installed import has
from r2plus1d.devices import Devices, Shard
from r2plus1d.errors import BackendError
from r2plus1d.networks.network import Network

if not has('torch'):
    pytest.skip('needs PyTorch 2', allow_module_level=True)

import torch  # noqa: E402

from r2plus1d.backends.pytorch import ranks  # noqa: E402
from r2plus1d.backends.pytorch.failures import failures_in_words  # noqa: E402

ENDS_EARLY = """
import os, sys, torch
from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.pytorch.ranks import open_ranks
from r2plus1d.devices import Devices, Shard
settings = TrainerSettings('torch', shard=Shard(1, 2), address=('127.0.0.1', int(sys.argv[1])))
with open_ranks(Devices(), settings) as those:
    assert those.mean(torch.tensor([3.0])) == [2.0]
    os._exit(7)
"""
IS_AT_THE_BEGINNING = """
import sys, numpy
from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import open_trainer
from r2plus1d.devices import Devices, Shard
from r2plus1d.networks.network import Network
settings = TrainerSettings('torch', shard=Shard(1, 2), address=('127.0.0.1', int(sys.argv[1])))
network = Network('r2d', 10, clip_length=8, num_labels=5, width=0.0625)
with open_trainer(network, devices=Devices(), settings=settings) as trainer:
    trainer.step(numpy.zeros((2, *network.data_shape), 'f'), numpy.zeros(2, 'i'), 0.01)
"""
FAILS_OVER_NCCL = """
import atexit, contextlib, signal, sys, time
import torch.distributed as distributed
from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.pytorch import ranks
from r2plus1d.cli.main import run
from r2plus1d.devices import Devices, Shard
from r2plus1d.errors import BackendError
ranks._open_store = lambda settings: contextlib.nullcontext()
distributed.init_process_group = lambda *args, **options: None
distributed.get_backend = lambda: 'nccl'
distributed.destroy_process_group = lambda: time.sleep(1000)  # others are in a collective
def main():
    with ranks.open_ranks(Devices('gpu'), TrainerSettings(shard=Shard(0, 2))):
        if sys.argv[1] == 'fails':
            raise BackendError('too little free memory')
        signal.raise_signal(signal.SIGTERM)
atexit.register(time.sleep, 1000)  # the end of the group, when its last reference goes
run(main)
"""


OUT_OF_MEMORY = (
    'NCCL error in: x.cpp:1, unhandled cuda error\nncclUnhandledCudaError: Call to CUDA function '
    "failed.\nLast error:\nCuda failure 2 'out of memory'"
)


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


def environment():
    return {**os.environ, 'PYTHONPATH': str(ROOT / 'lib'), 'GLOO_SOCKET_IFNAME': 'lo'}


def settings_of(index, count, port):
    return TrainerSettings('torch', shard=Shard(index, count), address=('127.0.0.1', port))


def test_the_loss_of_another_process_is_one_line(monkeypatch):
    monkeypatch.setenv('GLOO_SOCKET_IFNAME', 'lo')
    port = free_port()
    other = subprocess.Popen([sys.executable, '-c', ENDS_EARLY, str(port)], env=environment())
    with ranks.open_ranks(Devices(), settings_of(0, 2, port)) as those:
        assert those.mean(torch.tensor([1.0])) == [2.0]
        assert other.wait(60) == 7
        with pytest.raises(BackendError, match=r'^process 0 of 2 has lost the others: one has'):
            those.mean(torch.tensor([1.0]))


def test_processes_that_continue_from_different_checkpoints(monkeypatch):
    monkeypatch.setenv('GLOO_SOCKET_IFNAME', 'lo')
    port, network = free_port(), Network('r2d', 10, clip_length=8, num_labels=5, width=0.0625)
    other = subprocess.Popen(
        [sys.executable, '-c', IS_AT_THE_BEGINNING, str(port)], env=environment(), text=True,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    with open_trainer(network, devices=Devices(), settings=settings_of(0, 2, port)) as trainer:
        trainer.restore(dataclasses.replace(trainer.state(), iteration=2))
        clips, labels = np.zeros((2, *network.data_shape), np.float32), np.zeros(2, np.int32)
        with pytest.raises(BackendError, match='^process 0 has done 2 iterations, others have not'):
            trainer.step(clips, labels, 0.01)
    _, said = other.communicate(timeout=60)
    assert 'process 1 has done 0 iterations, others have not' in said


def test_a_meeting_to_which_nobody_comes(monkeypatch):
    monkeypatch.setattr(ranks, 'PATIENCE_TO_MEET', datetime.timedelta(seconds=1))
    port = free_port()
    alone = ranks.open_ranks(Devices(), settings_of(1, 2, port))
    with pytest.raises(BackendError, match=f'^no meeting at 127.0.0.1:{port}: '), alone:
        pass


@pytest.mark.parametrize(
    ('how', 'status', 'words'),
    [('fails', 1, 'too little free memory'), ('is ended', 143, 'ended by SIGTERM')],
)
def test_what_fails_over_nccl_waits_for_nobody(how, status, words):
    done = subprocess.run(
        [sys.executable, '-c', FAILS_OVER_NCCL, how], env=environment(), capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert done.stderr == f'-c: {words}\n'


def test_a_lack_of_memory_is_no_loss_of_a_process():
    assert ranks._is_of_connection(RuntimeError('NCCL error in: x.cpp:1, unhandled system error'))
    assert not ranks._is_of_connection(RuntimeError(OUT_OF_MEMORY))
    said = 'cpu has too little free memory for the gradients'
    in_words = failures_in_words(torch.device('cpu'), 'the gradients')
    with pytest.raises(BackendError, match=said), in_words:
        raise RuntimeError(OUT_OF_MEMORY)


def test_what_nccl_says_at_the_meeting_is_told(monkeypatch):
    def ddp(module, **options):
        raise RuntimeError('NCCL error in: x.cpp:1, invalid usage\nLast error:\nDuplicate GPU')

    monkeypatch.setattr(ranks, 'DistributedDataParallel', ddp)
    monkeypatch.setattr(torch.distributed, 'get_backend', lambda: 'nccl')
    with pytest.raises(BackendError, match='^process 1 of 2 does not reach the others: Duplicate'):
        ranks.Ranks(1, 2).wrap(torch.nn.Linear(1, 1))


@pytest.mark.parametrize(('machines', 'attempt'), [('1', '2'), ('2', '0')])
def test_each_attempt_of_one_machine_has_its_own_place(monkeypatch, machines, attempt):
    """Of several machines torchrun counts the attempts of each."""
    monkeypatch.setenv('TORCHELASTIC_RESTART_COUNT', '2')
    monkeypatch.setenv('GROUP_WORLD_SIZE', machines)
    with ranks._open_store(settings_of(0, 1, free_port())) as store:
        store.set('key', 'value')
        assert store.underlying_store.get(f'attempt_{attempt}/key') == b'value'
