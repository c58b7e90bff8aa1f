"""Threads that compute the shares of a batch give what one thread gives for all of it."""

import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import open_trainer
from r2plus1d.backends.installed import has
from r2plus1d.devices import Devices
from r2plus1d.networks.network import Network

if not has('torch'):
    pytest.skip('needs PyTorch 2', allow_module_level=True)

import torch  # noqa: E402
from torch.nn import functional  # noqa: E402

from r2plus1d.backends.pytorch import memory  # noqa: E402
from r2plus1d.backends.pytorch.together import MOST_SHARES, together  # noqa: E402

SHAPE = (5, 6, 2, 7, 7)  # N x C x T x H x W


@pytest.fixture(autouse=True)
def threads_as_before():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def channels_last(array):
    return torch.from_numpy(array).contiguous(memory_format=torch.channels_last_3d)


def of_whole(data, scale, shift, gradient, running):
    """The result of PyTorch's own batch norm, and its gradients."""
    out = functional.batch_norm(data, *running, scale, shift, True, 0.1, 1e-3)
    return out, *torch.autograd.grad(out, (data, scale, shift), gradient)


def of_shares(threads, data, scale, shift, gradient, running):
    """The same of shares that are put together."""

    def work(share):
        own = data[share.place].detach().requires_grad_()
        out = share.batch_norm(own, scale, shift, *running, share=0.1, epsilon=1e-3)
        return out, *torch.autograd.grad(out, (own, scale, shift), gradient[share.place])

    with together(threads) as team:
        outs, by_data, by_scale, by_shift = zip(*team.run(work, team.shares(len(data))))
    return torch.cat(outs), torch.cat(by_data), sum(by_scale), sum(by_shift)


@pytest.mark.parametrize('threads', [2, 3, 5])
def test_batch_norm_has_the_statistics_of_all_shares(threads):
    rng = np.random.default_rng(threads)
    data, gradient = (channels_last(3 + rng.standard_normal(SHAPE)) for _ in range(2))
    scale, shift = (torch.from_numpy(rng.standard_normal(6)).requires_grad_() for _ in range(2))
    running = [torch.from_numpy(rng.random(6)) for _ in range(2)]
    ours = [each.clone() for each in running]
    expected = of_whole(data.requires_grad_(), scale, shift, gradient, running)
    found = of_shares(threads, data, scale, shift, gradient, ours)
    for one, other in zip((*found, *ours), (*expected, *running)):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-10, atol=1e-12)


def test_batch_norm_in_bf16_keeps_its_statistics_in_float32():
    rng = np.random.default_rng(0)
    data, gradient = (channels_last(rng.standard_normal(SHAPE)).bfloat16() for _ in range(2))
    scale, shift = (torch.ones(6, requires_grad=True), torch.zeros(6, requires_grad=True))
    running, ours = ([torch.zeros(6), torch.ones(6)] for _ in range(2))
    expected = of_whole(data.requires_grad_(), scale, shift, gradient, running)
    found = of_shares(2, data, scale, shift, gradient, ours)
    assert [each.dtype for each in found] == [each.dtype for each in expected]
    for one, other in zip(ours, running):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    for one, other in zip(found, expected):
        error = (one - other).detach().float().norm() / other.detach().float().norm()
        assert error < 2**-7


def test_every_clip_is_in_one_share():
    with together(4) as team:
        assert [share.place for share in team.shares(3)] == [slice(0, 1), slice(1, 2), slice(2, 3)]
        shares = team.shares(7)
    assert [share.place for share in shares] == [slice(0, 1), slice(1, 3), slice(3, 5), slice(5, 7)]
    assert sum(share.weight for share in shares) == pytest.approx(1)
    with together(64) as team:
        assert len(team.shares(100)) == MOST_SHARES


def test_each_thread_of_a_batch_has_its_part_of_the_cores():
    torch.set_num_threads(4)
    with together(4) as team:
        assert team.run(lambda share: torch.get_num_threads(), team.shares(2)) == [2, 2]
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize('bad', [0, 1])
def test_an_error_ends_the_others_and_is_the_one_that_is_raised(bad):
    def work(share):
        if share.place.start == bad:
            raise ValueError('this share')
        share.gather(None)

    with together(2) as team:
        with pytest.raises(ValueError, match='this share'):
            team.run(work, team.shares(2))
        # The next batch has a meeting of its own.
        assert (
            team.run(lambda share: share.gather(share.place.start), team.shares(2)) == [[0, 1]] * 2
        )


def test_an_interruption_leaves_the_threads_of_the_program():
    main = threading.get_ident()

    def work(share):
        if share.index == 1:  # while the main thread waits for it
            time.sleep(0.2)
            signal.pthread_kill(main, signal.SIGINT)
            time.sleep(0.2)

    torch.set_num_threads(4)
    with together(4) as threads:
        with pytest.raises(KeyboardInterrupt):
            threads.run(work, threads.shares(2))
        assert torch.get_num_threads() == 4


def test_the_first_share_is_of_the_thread_that_asks():
    with together(2) as team:
        ids = team.run(lambda share: threading.get_ident(), team.shares(2))
    assert ids[0] == threading.get_ident() != ids[1]


@pytest.mark.parametrize('replicas', [1, 2])
@pytest.mark.parametrize('parts', [1, 2])
def test_steps_of_several_threads_are_those_of_one(replicas, parts):
    """In float32 a ReLU's input near 0 can change its sign, so only the first step is near."""
    network = Network('mc3', 10, clip_length=8, num_labels=4, width=0.0625, use_dropout=True)
    rng = np.random.default_rng(3)
    data = rng.standard_normal((6 * replicas * parts, *network.data_shape), np.float32)
    label = rng.integers(0, 4, len(data))
    states = []
    for threads in (1, 2, 3, 4):
        torch.set_num_threads(threads)
        settings = TrainerSettings('torch', weight_decay=1e-4, seed=1, parts=parts)
        devices = Devices('cpu', tuple(range(replicas)))
        with open_trainer(network, devices=devices, settings=settings) as trainer:
            figures = trainer.step(data, label, 0.01)
            states.append((figures, trainer.state()))
    (expected, first), *others = states
    for figures, state in others:
        np.testing.assert_allclose(figures, expected, rtol=1e-5)
        for name, array in first.parameters.items():
            near = np.linalg.norm(state.parameters[name] - array)
            assert near <= 1e-4 * max(1, np.linalg.norm(array)), name


MAPS = """\
55db881f3000-55dba3084000 rw-p 00000000 00:00 0                          [heap]
7f3020000000-7f3024000000 rw-p 00000000 00:00 0
7f3024000000-7f3028000000 ---p 00000000 00:00 0
7f3028000000-7f3028100000 rw-p 00000000 00:00 0
7f3028420000-7f3029421000 rw-p 00003000 fe:00 98131                      /lib/a library.so
7ffdc0a00000-7ffdc0e00000 rw-p 00000000 00:00 0                          [stack]
"""


def test_heaps_are_found_in_whole_huge_pages():
    found = [(hex(begin), length >> 21) for begin, length in memory._large_areas(MAPS)]
    assert found == [('0x55db88200000', 215), ('0x7f3020000000', 32)]


@pytest.mark.skipif(not memory.MAPS.exists(), reason='needs Linux')
def test_memory_in_huge_pages_holds_the_same():
    code = (
        'import torch\n'
        'from r2plus1d.backends.pytorch.memory import keep_freed_memory, use_huge_pages\n'
        'keep_freed_memory()\n'
        'kept = torch.arange(1 << 23)\n'
        'use_huge_pages()\n'
        'assert kept.equal(torch.arange(1 << 23))\n'
        "print(open('/proc/self/smaps').read())\n"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    in_huge = [int(kilobytes) for kilobytes in re.findall(r'AnonHugePages: +(\d+)', done.stdout)]
    has_them = pathlib.Path('/sys/kernel/mm/transparent_hugepage/enabled')
    if not has_them.exists() or '[never]' in has_them.read_text():
        pytest.skip('this system has no huge pages')
    assert sum(in_huge) > 32_000


def test_tensors_come_in_memory_that_is_there():
    pytest.importorskip('resource')
    code = (
        'import resource, sys, torch\n'
        'from r2plus1d.backends.pytorch.memory import keep_freed_memory\n'
        'if sys.argv[1:]: keep_freed_memory()\n'
        'def faults(): return resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n'
        'before = 0\n'
        'for number in range(30):\n'
        '    if number == 20: before = faults()\n'
        '    torch.ones(8, 1 << 20).add(1)\n'
        'print(faults() - before)\n'
    )
    command = [sys.executable, '-c', code]
    given_back, kept = (
        int(subprocess.run([*command, *word], capture_output=True, check=True).stdout)
        for word in ([], ['keep'])
    )
    assert kept < given_back / 2
