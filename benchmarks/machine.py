"""What this machine is, and the most operations per second that its CPU was seen to make.

The operations are those of products of two matrices. A network's share of them tells roughly how
much faster the same machine could be. A convolution can reuse more of what is in the cache than the
product of two matrices, so the share can pass 1.
"""

import contextlib
import os
import pathlib
import re
import time

import numpy as np

SIZES = (512, 1024, 2048)  # small ones find a quiet moment on a machine that others use
TRIES, TIMES = 3, 10
INT8 = 'int8'
UNITS = {INT8: 'GOP/s'}  # of integers; the others' is GFLOP/s


def description():
    """The processor, its cores and the date: what the figures hold for."""
    info = pathlib.Path('/proc/cpuinfo')
    name = re.search(r'model name\s*: (.*)', info.read_text() if info.exists() else '')
    processor = name.group(1) if name else 'unknown processor'
    return f'{processor}, {len(os.sched_getaffinity(0))} cores, {time.strftime("%Y-%m-%d")}'


def timed(work):
    """Return (what `work()` returns, seconds)."""
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def seconds(work):
    return timed(work)[1]


def cpu_seconds():
    """Processor seconds so far of this program and of the processes that it started."""
    ours, found = {os.getpid()}, 0.0
    processes = sorted(int(path.name) for path in pathlib.Path('/proc').glob('[0-9]*'))
    for number in processes:
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f'/proc/{number}/stat').read_text().rpartition(')')[2].split()
            if number in ours or int(fields[1]) in ours:
                ours.add(number)
                found += time.clock_gettime(process_clock(number))
    return found


def process_clock(number):
    """Linux's clock of a process, in nanoseconds; /proc counts in hundredths of a second."""
    return ~number << 3 | 2


def unit(precision):
    return UNITS.get(precision, 'GFLOP/s')


def matrix_product(precision):
    """The most operations per second of a product in `precision`, through OpenVINO or numpy."""
    makers = [lambda size: openvino_product(size, precision)]
    if precision == 'fp32':
        makers.append(numpy_product)
    return max(
        operations_per_second(make(size), size)
        for size in SIZES
        for make in makers
        for _ in range(TRIES)
    )


def operations_per_second(multiply, size):
    multiply()
    return 2 * size**3 / min(seconds(multiply) for _ in range(TIMES))


def numpy_product(size):
    left, right = (np.ones((size, size), np.float32) for _ in range(2))
    return lambda: left @ right


def openvino_product(size, precision):
    """A function that multiplies a float32 matrix by a constant one.

    In int8 the matrix is turned into u8 on the way and the constant is i8, with 256 levels each.
    OpenVINO makes a product of integers from them; `kernel` tells.
    """
    compiled = compile_product(size, precision)
    request, data = compiled.create_infer_request(), np.ones((size, size), np.float32)
    return lambda: request.infer([data], share_inputs=True)


def compile_product(size, precision):
    """The openvino.CompiledModel of the product."""
    import openvino
    from openvino import opset13 as ops

    from r2plus1d.backends.openvino.core import core
    from r2plus1d.backends.openvino.engine import HINTS

    data = left = ops.parameter([size, size], np.float32)
    right = ops.constant(np.ones((size, size), np.float32))
    if precision == INT8:
        left, right = quantized(ops, left, 0, 255), quantized(ops, right, -128, 127)
    model = openvino.Model([ops.matmul(left, right, False, True)], [data])
    hint = {'INFERENCE_PRECISION_HINT': HINTS.get(precision, 'f32')}
    return core().compile_model(model, 'CPU', hint)


def quantized(ops, value, low, high):
    """`value` in whole steps from `low` to `high`."""
    ends = [ops.constant(np.float32(end)) for end in (low, high)]
    return ops.fake_quantize(value, *ends, *ends, high - low + 1)


def kernel(precision):
    """What OpenVINO computes its products with, such as brgemm_avx512_I8."""
    compiled = compile_product(SIZES[0], precision)
    infos = [operation.get_rt_info() for operation in compiled.get_runtime_model().get_ops()]
    products = ('FullyConnected', 'MatMul')
    kinds = [i['primitiveType'].value for i in infos if i['layerType'].value in products]
    return kinds[0] if kinds else 'unknown'
