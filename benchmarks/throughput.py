"""Videos per second: decoding alone, the network alone, and both together, by each engine.

    .venv/bin/python benchmarks/throughput.py --engines=openvino,openvino:bf16   # two minutes
    .venv/bin/python benchmarks/throughput.py --engines=openvino --vary='model_depth=18,34'

The videos are generated: 10 s of 340 x 256 H.264 at 30 frames per second. Every measurement is a
process of its own. In each round all engines take turns, and figures are medians over the rounds.
First nothing is varied; then one flag after the other is, the others as on the command line.
The network's share is of the best matrix product that this machine, all of it, was seen to make in
the same precision, in the same run.

Tables are Markdown, on stdout; progress is on stderr. int8 networks are made of random weights,
once for each network, by what requirements-int8.txt has.
"""

import itertools
import json
import logging
import pathlib
import sys
import tempfile

import throughput_tables as tables
import videos
from machine import INT8, description, kernel, matrix_product, unit
from throughput_measure import in_process, measure
from throughput_settings import clip_settings, parse, plan

from r2plus1d.cli import from_flags
from r2plus1d.cli.main import run
from r2plus1d.datasets.dense_list import clip_starts
from r2plus1d.errors import InputError

SECONDS, FPS, SIZE = 10, 30, (340, 256)
NUM_FRAMES = SECONDS * FPS

log = logging.getLogger(__name__)


def main():
    args = parse()
    if args.measure:
        print(json.dumps(measure(args)))
    else:
        report(args)


def report(args):
    steps = plan(args, sys.argv[1:])
    needed = max(clip_settings(step.args).required for step in steps)
    if needed > NUM_FRAMES:
        raise InputError(f'a clip needs {needed} frames; generated videos have {NUM_FRAMES}')
    print(description())
    peaks = best_products(args, steps[0].specs)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(args, pathlib.Path(folder), peaks)
        for flag, of_flag in itertools.groupby(steps, key=lambda step: step.flag):
            for step in of_flag:
                bench.run(step)
            rows = [row for row in bench.rows if row['flag'] == flag]
            title = f'{bench.what}:' if flag is None else f'With --{flag} varied:'
            print(f'\n{title}\n\n{tables.table(flag, rows)}', flush=True)
    print(f'\n{tables.FOOTNOTES}')
    if args.plot:
        tables.plot(args.plot, f'{bench.what}\n{description()}', bench.rows)


def best_products(args, specs):
    """{precision: operations per second} of the CPU; none of GPUs."""
    if from_flags.devices(args).kind != 'cpu':
        return {}
    log.info('products of matrices')
    peaks = {spec.precision: matrix_product(spec.precision) for spec in specs}
    for precision, operations in peaks.items():
        rate = f'{operations / 1e9:.0f} {unit(precision)}'
        print(f'best matrix product in {precision}: {rate} (OpenVINO: {kernel(precision)})')
    return peaks


class Bench:
    """Measures Steps and keeps the rows of their tables.

    Attributes:
        rows: those of every Step so far, as throughput_tables makes them, with `flag` and `value`.
        what: the network, clips and threads of the first Step.
    """

    def __init__(self, args, folder, peaks):
        self._repeats, self._folder, self._peaks, self._int8 = args.repeats, folder, peaks, {}
        self._database = make_database(args, folder)
        self.rows, self.what = [], None

    def run(self, step):
        """Add the rows of a Step: those of the first one if it is the same, or measured ones."""
        if step.is_base:
            wanted = {tables.DECODING, *map(str, step.specs)}
            rows = [r for r in self.rows if r['flag'] is None and r['engine'] in wanted]
        else:
            rows = self._measured(step)
        self.rows += [{**row, 'flag': step.flag, 'value': step.value} for row in rows]

    def _measured(self, step):
        models = {s: self._model(step) for s in step.specs if s.precision == INT8}
        found = {}
        for number in range(1, self._repeats + 1):
            log.info('%s: round %d of %d', step.name, number, self._repeats)
            for spec, what in itertools.product(step.specs, ('network', 'both')):
                done = in_process(step, what, self._database, *spec.flags(models.get(spec)))
                found.setdefault((spec, what), []).append(done)
            decoding = in_process(step, 'decode', self._database)
            found.setdefault('decode', []).append(decoding)
        self.what = self.what or decoding['what']
        first = found[step.specs[0], 'both']
        return [tables.decoding_row(found['decode'])] + [
            tables.engine_row(
                str(spec), found[spec, 'network'], found[spec, 'both'], first,
                self._peaks.get(spec.precision),
            )
            for spec in step.specs
        ]  # fmt: skip

    def _model(self, step):
        """The path of the Step's network in int8; the same network is quantized once."""
        network = from_flags.network(step.args)
        if network not in self._int8:
            log.info('%s: int8 network', step.name)
            path = self._folder / f'{len(self._int8)}.onnx'
            in_process(step, 'quantize', self._database, f'--load_model_path={path}')
            self._int8[network] = path
        return self._int8[network]


def make_database(args, folder):
    """The LMDB of generated videos, or of their dense clips; those of a video lie far apart."""
    paths = videos.write_videos(folder, args.videos, size=SIZE, num_frames=NUM_FRAMES, fps=FPS)
    if not args.dense:
        return videos.write_database(folder / 'lmdb', paths)
    required = clip_settings(args).required
    starts = clip_starts(num_frames=NUM_FRAMES, required=required, stride=args.stride)
    clips = [(path, start, i) for start in starts for i, path in enumerate(paths)]
    return videos.write_clip_database(folder / 'lmdb', clips)


if __name__ == '__main__':
    run(main)
