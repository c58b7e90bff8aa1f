"""One measurement of throughput.py, in a process of its own: what test_net.py does, or a part."""

import json
import pathlib
import re
import subprocess
import sys
import time

from machine import INT8, cpu_seconds
from throughput_settings import clip_settings

from r2plus1d.cli import from_flags
from r2plus1d.cli.main import BAD_USAGE, FAILED
from r2plus1d.errors import InputError
from r2plus1d.inference.prediction import predict
from r2plus1d.inference.streaming import run_each
from r2plus1d.networks import cost
from r2plus1d.networks.initial import random_parameters
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.video.clip import normalize

PROGRAM = pathlib.Path(__file__).with_name('throughput.py')
SEED = 0
WARM_UP = 3  # runs: the engine torch times kernels in the first, and captures a graph in the second
CALIBRATION_CLIPS = 8  # at least; with random weights it does not matter which


def in_process(step, what, database, *flags):
    """What `measure` gives in a process of its own.

    Raises:
        InputError: it failed.
    """
    command = [
        sys.executable, str(PROGRAM), *step.argv, f'--test_data={database}', *flags,
        f'--measure={what}',
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        *others, last = done.stderr.strip().splitlines() or [f'status {done.returncode}']
        if done.returncode not in (FAILED, BAD_USAGE) or 'Traceback' in done.stderr:
            print(*others, sep='\n', file=sys.stderr)
        reason = last.removeprefix(f'{PROGRAM.name}: ')
        raise InputError(f'{step.name}, {what} {" ".join(flags)}: {reason}')
    return json.loads(done.stdout)


def measure(args):
    """Do one thing once, after a clip to warm up, and time it; return figures, or {}."""
    with open_reader(args) as reader:
        if args.measure == 'quantize':
            return quantize(args, reader)
        first = next(samples(reader))
        if args.measure == 'decode':
            return figures(args, reader, lambda: sum(1 for _ in samples(reader)))
        network, is_int8 = from_flags.network(args), args.precision == INT8
        with from_flags.engine(args, network, [network.prediction], from_onnx=is_int8) as engine:
            engine.load(load_weights(args, network))
            for _ in range(WARM_UP):
                engine.run(first.clips.pixels[:1])
            if args.measure == 'both':
                stream = predict(reader, engine, batch_size=args.batch_size)
                return figures(args, reader, lambda: sum(require(sample) for sample, _ in stream))
            pixels = [sample.clips.pixels for sample in samples(reader)]
            return figures(args, reader, lambda: sum(1 for _ in run_each(engine, pixels)))


def figures(args, reader, work):
    began, cpu = time.perf_counter(), cpu_seconds()
    work()
    seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    rows, network = reader.settings.rows, from_flags.network(args)
    per_video = f'dense clips at {args.stride} frames' if args.dense else f'{rows} clips per video'
    return {
        'what': f'{network.name}, {per_video}, {args.num_decode_threads} threads decode',
        'seconds': seconds,
        'cpu': cpu,
        'clips': len(reader) * rows,
        'videos': args.videos,
        'operations': 2 * cost.totals(network)[0],
        'peak': peak_memory(),
    }


def samples(reader):
    return (sample for sample in reader if require(sample))


def require(sample):
    if sample.failure is not None:
        raise InputError(f'{sample.name}: {sample.failure}')
    return True


def open_reader(args):
    if not args.dense:
        return from_flags.open_reader(args, args.batch_size)
    args.use_local_file = True
    return DatabaseSource(
        args.test_data,
        clip_settings(args),
        from_flags.record_needs(args),
        by_video=True,
        threads=args.num_decode_threads,
        ahead=args.batch_size,
    )


def load_weights(args, network):
    """What an engine's `load` takes: random parameters, or an int8 network made from them."""
    if args.load_model_path is None:
        return random_parameters(network, SEED)
    from r2plus1d.weights import onnx_file

    return onnx_file.read(args.load_model_path)


def quantize(args, reader):
    """Write the int8 network to load_model_path: not a thing to time, so it is made once."""
    from r2plus1d.backends.openvino import quantize
    from r2plus1d.weights import onnx_file

    network, clips = from_flags.network(args), []
    for sample in samples(reader):
        clips += [normalize(sample.clips.pixels, reader.settings)]
        if sum(map(len, clips)) >= CALIBRATION_CLIPS:
            break
    parameters = random_parameters(network, SEED)
    model = quantize.quantize(network, parameters, clips, [network.prediction])
    onnx_file.save(model, args.load_model_path)
    return {}


def peak_memory():
    """Peak resident bytes of this process; ru_maxrss would count its parent's, too."""
    found = re.search(r'VmHWM:\s*(\d+) kB', pathlib.Path('/proc/self/status').read_text())
    return int(found.group(1)) * 1024
