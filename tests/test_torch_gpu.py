"""The engine's GPU on a stand-in that puts every operation off until something waits for it."""

import warnings
import weakref

import numpy as np
import pytest

from r2plus1d.backends.pytorch import engine as torch_engine
from r2plus1d.errors import BackendError, InputError
from r2plus1d.networks.folding import Plan, Tensor
from r2plus1d.networks.graph import Node, Window

try:
    torch_engine.require()
except InputError as lacking:
    pytest.skip(str(lacking), allow_module_level=True)

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from late_cuda import COMPUTE, OTHERS, RUBBISH, LateCuda
from r2plus1d.backends.pytorch import gpu
from r2plus1d.backends.pytorch.device import CpuDevice
from r2plus1d.backends.pytorch.gpu import GpuDevice
from r2plus1d.backends.pytorch.graphs import GraphRunner
from r2plus1d.backends.pytorch.module import PlanModule

OUTPUTS = ('softmax', 'final_avg')
CLIPS, GPU = 2, torch.device('cuda', 0)
SHAPE = (3, 4, 8, 8)
RNG = np.random.default_rng(0)
CHUNKS = RNG.integers(0, 256, (6, CLIPS, *SHAPE), np.uint8)


def small_plan():
    """(Plan, its arrays) of a small network with a factored residual block."""
    pointwise = Window((1, 1, 1), (1, 1, 1), (0, 0, 0))
    spatial = Window((1, 3, 3), (1, 2, 2), (0, 1, 1))
    temporal = Window((3, 1, 1), (1, 1, 1), (1, 0, 0))
    whole = Window((4, 4, 4), (1, 1, 1), (0, 0, 0))
    nodes = (
        Node('Conv', ('data',), 'middle', 'middle', ('w0', 'b0'), spatial),
        Node('Relu', ('middle',), 'positive', 'positive'),
        Node('Conv', ('positive',), 'first', 'first', ('w1', 'b1'), temporal),
        Node('Conv', ('first',), 'second', 'second', ('w2',), pointwise),
        Node('Sum', ('first', 'second'), 'sum', 'sum'),
        Node('AveragePool', ('sum',), 'final_avg', 'final_avg', (), whole),
        Node('FC', ('final_avg',), 'last', 'last', ('w3', 'b3')),
        Node('SoftmaxWithLoss', ('last',), 'softmax', 'softmax'),
    )  # fmt: skip
    shapes = {
        'w0': (5, 3, 1, 3, 3), 'b0': (5,), 'w1': (6, 5, 3, 1, 1), 'b1': (6,), 'w2': (6, 6, 1, 1, 1),
        'w3': (4, 6), 'b3': (4,),
    }  # fmt: skip
    arrays = {n: 0.3 * RNG.standard_normal(shape, np.float32) for n, shape in shapes.items()}
    kinds = {name: Tensor(shape) for name, shape in shapes.items()}
    return Plan(nodes, {}, kinds, {'softmax': (4,), 'final_avg': (6, 1, 1, 1)}), arrays


PLAN = small_plan()
# One after the other is full, short, and full again
LENGTHS = (2, 2, 1, 2, 1, 2)
ORDERS = ['', COMPUTE, OTHERS]


@pytest.fixture(scope='module')
def expected():
    device = CpuDevice(torch.device('cpu'), precision='fp32', clips=CLIPS)
    device.load(*PLAN)
    return run_all(device)


@pytest.fixture(params=ORDERS, ids=['as late as can be', 'compute early', 'copies early'])
def cuda(request, monkeypatch):
    return stand_in(monkeypatch, request.param)


def stand_in(monkeypatch, eager=''):
    cuda = LateCuda(eager)
    cuda.put_in_place(monkeypatch)
    return cuda


def opened(kind=GpuDevice, **options):
    device = kind(GPU, **{'precision': 'fp32', 'clips': CLIPS, **options})
    device.pin(CHUNKS.reshape(-1))  # or the stand-in copies at once, as CUDA does
    device.load(*PLAN)
    return device


def run_all(device, chunks=CHUNKS, lengths=LENGTHS):
    """Rows of the chunks, with as many under way as the device takes; each read at the end."""
    rows, given = [], list(zip(chunks, lengths))
    for k, (chunk, length) in enumerate(given):
        if k >= device.ahead:
            rows.append(device.collect())
        device.submit([chunk[:length]])
    rows += [device.collect() for _ in range(min(device.ahead, len(given)))]
    return rows


def largest_difference(found, expected):
    """NaN counts as infinite."""
    with np.errstate(invalid='ignore'):
        differences = [
            np.abs(found_rows[name] - rows[name]).max()
            for found_rows, rows in zip(found, expected)
            for name in OUTPUTS
        ]
    assert len(found) == len(expected)
    return max(np.nan_to_num(differences, nan=np.inf))


ALLOWED = 1e-5  # of rounding; the chunks differ by far more


def test_the_chunks_differ(expected):
    for k in range(len(expected) - 1):
        assert largest_difference(expected[k : k + 1], [halved(expected[k + 1])]) > 100 * ALLOWED


def halved(rows):
    return {name: array[:1] for name, array in rows.items()}


@pytest.mark.parametrize('with_graphs', [False, True], ids=['plain', 'graphs'])
def test_new_weights_replace_the_old(cuda, with_graphs):
    plan, arrays = PLAN
    others = plan, {name: array[::-1].copy() for name, array in arrays.items()}
    with cuda:
        device = opened(with_graphs=with_graphs)
        run_all(device)
        device.load(*others)
        found = run_all(device)
    cpu = CpuDevice(torch.device('cpu'), precision='fp32', clips=CLIPS)
    cpu.load(*others)
    assert largest_difference(found, run_all(cpu)) < ALLOWED


@pytest.mark.parametrize('with_graphs', [False, True], ids=['plain', 'graphs'])
def test_rows_are_those_of_the_cpu(cuda, expected, with_graphs):
    with cuda:
        found = run_all(opened(with_graphs=with_graphs))
    assert largest_difference(found, expected) < ALLOWED
    assert (cuda.captures, cuda.replays) == ((1, 5) if with_graphs else (0, 0))


def test_float_clips_have_memory_of_their_own(cuda):
    clips = np.random.default_rng(1).standard_normal((6, CLIPS, *SHAPE), np.float32)
    cpu = CpuDevice(torch.device('cpu'), precision='fp32', clips=CLIPS)
    cpu.load(*PLAN)
    mixed = [*clips[:2], *CHUNKS[:2], *clips[2:4]]
    with cuda:
        found = run_all(opened(), mixed, [2] * 6)
    assert largest_difference(found, run_all(cpu, mixed, [2] * 6)) < ALLOWED


# Faults of the device that the stand-in has to show


class WithoutWaitForTheCopy(GpuDevice):
    """It computes before the clips are there."""

    def _upload(self, slot, parts):
        super()._upload(slot, parts)
        slot.uploaded = torch.cuda.Event()  # which was never recorded


class WithoutWaitForTheRows(GpuDevice):
    """It reads the rows before they are there."""

    def _download(self, slot, values):
        super()._download(slot, values)
        slot.finished = torch.cuda.Event()


class EventTooEarly(GpuDevice):
    """It records the event before the copies that the event is for."""

    def _download(self, slot, values):
        slot.finished.record()
        before, slot.finished = slot.finished, torch.cuda.Event()
        super()._download(slot, values)
        slot.finished = before


class OneSlotForAll(GpuDevice):
    """It fills memory that an earlier chunk is still computed from."""

    def _next_slot(self, clips):
        self._submitted = 0
        return super()._next_slot(clips)


class RowsThatAreUsedAgain(GpuDevice):
    """It hands out the memory that the next chunks' rows are copied to."""

    def collect(self):
        count, slot = self._under_way.popleft()
        slot.finished.synchronize()
        return {name: rows[:count].numpy() for name, rows in slot.rows.items()}


class NewMemoryAtOnce(GpuDevice):
    """It copies to new memory that is still in use for what it was before."""

    def _next_slot(self, clips):
        self._copies.wait_stream = lambda other: None
        return super()._next_slot(clips)


FAULTS = [
    WithoutWaitForTheCopy, WithoutWaitForTheRows, EventTooEarly, OneSlotForAll,
    RowsThatAreUsedAgain, NewMemoryAtOnce,
]  # fmt: skip


@pytest.mark.parametrize('faulty', FAULTS, ids=lambda kind: kind.__name__)
def test_a_missing_wait_or_memory_used_again_is_seen(monkeypatch, expected, faulty):
    differences = []
    for eager in ORDERS:
        with monkeypatch.context() as patch, stand_in(patch, eager):
            found = run_all(opened(faulty, with_graphs=False))
        differences.append(largest_difference(found, expected))
    assert max(differences) > 100 * ALLOWED


def test_clips_that_change_before_their_rows_are_collected_are_seen(monkeypatch, expected):
    """What the worker's shared memory must not do."""
    memory = CHUNKS[:1].copy()
    with stand_in(monkeypatch):
        device = opened()
        device.pin(memory.reshape(-1))
        device.submit([memory[0]])
        memory[:] = 0
        found = device.collect()
    assert largest_difference([found], expected[:1]) > 100 * ALLOWED


def test_memory_that_is_not_pinned_is_copied_at_once(monkeypatch, expected, caplog):
    memory = CHUNKS[:1].copy()
    cuda = stand_in(monkeypatch)
    cuda.register_status = 2
    with cuda:
        device = opened()
        device.pin(memory.reshape(-1))
        device.submit([memory[0]])
        memory[:] = 0
        found = device.collect()
    assert largest_difference([found], expected[:1]) < ALLOWED
    assert 'memory cannot be pinned (2); copies take longer' in caplog.text


def test_only_its_own_gpu_is_touched(monkeypatch):
    """A process that touches GPU 0 on its way to GPU 1 takes hundreds of MB there."""
    with stand_in(monkeypatch) as cuda:
        device = opened()
        device._device = torch.device('cuda', 1)
        device.pin(CHUNKS.reshape(-1))
        run_all(device)
    assert set(cuda.devices_used[1:]) == {torch.device('cuda', 1)}


def test_events_do_not_spin(cuda):
    with cuda:
        run_all(opened())
    assert cuda.event_options
    assert all(options == {'blocking': True} for options in cuda.event_options)


def test_more_chunks_than_slots_are_our_mistake(monkeypatch):
    with stand_in(monkeypatch):
        device = opened()
        for chunk in CHUNKS[:3]:
            device.submit([chunk])
        with pytest.raises(AssertionError, match='were not collected'):
            device.submit([CHUNKS[3]])


# Precisions


def test_only_tf32_rounds_so(monkeypatch, expected):
    for precision, seen in (('fp32', {False}), ('tf32', {True})):
        with monkeypatch.context() as patch, stand_in(patch) as cuda:
            found = run_all(opened(precision=precision))
            assert set(cuda.tf32_seen) == seen
        assert largest_difference(found, expected) < ALLOWED  # the stand-in does not round


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_halves(monkeypatch, expected, precision):
    with stand_in(monkeypatch):
        found = run_all(opened(precision=precision))
    assert ALLOWED < largest_difference(found, expected) < 0.1


def test_deterministic_kernels(monkeypatch):
    for asked in (False, True):
        seen = []

        class Watched(GpuDevice):
            def _compute(self, clips):
                cudnn = torch.backends.cudnn
                seen.append((cudnn.deterministic, cudnn.benchmark))  # noqa: B023
                return super()._compute(clips)

        with monkeypatch.context() as patch, stand_in(patch):
            run_all(opened(Watched, deterministic=asked), CHUNKS[:1], [2])
        assert seen == [(asked, not asked)]


@pytest.mark.parametrize('as_images', [True, False])
def test_3d_convolutions_of_16_bits_are_warned_of(monkeypatch, caplog, as_images):
    monkeypatch.setattr(torch.backends.cudnn, 'version', lambda: 91002)
    with stand_in(monkeypatch):
        opened(precision='fp16', as_images=as_images)
    assert ('cuDNN 9.10 computes 3D convolutions of fp16' in caplog.text) is not as_images


# Failures


LOST = RuntimeError('CUDA error: unspecified launch failure\nCompile with TORCH_USE_CUDA_DSA')
FULL = torch.cuda.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB')
WORKSPACE = RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED')
ENGINES = RuntimeError('GET was unable to find an engine to execute this computation')
NO_KERNEL = r'too little free memory for 2 clips, or cuDNN has no kernel for them: 0.9 of 14.9'
CONTEXT = RuntimeError('CUDA error: out of memory\nCUDA kernel errors might be reported later')
NO_MEMORY = r'cuda:0 has too little free memory for 2 clips: 0.9 of 14.9 GiB are free$'


@pytest.mark.parametrize(
    ('failure', 'message'),
    [(FULL, NO_MEMORY), (WORKSPACE, NO_MEMORY), (ENGINES, NO_KERNEL),
     (LOST, 'cuda:0 failed: CUDA error: unspecified launch failure$')],
)  # fmt: skip
@pytest.mark.parametrize('when', ['submit', 'collect'])
def test_failures_are_one_line(monkeypatch, failure, message, when):
    with stand_in(monkeypatch) as cuda:
        device = opened()
        device.submit([CHUNKS[0]])
        cuda.failure = failure
        with pytest.raises(BackendError, match=message):
            device.submit([CHUNKS[1]]) if when == 'submit' else device.collect()


def test_no_memory_for_the_weights(monkeypatch):
    with stand_in(monkeypatch) as cuda:
        device = gpu.GpuDevice(GPU, precision='fp32', clips=CLIPS)
        cuda.failure = FULL
        with pytest.raises(BackendError, match='too little free memory for the weights'):
            device.load(*PLAN)


def test_no_memory_for_the_context(monkeypatch):
    with stand_in(monkeypatch) as cuda:
        cuda.failure = CONTEXT
        with pytest.raises(BackendError, match='too little free memory for its context'):
            opened()


def test_our_own_mistakes_stay_as_they_are(monkeypatch):
    with stand_in(monkeypatch) as cuda:
        device = opened()
        cuda.failure = RuntimeError('shape mismatch')
        with pytest.raises(RuntimeError, match='^shape mismatch$'):
            device.submit([CHUNKS[0]])


@pytest.mark.parametrize('failure', [FULL, RuntimeError('CUDA error: not permitted')])
def test_a_graph_that_cannot_be_captured_is_done_without(monkeypatch, expected, caplog, failure):
    with stand_in(monkeypatch) as cuda:
        cuda.failures_in_capture = [failure]
        found = run_all(opened())
    assert largest_difference(found, expected) < ALLOWED
    assert (cuda.captures, cuda.replays) == (1, 0)
    assert f'runs without CUDA graphs: {failure}' in caplog.text


def test_a_failed_capture_that_pytorch_takes_for_going_on(monkeypatch, expected):
    def empty_cache():
        raise RuntimeError('captures_underway.empty() INTERNAL ASSERT FAILED')

    with stand_in(monkeypatch) as cuda:
        monkeypatch.setattr(torch.cuda, 'empty_cache', empty_cache)
        cuda.failures_in_capture = [RuntimeError('CUDA error: not permitted')]
        found = run_all(opened())
    assert largest_difference(found, expected) < ALLOWED


def test_what_a_failed_capture_took_is_free_for_the_plain_call(monkeypatch):
    made = []

    def double(data):
        assert all(each() is None for each in made), 'an earlier call still holds its memory'
        out = data * 2
        made.append(weakref.ref(out))
        return {'out': out}

    with stand_in(monkeypatch) as cuda, torch.inference_mode():
        run = GraphRunner(double)
        data = torch.zeros(2, device=GPU)
        run(data)
        torch.cuda.synchronize()
        cuda.failures_in_capture = [torch.cuda.OutOfMemoryError('CUDA out of memory')]
        run(data)
    assert len(made) == 3


# Where the tensors are


def test_everything_the_module_reads_is_on_the_gpu():
    with warnings.catch_warnings(), FakeTensorMode(allow_non_fake_inputs=True):
        module = PlanModule(*PLAN, torch.float16, channels=8, as_images=True).to(GPU)
        values = module(torch.empty((CLIPS, *SHAPE), device=GPU))
        assert {(value.device, value.dtype) for value in values.values()} == {(GPU, torch.float32)}
        with pytest.raises(RuntimeError, match='different devices|on the same device|Unhandled'):
            module(torch.empty((CLIPS, *SHAPE)))


def test_the_device_moves_what_it_adds(monkeypatch):
    """The stand-in refuses, as CUDA does, an operation on two devices."""
    with stand_in(monkeypatch):
        device = opened()
        device._mean = torch.zeros(1, 3, 1, 1, 1)
        with pytest.raises(RuntimeError, match='on the same device'):
            device.submit([CHUNKS[0]])


def test_memory_on_the_stand_in_begins_as_rubbish(monkeypatch):
    with stand_in(monkeypatch), torch.inference_mode():
        assert torch.empty(2, dtype=torch.uint8, device=GPU).memory.tolist() == [RUBBISH] * 2
        late = torch.empty(2, dtype=torch.uint8, device=GPU).zero_()
        assert late.memory.tolist() == [RUBBISH] * 2
        torch.cuda.synchronize()
        assert late.memory.tolist() == [0, 0]
