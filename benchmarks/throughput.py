"""Videos a second: decoding alone, the network alone, and both together, by each engine.

    .venv/bin/python benchmarks/throughput.py   # 20 minutes on two cores
    .venv/bin/python benchmarks/throughput.py --engines=openvino,openvino:bf16   # without Caffe2: 2
    .venv/bin/python benchmarks/throughput.py --engines=openvino --vary=clip_length_rgb=8,16,32
    .venv/bin/python benchmarks/throughput.py --dense=1 --model_depth=34 --clip_length_rgb=32 \\
        --engines=openvino --videos=2

The videos are generated, 10 s of 340 x 256 H.264 at 30 frames a second, or those of --clips_of.
Every measurement is a process of its own; in each round all engines take turns, and figures are
medians over the rounds. The network's share is of the best matrix product that this machine was
seen to make in the same precision, in the same run.
"""

import json
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
from pipeline import machine

from r2plus1d import cli, from_options, options
from r2plus1d.errors import InputError
from r2plus1d.evaluation.predict import predict
from r2plus1d.models import summary, weights
from r2plus1d.video import synthetic
from r2plus1d.video.database_writer import DatabaseWriter
from r2plus1d.video.dense_list import clip_starts
from r2plus1d.video.encode import write_video
from r2plus1d.video.grouped_reader import GroupedReader
from r2plus1d.video.record import Record

SECONDS, FPS, SIZE = 10, 30, (340, 256)
MATRIX = 2048
BENCHMARK = {
    'engines': (str, 'caffe2,openvino,openvino:bf16', 'engines to compare, with a precision'),
    'videos': (options.integer(1), 4, 'how many are generated'),
    'clips_of': (pathlib.Path, None, 'folder of videos to take instead'),
    'dense': (options.bit, False, '1: clips at --stride, each video decoded once, not spread ones'),
    'stride': (options.integer(1), 8, 'of dense clips, in frames'),
    'repeats': (options.integer(1), 3, 'rounds'),
    'vary': (str, None, 'NAME=V,V,V: measure at each value of a flag, such as clip_per_video=1,10'),
    'plot': (pathlib.Path, None, 'PNG of clips a second over what --vary names'),
    'output': (pathlib.Path, None, 'JSON of all figures'),
    'measure': (str, None, 'used by this program itself: decode, network or both'),
}
GROUPS = (
    BENCHMARK, options.DATABASE, options.NETWORK, options.CLIPS, options.ENGINE, options.DEVICES,
)  # fmt: skip
DEFAULTS = {'num_labels': 400, 'clip_length_rgb': 8, 'test_data': None, 'batch_size': 4}
COLUMNS = ('videos/s', 'clips/s', 'network/s', 'of it', 'CPU-s', 'MB', 'GFLOP/s', 'share')


def main():
    args = options.parse(__doc__.splitlines()[0], *GROUPS, **DEFAULTS)
    if args.dense and args.clips_of:
        raise InputError('clips_of gives whole videos; dense=1 is of those that are generated')
    if args.measure:
        print(json.dumps(measure(args)))
    else:
        report(args)


def report(args):
    print(machine())
    engines = [tuple((name + ':fp32').split(':')[:2]) for name in args.engines.split(',')]
    peaks = {precision: matrix_product(precision) for precision in {e[1] for e in engines}}
    for precision, flops in peaks.items():
        print(f'best matrix product in {precision}: {flops / 1e9:.0f} GFLOP/s')
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        database = make_database(args, pathlib.Path(folder))
        for name, value in variations(args.vary):
            figures += compare(args, engines, database, peaks, name, value)
    if args.output:
        args.output.write_text(json.dumps(figures, indent=1) + '\n')
    if args.plot:
        plot(args.plot, args.vary, figures)


def variations(text):
    """[(flag, value)] of --vary; (None, None) alone without it."""
    if not text:
        return [(None, None)]
    name, _, values = text.partition('=')
    if not values:
        raise InputError(f'vary is {text}; NAME=V,V,V, such as clip_per_video=1,10')
    return [(name, value) for value in values.split(',')]


def make_database(args, folder):
    """An LMDB of the videos, or of the dense clips of each."""
    paths = sorted(args.clips_of.iterdir()) if args.clips_of else generate(folder, args.videos)
    records = [Record(path.read_bytes(), (0,)) for path in paths]
    if args.dense:
        required = from_options.clip_settings(args).required
        starts = clip_starts(num_frames=SECONDS * FPS, required=required, stride=args.stride)
        records = [
            Record(str(path).encode(), (0,), start, number)
            for start in starts
            for number, path in enumerate(paths)
        ]
    with DatabaseWriter(folder / 'lmdb', len(records)) as writer:
        for record in records:
            writer.add(record)
    return folder / 'lmdb'


def generate(folder, count):
    paths = []
    for number in range(count):
        label = synthetic.CLASSES[number % len(synthetic.CLASSES)]
        rng = np.random.default_rng(number)
        scene = synthetic.make_scene(label, rng, size=SIZE, num_frames=SECONDS * FPS)
        paths.append(folder / f'{number}.mp4')
        write_video(paths[-1], synthetic.render(scene), fps=FPS, options={'crf': 20})
    return paths


def compare(args, engines, database, peaks, name, value):
    """Print a table of all engines at one setting; return its figures as dicts."""
    rounds = []
    for _ in range(args.repeats):
        rounds.append({(e, w): child(database, e, w, name, value) for e in engines
                       for w in ('decode', 'network', 'both')})  # fmt: skip
    print(f'\n{rounds[0][engines[0], "both"]["what"]}')
    print(f'{"":<16}' + ''.join(f'{column:>10}' for column in COLUMNS))
    figures = [figures_of(rounds, engine, peaks) for engine in engines]
    for row in figures:
        row.update({'flag': name, 'value': value})
        print(f'{row["engine"]:<16}' + ''.join(f'{row[column]:>10.3g}' for column in COLUMNS))
    print(f'decoding alone {figures[0]["decoding/s"]:.3g} videos/s, '
          f'{figures[0]["decoding CPU-s"]:.3f} CPU-seconds a video')  # fmt: skip
    for row in figures[1:]:
        ratios = [r[engines[0], 'both']['seconds'] / r[tuple(row['key']), 'both']['seconds']
                  for r in rounds]  # fmt: skip
        row['ratio'] = statistics.median(ratios)
        print(f'{row["engine"]} / {figures[0]["engine"]}: {row["ratio"]:.2f} (videos/s)')
    return figures


def figures_of(rounds, engine, peaks):
    """The medians of one engine, by the names of COLUMNS."""

    def median(what, value):
        return statistics.median(value(r[engine, what]) for r in rounds)

    both, network = rounds[0][engine, 'both'], rounds[0][engine, 'network']
    of_it = [r[engine, 'network']['seconds'] / r[engine, 'both']['seconds'] for r in rounds]
    flops = median('network', lambda m: 2 * m['multiply_adds'] * m['clips'] / m['seconds'])
    return {
        'engine': ':'.join(engine), 'key': engine, 'what': both['what'],
        'videos/s': median('both', lambda m: m['videos'] / m['seconds']),
        'clips/s': median('both', lambda m: m['clips'] / m['seconds']),
        'network/s': median('network', lambda m: m['videos'] / m['seconds']),
        'of it': statistics.median(of_it),
        'CPU-s': median('both', lambda m: m['cpu'] / m['videos']),
        'MB': max(both['peak'], network['peak']) / 1e6,
        'GFLOP/s': flops / 1e9,
        'share': flops / peaks[engine[1]],
        'decoding/s': median('decode', lambda m: m['videos'] / m['seconds']),
        'decoding CPU-s': median('decode', lambda m: m['cpu'] / m['videos']),
    }  # fmt: skip


def child(database, engine, what, name, value):
    """What `measure` gives in a process of its own."""
    command = [
        sys.executable, __file__, *sys.argv[1:], f'--test_data={database}',
        f'--engine={engine[0]}', f'--precision={engine[1]}', f'--measure={what}',
    ]  # fmt: skip
    if name:
        command.append(f'--{name}={value}')
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f'{" ".join(command)}: {done.stderr.strip()}')
    return json.loads(done.stdout)


def measure(args):
    """Time one thing once, after a clip to warm up; what is measured is what test_net.py does."""
    network = from_options.network(args)
    with (
        open_reader(args) as reader,
        from_options.engine(args, network, [network.prediction]) as engine,
    ):
        samples = list(reader) if args.measure == 'network' else [next(iter(reader))]
        engine.load(weights.random_parameters(network, 0))
        engine.run(samples[0].clips.pixels[:1])
        work = {
            'decode': lambda: [sample.clips.starts for sample in reader],
            'network': lambda: [engine.run(sample.clips.pixels) for sample in samples],
            'both': lambda: sum(1 for _ in predict(reader, engine, batch_size=args.batch_size)),
        }[args.measure]
        began, cpu = time.perf_counter(), cpu_seconds()
        work()
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
        records, rows = len(reader), len(reader) * reader.settings.rows
    per_video = 'dense clips' if args.dense else f'{reader.settings.rows} clips a video'
    return {
        'what': f'{network.name}, {per_video}, {args.num_decode_threads} threads decode',
        'seconds': seconds, 'cpu': cpu, 'clips': rows,
        'videos': args.videos if args.dense else records,
        'multiply_adds': summary.totals(network)[0],
        'peak': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def open_reader(args):
    if not args.dense:
        return from_options.open_reader(args, args.batch_size)
    args.use_local_file = True
    clips = from_options.clip_settings(args, decode_type='start', clips=1)
    return DenseReader(args, clips)


class DenseReader(GroupedReader):
    """A GroupedReader that is gone through as a ClipReader is."""

    def __init__(self, args, clips):
        super().__init__(args.test_data, clips, from_options.record_needs(args))
        self._threads, self._batch = args.num_decode_threads, args.batch_size

    def __iter__(self):
        return self.samples(threads=self._threads, batch=self._batch)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def matrix_product(precision):
    """The most operations a second that a product of two large matrices reached here."""
    rates = [operations_a_second(product(precision)) for _ in range(3)]
    if precision == 'fp32':
        left, right = (np.ones((MATRIX, MATRIX), np.float32) for _ in range(2))
        rates.append(operations_a_second(lambda: left @ right))
    return max(rates)


def product(precision):
    """A function that multiplies two matrices through OpenVINO."""
    import openvino
    from openvino import opset13 as ops

    from r2plus1d.engines.openvino import HINTS

    left = ops.parameter([MATRIX, MATRIX], np.float32)
    right = ops.constant(np.ones((MATRIX, MATRIX), np.float32))
    model = openvino.Model([ops.matmul(left, right, False, True)], [left])
    hint = {'INFERENCE_PRECISION_HINT': HINTS[precision]}
    request = openvino.Core().compile_model(model, 'CPU', hint).create_infer_request()
    data = np.ones((MATRIX, MATRIX), np.float32)
    return lambda: request.infer([data], share_inputs=True)


def operations_a_second(multiply):
    multiply()
    best = min(timed(multiply) for _ in range(10))
    return 2 * MATRIX**3 / best


def timed(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def plot(path, vary, figures):
    """Draw clips a second over the values of --vary, a line an engine."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), constrained_layout=True)
    axis = figure.subplots()
    for engine in dict.fromkeys(row['engine'] for row in figures):
        rows = [row for row in figures if row['engine'] == engine]
        values = [str(row['value'] or '') for row in rows]
        axis.plot(values, [row['clips/s'] for row in rows], marker='o', label=engine)
    axis.set(ylabel='clips a second', xlabel=(vary or '').split('=')[0], yscale='log')
    axis.grid(alpha=0.3)
    axis.legend()
    figure.savefig(path, dpi=100, format='png')


if __name__ == '__main__':
    cli.run(main)
