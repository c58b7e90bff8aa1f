"""The stage `correctness` of gpu_acceptance.py: are the rows right, however they are computed?"""

import functools
import os
import signal

import numpy as np
from gpu_steps import SMALL_WIDTH, clips_of, distance, parameters_of

from r2plus1d.backends.base import EngineSettings
from r2plus1d.backends.pytorch.engine import TorchEngine
from r2plus1d.devices import Devices
from r2plus1d.errors import BackendError
from r2plus1d.networks.input import RGB_MEAN, RGB_STD, normalize
from r2plus1d.weights.onnx_model import plan_of

OUTPUTS = ('softmax', 'final_avg')
NETWORKS = (('r2plus1d', 18), ('r2plus1d', 34), ('r3d', 18), ('mc3', 18), ('ir-csn', 50))
FULL_WIDTH = (('r2plus1d', 18), ('ir-csn', 50))  # float64 on a CPU takes long
ALLOWED = {'fp32': 1e-4, 'tf32': 1e-2, 'fp16': 1e-2, 'bf16': 5e-2}  # against float64
AGAIN = {'fp32': 1e-5, 'tf32': 1e-3, 'fp16': 1e-3, 'bf16': 1e-2}  # the same clip in another place
CLIPS = 3
CHUNKS = 7  # more than are under way at once


def steps(setting):
    for precision in setting.precisions:
        yield f'{precision}: order and chunks', functools.partial(reorder, precision=precision)
        yield f'{precision}: chunks under way', functools.partial(stream, precision=precision)
        yield f'{precision}: two runs', functools.partial(repeat, precision=precision)
    yield 'memory that does not suffice', exhaust
    yield 'a process that is killed', kill
    networks = [(*network, SMALL_WIDTH) for network in NETWORKS]
    networks += [(*network, 1.0) for network in FULL_WIDTH]
    for name in [('r2plus1d', 10, SMALL_WIDTH)] if setting.tiny else networks:
        for precision in setting.precisions:
            step = functools.partial(compare, name=name, precision=precision)
            architecture, depth, width = name
            yield f'{architecture}-{depth}, width {width}, {precision}: against float64', step


def opened(setting, network, precision, *, devices=None, deterministic=False):
    engine = TorchEngine(
        network,
        devices=devices or setting.devices,
        outputs=OUTPUTS,
        settings=EngineSettings('torch', precision, deterministic=deterministic),
    )
    engine.load(parameters_of(network))
    return engine


@functools.lru_cache(maxsize=1)  # the precisions of a network follow each other
def in_float64(network, count):
    """{output: rows}, convolutions and sums in float64 on the CPU, the last layer in float32."""
    import torch

    from r2plus1d.backends.pytorch.module import PlanModule

    clips = normalize(clips_of(network, count), RGB_MEAN, RGB_STD)
    module = PlanModule(*plan_of(network, parameters_of(network), OUTPUTS), torch.float64)
    with torch.inference_mode():
        found = [module(torch.from_numpy(clip[None]).double()) for clip in clips]
    return {name: np.concatenate([rows[name].numpy() for rows in found]) for name in OUTPUTS}


def compare(setting, *, name, precision):
    network = setting.network(*name)
    with opened(setting, network, precision) as engine:
        found = engine.run(clips_of(network, CLIPS))
    distances = {n: distance(found[n], in_float64(network, CLIPS)[n]) for n in OUTPUTS}
    return {'ok': max(distances.values()) < ALLOWED[precision], **distances}


def reorder(setting, *, precision):
    """Clips in another order, one by one, and as a stream of uneven batches."""
    network = setting.network()
    clips = clips_of(network, 7)
    ways = {'backwards': [[*range(7)][::-1]], 'alone': [[i] for i in range(7)]}
    ways['uneven'] = [[0, 1, 2], [3], [4, 5, 6]]
    found = {}
    with opened(setting, network, precision) as engine:
        expected = engine.run(clips)['final_avg']
        for way, batches in ways.items():
            rows = [r['final_avg'] for r in engine.run_each(clips[batch] for batch in batches)]
            order = np.argsort([i for batch in batches for i in batch])
            rows = np.concatenate(rows)[order]
            found[way] = distance(rows, expected)
            found[f'{way}, same bits'] = bool((rows == expected).all())
    return {'ok': max(found[way] for way in ways) < AGAIN[precision], **found}


def stream(setting, *, precision):
    """Several chunks on their way at once, against one at a time, after a first and a second load.

    With --deterministic=1, PyTorch fills new memory, which must come before the clips do.
    """
    from r2plus1d.backends.pytorch.device import clips_a_run

    network, found = setting.network(), {}
    chunk = clips_a_run(network, setting.kind)
    uint8 = clips_of(network, CHUNKS * chunk + 1)
    clips = {'uint8': uint8, 'float32': normalize(uint8, RGB_MEAN, RGB_STD)}
    for deterministic in (False, True) if setting.kind == 'gpu' else (False,):
        with opened(setting, network, precision, deterministic=deterministic) as engine:
            parts = [slice(i, i + chunk) for i in range(0, len(uint8), chunk)]
            alone = np.concatenate([engine.run(uint8[part])['final_avg'] for part in parts])
            for load in (1, 2):
                engine.load(parameters_of(network))
                for kind, array in clips.items():
                    rows = engine.run(array)['final_avg']
                    way = f'{kind}, load {load}' + (', deterministic' if deterministic else '')
                    found[way] = distance(rows, alone)
    return {'ok': max(found.values()) < AGAIN[precision], **found}


def repeat(setting, *, precision):
    """On a GPU only --deterministic=1 promises the same bits."""
    network, rows = setting.network(), []
    for _ in range(2):
        on_gpu = setting.kind == 'gpu'
        with opened(setting, network, precision, deterministic=on_gpu) as engine:
            rows.append(engine.run(clips_of(network, CLIPS))['final_avg'])
    return {'ok': bool((rows[0] == rows[1]).all()), 'distance': distance(*rows)}


def exhaust(setting):
    if setting.kind == 'cpu':
        return {'skipped': 'for GPUs'}
    import torch

    from r2plus1d.backends.pytorch.gpu import GpuDevice

    network = setting.network()
    total = torch.cuda.mem_get_info(0)[1]
    torch.cuda.set_per_process_memory_fraction(2**29 / total, 0)
    try:
        device = GpuDevice(setting.device, precision='fp32', clips=256)
        device.load(*plan_of(network, parameters_of(network), OUTPUTS))
        device.submit([clips_of(network, 255)])
        device.collect()
    except BackendError as error:
        return {'ok': 'too little free memory' in str(error), 'message': str(error)}
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
        torch.cuda.empty_cache()
    return {'ok': False, 'message': '256 clips fit into 0.5 GiB'}


def kill(setting):
    network = setting.network(width=SMALL_WIDTH)
    devices = setting.devices if setting.kind == 'gpu' else Devices('cpu', (0, 1))
    with opened(setting, network, 'fp32', devices=devices) as engine:
        os.kill(engine.processes[0], signal.SIGKILL)
        try:
            engine.run(clips_of(network, CLIPS))
        except BackendError as error:
            return {'ok': 'ended with status -9' in str(error), 'message': str(error)}
    return {'ok': False, 'message': 'nobody noticed'}
