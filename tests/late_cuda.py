"""A stand-in for torch.cuda that puts every operation off until something waits for it.

Tensors on its GPU are memory of this process, filled with rubbish (NaN, or 77) until the operation
that makes them has run. Each stream is a queue. A queue is worked off as far as an event, or
another stream, waits for it; a stream that is `eager` runs at once, which is another order that a
GPU may choose. So a missing wait gives rubbish, and memory that is used again too early gives the
numbers of another chunk. New memory is filled with rubbish once more when its stream comes to it,
as with deterministic kernels, or where what is queued before still writes to it.
"""

import collections
import contextlib
import types

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

aten = torch.ops.aten
RUBBISH = 77
COMPUTE, OTHERS = 'compute', 'others'


class GpuTensor(torch.Tensor):
    """A tensor that says it is on a GPU; its numbers are in `memory`.

    To PyTorch's own code it is one of the device `meta`: for CUDA's it would ask a driver.
    """

    device = torch.device('cuda', 0)

    @staticmethod
    def __new__(cls, memory):
        # A view of weights, which are none of inference mode's tensors, cannot be one of them.
        with torch.inference_mode(False):
            return torch.Tensor._make_wrapper_subclass(
                cls,
                memory.shape,
                strides=memory.stride(),
                storage_offset=memory.storage_offset(),
                dtype=memory.dtype,
                device='meta',
            )

    def __init__(self, memory):
        self.memory = memory

    @classmethod
    def __torch_dispatch__(cls, func, kinds, args=(), kwargs=None):
        raise AssertionError(f'{func} outside of the stand-in')


class Queue:
    """A stream: operations in their order, of which the first `done` have run."""

    def __init__(self, cuda):
        self._cuda, self._waiting = cuda, collections.deque()
        self.done = self.put = 0

    def add(self, work):
        if self._cuda.captured is not None:
            self._cuda.captured.append(work)
            return
        self._waiting.append(work)
        self.put += 1
        if self._cuda.is_eager(self):
            self.run_to(self.put)

    def run_to(self, number):
        if self._cuda.captured is not None:
            raise RuntimeError('CUDA error: operation not permitted when stream is capturing')
        while self.done < number:
            self._waiting.popleft()()
            self.done += 1

    def wait_stream(self, other):
        number = other.put
        self.add(lambda: other.run_to(number))

    def wait_event(self, event):
        event.wait(self)

    def synchronize(self):
        self.run_to(self.put)


class Event:
    """A place in a queue."""

    def __init__(self, cuda, **options):
        self._cuda, self._at = cuda, None
        cuda.event_options.append(options)

    def record(self, stream=None):
        stream = stream or self._cuda.current
        self._at = stream, stream.put

    def wait(self, stream=None):
        if self._at:
            other, number = self._at
            (stream or self._cuda.current).add(lambda: other.run_to(number))

    def synchronize(self):
        self._cuda.fail_if_told()
        if self._at:
            self._at[0].run_to(self._at[1])


class Graph:
    """A torch.cuda.CUDAGraph: what was captured, to run again."""

    def __init__(self, cuda):
        self._cuda, self.work = cuda, []

    def replay(self):
        self._cuda.replays += 1
        self._cuda.devices_used.append(self._cuda.current_device)
        for work in self.work:
            self._cuda.current.add(work)


class LateCuda(TorchDispatchMode):
    """The stand-in; use it as a context manager, once `put_in_place` has been called.

    Args:
        eager: COMPUTE, OTHERS or '': which streams run as soon as they can.

    Attributes:
        failure: raised by the next allocation, new stream, or wait of this process, once.
        failures_in_capture: one that is raised at the end of the next capture.
        register_status: of pinning memory; 0 is success.
        tf32_seen: torch.backends.cudnn.allow_tf32 at each convolution.
        event_options: the options of each Event.
        captures, replays: of CUDA graphs.
        devices_used: the current device when memory was pinned, and at each replay.
    """

    def __init__(self, eager=''):
        super().__init__()
        self.eager, self.captured, self.failure = eager, None, None
        self.tf32_seen, self.event_options = [], []
        self.captures = self.replays = self.register_status = 0
        self.failures_in_capture = []
        self.pinned, self.devices_used = [], []
        self.current_device = torch.device('cuda', 0)
        self.default = self.current = Queue(self)

    # what torch.cuda offers

    def put_in_place(self, monkeypatch):
        """Replace the parts of torch.cuda that the engine uses."""
        offered = {
            '_lazy_init': lambda: None,
            'init': lambda: None,
            'is_available': lambda: True,
            'device_count': lambda: 1,
            'get_device_capability': lambda device=None: (9, 0),
            'get_device_name': lambda device=None: 'stand-in',
            'get_arch_list': lambda: ['sm_80', 'sm_90'],
            'mem_get_info': lambda device=None: (10**9, 16 * 10**9),
            'device': self._on_device,
            'Stream': self._new_stream,
            'Event': lambda **options: Event(self, **options),
            'current_stream': lambda device=None: self.current,
            'stream': self._stream,
            'CUDAGraph': lambda: Graph(self),
            'graph': self._capture,
            'cudart': lambda: types.SimpleNamespace(cudaHostRegister=self._register),
            'synchronize': lambda device=None: self.default.synchronize(),
            'empty_cache': lambda: None,
        }
        for name, value in offered.items():
            monkeypatch.setattr(torch.cuda, name, value)

    @contextlib.contextmanager
    def _on_device(self, device):
        before, self.current_device = self.current_device, device
        try:
            yield
        finally:
            self.current_device = before

    @contextlib.contextmanager
    def _stream(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextlib.contextmanager
    def _capture(self, graph):
        self.default.synchronize()
        self.captures += 1
        self.captured = graph.work
        try:
            yield
        finally:
            self.captured = None
        failures, self.failures_in_capture = self.failures_in_capture, []
        while failures:  # no name is left for an error, whose traceback would hold what it saw
            raise failures.pop()

    def _register(self, address, size, flags):
        self.devices_used.append(self.current_device)
        if self.register_status == 0:
            self.pinned.append(range(address, address + size))
        else:  # CUDA keeps the error for the next operation
            self.failure = RuntimeError('CUDA error: invalid argument')
        return self.register_status

    def _new_stream(self, device=None):
        self.fail_if_told()
        return Queue(self)

    def is_eager(self, queue):
        return self.eager == (COMPUTE if queue is self.default else OTHERS)

    def fail_if_told(self):
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    # operations

    def __torch_dispatch__(self, func, kinds, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
        if any(isinstance(t, GpuTensor) for t in tensors) or is_gpu(kwargs.get('device')):
            return self._on_gpu(func, tensors, args, kwargs)
        is_pinned = kwargs.pop('pin_memory', False)
        out = func(*args, **kwargs)
        if is_pinned:
            start = out.data_ptr()
            self.pinned.append(range(start, start + out.numel() * out.element_size()))
        return out

    def _on_gpu(self, func, tensors, args, kwargs):
        if func in (aten._to_copy.default, aten.copy_.default):
            return self._copy(func, args, kwargs)
        if has_kernel(func, 'CompositeImplicitAutograd'):
            with self:
                return func.decompose(*args, **kwargs)
        for tensor in tensors:
            if tensor.dim() and not isinstance(tensor, GpuTensor):
                raise RuntimeError('Expected all tensors to be on the same device, cuda:0 and cpu')
        if func is aten.convolution.default:
            self.tf32_seen.append(torch.backends.cudnn.allow_tf32)
        aliases = [r.alias_info for r in func._schema.returns]
        kwargs.pop('device', None)
        kwargs.pop('pin_memory', None)
        if any(a is not None and not a.is_write for a in aliases):
            return tree_map(wrapped, func(*tree_map(memory_of, args), **kwargs))
        if any(a is not None for a in aliases):
            self._put(func, args, kwargs, None)
            return args[0]
        return self._new(func, args, kwargs)

    def _new(self, func, args, kwargs):
        like = func(*tree_map(meta_of, args), **tree_map(meta_of, {**kwargs, **on_meta(func)}))
        out = self._allocate(like)
        if 'empty' in str(func):
            self.current.add(lambda: spoil(out.memory))
        else:
            self._put(func, args, kwargs, out)
        return out

    def _allocate(self, like):
        self.fail_if_told()
        memory = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype)
        spoil(memory)
        return GpuTensor(memory)

    def _put(self, func, args, kwargs, out):
        args, kwargs = tree_map(memory_of, (args, kwargs))

        def work():
            with torch.inference_mode():
                made = func(*args, **kwargs)
                if out is not None:
                    out.memory.copy_(made)

        self.current.add(work)

    def _copy(self, func, args, kwargs):
        """From one memory to another, or to another dtype."""
        at_once = False
        if func is aten.copy_.default:
            to, given = args[:2]
            is_late = args[2] if len(args) > 2 else kwargs.get('non_blocking', False)
        else:
            given, is_late = args[0], kwargs.get('non_blocking', False)
            target = kwargs.get('device')
            changed = {k: v for k, v in kwargs.items() if k in ('dtype', 'memory_format')}
            like = func(meta_of(given), **changed)
            if is_gpu(target) or (target is None and isinstance(given, GpuTensor)):
                to = self._allocate(like)
            else:
                to, at_once = torch.empty_strided(like.shape, like.stride(), dtype=like.dtype), True
        host = [t for t in (to, given) if not isinstance(t, GpuTensor)]
        self._put(aten.copy_.default, (to, given), {}, None)
        if host and (at_once or not is_late or not all(map(self.is_pinned, host))):
            self.current.synchronize()
        return to

    def is_pinned(self, tensor):
        return any(tensor.data_ptr() in memory for memory in self.pinned)


@torch.inference_mode()
def spoil(memory):
    memory.fill_(float('nan') if memory.dtype.is_floating_point else RUBBISH)


def has_kernel(func, key):
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key)


def is_gpu(device):
    return device is not None and torch.device(device).type == 'cuda'


def wrapped(value):
    return GpuTensor(value) if isinstance(value, torch.Tensor) else value


def memory_of(value):
    return value.memory if isinstance(value, GpuTensor) else value


def meta_of(value):
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device='meta')


def on_meta(func):
    takes_device = any(a.name == 'device' for a in func._schema.arguments)
    return {'device': torch.device('meta')} if takes_device else {}
