"""The most operations a second that this machine was seen to make: products of two matrices.

A network's share of it says how much faster the same machine could be at most, roughly: a
convolution can reuse more of what is in the cache than the product of two matrices.
"""

import time

import numpy as np

GPU_SIZES = (4096, 8192)
SIZES = (512, 1024, 2048)  # small ones find a quiet moment on a machine that others use
TRIES, TIMES = 3, 10
INT8 = 'int8'
UNITS = {INT8: 'GOP/s'}  # of integers; the others' is GFLOP/s


def unit(precision):
    return UNITS.get(precision, 'GFLOP/s')


def matrix_product(precision):
    """The most operations a second of a product in `precision`, through OpenVINO or numpy."""
    makers = [lambda size: product(size, precision)]
    if precision == 'fp32':
        makers.append(numpy_product)
    return max(
        operations_a_second(make(size), size)
        for size in SIZES
        for make in makers
        for _ in range(TRIES)
    )


def gpu_product(precision, device='cuda'):
    """The same on a GPU, through PyTorch; fp32 is without TF32, as the engine torch computes."""
    return max(
        operations_a_second(torch_product(size, precision, device), size)
        for size in GPU_SIZES
        for _ in range(TRIES)
    )


def torch_product(size, precision, device):
    """A function that multiplies two matrices on a device of PyTorch's, and waits for it."""
    import torch

    from r2plus1d.backends.pytorch.device import DTYPES

    left, right = (torch.ones(size, size, dtype=DTYPES[precision], device=device) for _ in range(2))

    def multiply():
        torch.matmul(left, right)
        if device != 'cpu':
            torch.cuda.synchronize()

    return multiply


def numpy_product(size):
    left, right = (np.ones((size, size), np.float32) for _ in range(2))
    return lambda: left @ right


def product(size, precision):
    """A function that multiplies a float32 matrix by a constant one, through OpenVINO.

    In int8 the matrix is turned into u8 on the way and the constant is i8, 256 levels each, from
    which OpenVINO makes a product of integers: `kernel` tells.
    """
    compiled = compile_product(size, precision)
    request, data = compiled.create_infer_request(), np.ones((size, size), np.float32)
    return lambda: request.infer([data], share_inputs=True)


def compile_product(size, precision):
    """The openvino.CompiledModel of the product."""
    import openvino
    from openvino import opset13 as ops

    from r2plus1d.backends.openvino.engine import HINTS

    data = left = ops.parameter([size, size], np.float32)
    right = ops.constant(np.ones((size, size), np.float32))
    if precision == INT8:
        left, right = quantized(ops, left, 0, 255), quantized(ops, right, -128, 127)
    model = openvino.Model([ops.matmul(left, right, False, True)], [data])
    hint = {'INFERENCE_PRECISION_HINT': HINTS.get(precision, 'f32')}
    return openvino.Core().compile_model(model, 'CPU', hint)


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


def operations_a_second(multiply, size):
    multiply()
    return 2 * size**3 / min(timed(multiply) for _ in range(TIMES))


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
