"""Videos a second: decoding alone, the network alone, and both together, by each engine.

    .venv/bin/python benchmarks/throughput.py   # 8 minutes on two cores
    .venv/bin/python benchmarks/throughput.py --engines=openvino,openvino:bf16   # without Caffe2: 2
    .venv/bin/python benchmarks/throughput.py --engines=openvino \\
        --vary='clip_length_rgb=8,16,32;model_depth=18,34' --plot=growth.png
    .venv/bin/python benchmarks/throughput.py --vary=growth --plot=growth.png \\
        --engines=caffe2,openvino,openvino:bf16,openvino:int8 \\
        --vary_engines=openvino,openvino:bf16,openvino:int8   # an hour
    .venv/bin/python benchmarks/throughput.py --dense=1 --model_depth=34 --clip_length_rgb=32 \\
        --engines=openvino --videos=2

The videos are generated, 10 s of 340 x 256 H.264 at 30 frames a second, or those of --clips_of
that give clips. Every measurement is a process of its own; in each round all engines take turns,
and figures are medians over the rounds. First nothing is varied; then one flag after the other is,
the others as on the command line. The network's share is of the best matrix product that this
machine, all of it, was seen to make in the same precision, in the same run.

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
from machine_peak import INT8, gpu_product, kernel, matrix_product, unit
from pipeline import machine
from throughput_measure import in_process, measure
from throughput_plot import plot
from throughput_settings import parse, plan
from throughput_videos import Videos

from r2plus1d.backends.installed import has
from r2plus1d.cli import from_flags
from r2plus1d.cli.main import run

log = logging.getLogger(__name__)


def main():
    args = parse()
    if args.measure:
        print(json.dumps(measure(args)))
    else:
        report(args)


def report(args):
    steps = plan(args, sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        videos = Videos(args, steps, pathlib.Path(folder))
        peaks = best_products(args, steps[0].specs)
        is_cpu = from_flags.devices(args).kind == 'cpu'
        print(machine())
        for precision, operations in peaks.items():
            rate = f'{operations / 1e9:.0f} {unit(precision)}'
            how = f'OpenVINO: {kernel(precision)}' if is_cpu else 'PyTorch'
            print(f'best matrix product in {precision}: {rate} ({how})')
        bench = Bench(args.repeats, videos, peaks, pathlib.Path(folder))
        for flag, of_flag in itertools.groupby(steps, key=lambda step: step.flag):
            of_flag = list(of_flag)
            for step in of_flag:
                bench.run(step)
                if args.output:
                    write(args.output, bench)
            show(flag, of_flag, bench)
    print(*tables.footnotes(bench.rows), sep='\n')
    if args.plot:
        plot(args.plot, f'{bench.what}\n{machine()}', bench.rows)


def best_products(args, specs):
    """{precision: operations a second} of the CPU, or of all GPUs that take part."""
    devices = from_flags.devices(args)
    log.info('products of matrices')
    if devices.kind == 'cpu':
        return {spec.precision: matrix_product(spec.precision) for spec in specs}
    if not has('torch'):
        return {}  # Caffe2 alone serves no GPU of today
    return {spec.precision: len(devices.ids) * gpu_product(spec.precision) for spec in specs}


class Bench:
    """Measures Steps and keeps the rows of their tables.

    Args:
        repeats: rounds.
        videos: throughput_videos.Videos.
        peaks: {precision: operations a second of the best matrix product}.
        folder: where int8 networks are put.

    Attributes:
        rows: those of every Step so far, as throughput_tables makes them, with `flag` and `value`.
        what: the network, clips and threads of the first Step.
    """

    def __init__(self, repeats, videos, peaks, folder):
        self._repeats, self._videos, self.peaks, self._folder = repeats, videos, peaks, folder
        self._int8 = {}
        self.rows, self.what = [], None

    def run(self, step):
        """Add the rows of a Step: those of the first one if it is the same, or measured ones."""
        rows = self._base_rows(step) if step.is_base else self._measured(step)
        self.rows += [{**row, 'flag': step.flag, 'value': step.value} for row in rows]

    def _base_rows(self, step):
        wanted = {tables.DECODING, *map(str, step.specs)}
        return [row for row in self.rows if row['flag'] is None and row['engine'] in wanted]

    def _measured(self, step):
        database = self._videos.database(step.args)
        models = {s: self._model(step, database) for s in step.specs if s.precision == INT8}
        rounds = []
        for number in range(1, self._repeats + 1):
            log.info('%s: round %d of %d', step.name, number, self._repeats)
            rounds.append(
                {
                    (spec, what): in_process(step, what, database, *spec.flags(models.get(spec)))
                    for spec in step.specs
                    for what in ('network', 'both')
                }
            )
            rounds[-1]['decode'] = in_process(step, 'decode', database)
        self.what = self.what or rounds[0]['decode']['what']
        return [tables.decoding_row([r['decode'] for r in rounds])] + [
            tables.engine_row(
                spec,
                [r[spec, 'network'] for r in rounds],
                [r[spec, 'both'] for r in rounds],
                self.peaks.get(spec.precision),
            )
            for spec in step.specs
        ]

    def _model(self, step, database):
        """The path of the Step's network in int8; the same network is quantized once."""
        network = from_flags.network(step.args)
        if network not in self._int8:
            log.info('%s: int8 network', step.name)
            path = self._folder / f'{len(self._int8)}.onnx'
            in_process(step, 'quantize', database, f'--load_model_path={path}')
            self._int8[network] = path
        return self._int8[network]


def show(flag, steps, bench):
    """Print the table of the steps that vary one flag, or of the one that varies none."""
    rows = [row for row in bench.rows if row['flag'] == flag]
    if flag is None:
        print(f'\n{bench.what}:\n\n{tables.base_table(rows)}\n', flush=True)
        return
    print(f'With --{flag} varied:\n\n{tables.growth_table(flag, rows)}\n', flush=True)
    for step in steps:
        for spec, reason in step.left_out.items():
            print(f'{spec} is left out at {step.name}: {reason}\n', flush=True)


def write(path, bench):
    """Write all figures so far as JSON, complete or not at all."""
    partial = path.with_name(f'{path.name}.partial')
    found = {'machine': machine(), 'best_matrix_products': bench.peaks, 'rows': bench.rows}
    partial.write_text(json.dumps(found, indent=1) + '\n')
    partial.replace(path)


if __name__ == '__main__':
    run(main)
