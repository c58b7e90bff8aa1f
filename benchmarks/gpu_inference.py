"""The stage `inference` of gpu_acceptance.py: clips per second, and which variant is fastest."""

import functools
import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
from gpu_steps import clips_of, parameters_of

from r2plus1d.networks import cost
from r2plus1d.networks.input import RGB_MEAN, RGB_STD, normalize
from r2plus1d.weights.onnx_model import plan_of

OUTPUTS = ('softmax',)
CHUNKS = (16, 32, 64, 128, 256)
# name: (as_images, channels, CUDA graphs, torch.compile)
VARIANTS = {
    'conv3d': (False, 1, False, False),
    '2D': (True, 1, False, False),
    '2D, padded': (True, 8, False, False),
    '2D, padded, graphs': (True, 8, True, False),
    '2D, padded, compiled': (True, 8, False, True),
}
USUAL, USUAL_CHUNK = '2D, padded, graphs', 32  # of the engine
IN_EVERY_CHUNK = ('2D, padded', USUAL)
LONGEST = 110  # seconds of a measurement with decoding
SECONDS, LEAST = 0.5, 3  # of a measurement, and its runs
SIZES = (2048, 4096, 8192)  # of matrices
PEAKS = {}  # precision: operations per second of the best product
THROUGHPUT = pathlib.Path(__file__).with_name('throughput.py')


def steps(setting):
    """What the engine does comes first: the time may not suffice for the other variants."""
    for precision in setting.precisions:
        yield f'{precision}: best product', functools.partial(multiply, precision=precision)
    cases = list(cases_of(setting))
    usual = [case for case in cases if case[1] in (1, USUAL_CHUNK) and case[2] == USUAL]
    yield from map(measured, usual)
    for precision in setting.precisions:
        yield f'{precision}: with decoding', functools.partial(decode, precision=precision)
    yield from (measured(case) for case in cases if case not in usual)


def cases_of(setting):
    """(precision, chunk, variant) of all that is measured, small chunks first, compiled last.

    Not every variant in every chunk: cuDNN tries its kernels anew for each, which takes time.
    """
    chunks = (1,) if setting.tiny else CHUNKS
    variants = [
        name
        for name, (_, _, graphs, compiled) in VARIANTS.items()
        if not (graphs and setting.kind == 'cpu') and not (compiled and setting.tiny)
    ]
    found = list(itertools.product(setting.precisions, chunks, variants))
    found = [case for case in found if case[1] in (1, USUAL_CHUNK) or case[2] in IN_EVERY_CHUNK]
    return sorted(found, key=lambda case: (VARIANTS[case[2]][3], case[1]))


def measured(case):
    precision, chunk, variant = case
    step = functools.partial(measure, precision=precision, chunk=chunk, variant=variant)
    return f'{precision}, {chunk} clips, {variant}', step


def rate(setting, work):
    """Calls of `work` per second, after two that are not counted."""
    for _ in range(2):
        work()
    setting.wait()
    calls, began = 0, time.perf_counter()
    while calls < LEAST or time.perf_counter() - began < SECONDS:
        work()
        calls += 1
        setting.wait()
    return calls / (time.perf_counter() - began)


def tf32_allowed(precision):
    """A context in which convolutions and products round as the precision says."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = precision == 'tf32'
    return torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=precision == 'tf32')


def multiply(setting, *, precision):
    import torch

    from r2plus1d.backends.pytorch.device import DTYPES

    best = 0.0
    with tf32_allowed(precision):
        for size in (256,) if setting.tiny else SIZES:
            a, b = (
                torch.randn(size, size, device=setting.device).to(DTYPES[precision]) for _ in 'ab'
            )
            best = max(best, 2 * size**3 * rate(setting, lambda a=a, b=b: a @ b))
    PEAKS[precision] = best
    return {'tflops': round(best / 1e12, 2)}


def measure(setting, *, precision, chunk, variant):
    """The network alone, its clips on the device already."""
    import torch

    from r2plus1d.backends.pytorch.device import DTYPES
    from r2plus1d.backends.pytorch.graphs import GraphRunner
    from r2plus1d.backends.pytorch.module import PlanModule

    as_images, channels, with_graphs, is_compiled = VARIANTS[variant]
    network = setting.network()
    plan, values = plan_of(network, parameters_of(network), OUTPUTS)
    dtype = DTYPES[precision]
    module = PlanModule(plan, values, dtype, channels=channels, as_images=as_images)
    run = module.to(setting.device)
    if is_compiled:
        run = torch.compile(run)
    clips = normalize(clips_of(network, min(chunk, 8)), RGB_MEAN, RGB_STD)
    data = torch.from_numpy(np.resize(clips, (chunk, *network.data_shape))).to(
        setting.device, dtype
    )
    data = data.contiguous(memory_format=torch.channels_last_3d)
    if with_graphs:
        run = GraphRunner(run)
    with torch.inference_mode(), tf32_allowed(precision):
        clips_per_second = chunk * rate(setting, lambda: run(data))
    operations = 2 * cost.totals(network)[0] * clips_per_second
    share = operations / PEAKS[precision] if precision in PEAKS else None
    return {
        'clips_per_second': round(clips_per_second, 2),
        'tflops': round(operations / 1e12, 3),
        'share_of_product': share and round(share, 3),
    }


def decode(setting, *, precision):
    """What benchmarks/throughput.py measures: generated videos, decoded and scored."""
    if setting.tiny:
        return {'skipped': 'takes more than a tiny time'}
    command = [sys.executable, str(THROUGHPUT), f'--engines=torch:{precision}', '--repeats=1']
    if setting.kind == 'gpu':
        command.append('--gpus=0')
        command.append('--videos=32')
    # In a session of its own, for it has processes, which would go on without it.
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            printed, said = process.communicate(timeout=LONGEST)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return {'ok': False, 'error': f'not done in {LONGEST} seconds'}
    if process.returncode:
        return {'ok': False, 'error': (said.strip().splitlines() or ['no message'])[-1]}
    return {'table': [line for line in printed.splitlines() if line.startswith('|')]}
