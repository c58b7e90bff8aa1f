"""The stage `training` of gpu_acceptance.py: the steps of a CPU, and clips per second."""

import functools
import time

import numpy as np
from gpu_steps import LABELS, SMALL_WIDTH, clips_of

from r2plus1d.backends.base import TrainerSettings
from r2plus1d.backends.choose import open_trainer
from r2plus1d.backends.table import TRAINING_PRECISIONS
from r2plus1d.devices import Devices
from r2plus1d.networks.input import RGB_MEAN, RGB_STD, normalize

STEPS, RATE = 3, 0.001
ALLOWED = {'fp32': 1e-2, 'tf32': 5e-2, 'bf16': 2e-1}  # of what STEPS change, and of the losses
BATCHES = (8, 16, 32)


def steps(setting):
    there = [p for p in setting.precisions if p in TRAINING_PRECISIONS]
    for precision in there:
        yield f'{precision}: steps of a CPU', functools.partial(compare, precision=precision)
    for precision in there:
        for batch in (2,) if setting.tiny else BATCHES:
            step = functools.partial(measure, precision=precision, batch=batch)
            yield f'{precision}, batch of {batch}', step


def batch_of(network, count):
    data = normalize(clips_of(network, count), RGB_MEAN, RGB_STD)
    return data, np.arange(count, dtype=np.int32) % LABELS


def opened(network, devices, precision):
    settings = TrainerSettings(trainer='torch', precision=precision)
    return open_trainer(network, devices=devices, settings=settings)


def compare(setting, *, precision):
    """How far it goes apart from what a CPU does in fp32, as a share of the way.

    Running statistics go much farther than weights: each are measured by themselves.
    """
    network = setting.network(width=SMALL_WIDTH)
    data, label = batch_of(network, 2 if setting.tiny else 8)
    ends, losses = [], []
    for devices, how in ((Devices(), 'fp32'), (setting.devices, precision)):
        with opened(network, devices, how) as trainer:
            begin = trainer.state()
            losses.append(np.array([trainer.step(data, label, RATE)[0] for _ in range(STEPS)]))
            end = trainer.state().parameters
        ends.append({name: end[name] - begin.parameters[name] for name in end})
    trained = begin.momenta
    found = {
        'weights': apart(*([v for n, v in end.items() if n in trained] for end in ends)),
        'statistics': apart(*([v for n, v in end.items() if n not in trained] for end in ends)),
        'losses': apart(*([loss] for loss in losses)),
    }
    return {'ok': max(found.values()) < ALLOWED[precision], **found}


def apart(expected, found):
    """Distance of two lists of arrays, relative to the length of the first; NaN is infinite."""
    first, second = (np.concatenate([a.ravel() for a in each]) for each in (expected, found))
    relative = np.linalg.norm(second - first) / np.linalg.norm(first)
    return float(np.nan_to_num(relative, nan=np.inf))


def measure(setting, *, precision, batch):
    network = setting.network()
    data, label = batch_of(network, batch)
    with opened(network, setting.devices, precision) as trainer:
        for _ in range(1 if setting.tiny else 3):
            trainer.step(data, label, RATE)
        count, began = (1 if setting.tiny else 10), time.perf_counter()
        for _ in range(count):
            trainer.step(data, label, RATE)
        seconds = time.perf_counter() - began
    return {'clips_per_second': round(count * batch / seconds, 2)}
