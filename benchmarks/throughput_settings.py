"""What throughput.py compares: engines, and values of flags; all is checked before it begins."""

import argparse
import dataclasses
import importlib.util
import os
import pathlib
from typing import NamedTuple, Optional

from machine import INT8

from r2plus1d.backends.choose import require
from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.errors import InputError

DESCRIPTION = 'Videos per second: decoding alone, the network alone, and both, by each engine.'
BENCHMARK = {
    'engines': (str, 'caffe2,openvino,openvino:bf16', 'engines to compare, with a precision'),
    'videos': (flag_types.integer(1), 4, 'how many are generated'),
    'dense': (flag_types.bit, False, '1: clips at --stride, each video decoded once'),
    'stride': (flag_types.integer(1), 8, 'of dense clips, in frames'),
    'repeats': (flag_types.integer(1), 3, 'rounds'),
    'vary': (str, None, 'NAME=V,V,V;NAME=V,V: measure also at each value of each flag; or growth'),
    'vary_engines': (str, None, 'engines to vary flags with; all of --engines when left out'),
    'plot': (pathlib.Path, None, 'PNG of clips per second, with a panel for each flag that varies'),
    'measure': (str, None, 'used by this program itself: decode, network, both or quantize'),
    'load_model_path': (pathlib.Path, None, 'used by this program itself: an int8 network'),
}
GROUPS = (
    BENCHMARK, flags.DATABASE, flags.NETWORK, flags.CLIPS, flags.ENGINE, flags.DEVICES,
)  # fmt: skip
DEFAULTS = {
    'num_labels': 400, 'clip_length_rgb': 8, 'clip_per_video': 10, 'test_data': None,
    'batch_size': 4,
}  # fmt: skip
# What the program decides for every measurement.
OWN = ('test_data', 'use_local_file', 'get_video_id', 'load_model_path', 'engine', 'precision')
VARIABLE = {name for group in GROUPS[1:] for name in group} - {*OWN}
GROWTH = (
    'clip_per_video=1,2,5,10,20;clip_length_rgb=8,16,32;model_depth=10,18,26,34;'
    'num_decode_threads=1,2,4;engine_threads='
)


class Spec(NamedTuple):
    """An engine and what it computes in."""

    engine: str
    precision: str = 'fp32'

    def __str__(self):
        return f'{self.engine}, {self.precision}'

    def flags(self, model: Optional[pathlib.Path] = None) -> 'list[str]':
        """Flags of a measurement; `model` is the path of the int8 network."""
        flags = [f'--engine={self.engine}', f'--precision={self.precision}']
        return flags + ([f'--load_model_path={model}'] if model else [])


@dataclasses.dataclass(frozen=True)
class Step:
    """What is measured in the same rounds.

    Attributes:
        args: parsed options.
        argv: the words that they were parsed from.
        specs: engines that take turns.
        flag, value: what differs from the command line, as text; None if nothing does.
        is_base: whether `value` is what the command line has anyway.
    """

    args: argparse.Namespace
    argv: 'tuple[str, ...]'
    specs: 'tuple[Spec, ...]'
    flag: Optional[str] = None
    value: Optional[str] = None
    is_base: bool = False

    @property
    def name(self) -> str:
        return 'nothing varied' if self.flag is None else f'{self.flag}={self.value}'


def parse(argv=None):
    """Parse words of the command line; None takes the process's own."""
    return command_line.parse(DESCRIPTION, *GROUPS, argv=argv, **DEFAULTS)


def plan(args, argv):
    """The Steps that a command line asks for; the first one varies nothing.

    Raises:
        InputError: flags that contradict each other, an engine, network or value that cannot be.
    """
    _require_flags(args)
    if from_flags.devices(args).kind == 'cpu':
        require('openvino')  # it makes the best matrix product
    specs = _specs('engines', args.engines)
    chosen = _specs('vary_engines', args.vary_engines) if args.vary_engines else specs
    for spec in chosen:
        if spec not in specs:
            raise InputError(f'vary_engines has {spec}, which engines has not')
    steps = [Step(args, tuple(argv), specs)]
    for flag, values in variations(args).items():
        for value in values:
            words = (*argv, f'--{flag}={value}')
            varied = parse(words)
            is_base = getattr(varied, flag) == getattr(args, flag)
            steps.append(Step(varied, words, chosen, flag, value, is_base))
    for step in steps:
        _require_runnable(step)
    return steps


def variations(args):
    """{flag: [texts of its values]} that --vary asks for."""
    text = args.vary or ''
    if text == 'growth':
        cores = len(os.sched_getaffinity(0))
        text = GROWTH + ','.join(str(2**i) for i in range(cores.bit_length()))
    found = {}
    for part in filter(None, map(str.strip, text.split(';'))):
        flag, _, values = part.partition('=')
        found[flag] = [value.strip() for value in values.split(',')]
        if flag not in VARIABLE or not all(found[flag]):
            raise InputError(
                f'vary has {part!r}; NAME=V,V,V of a flag of the clips, the network or its engine, '
                'such as clip_per_video=1,10, more of them behind a ";", or growth'
            )
    return found


def clip_settings(args):
    """The ClipSettings that are measured."""
    if not args.dense:
        return from_flags.clip_settings(args)
    return from_flags.clip_settings(args, decode_type='start', clips=1)


def _require_runnable(step):
    """Open each engine once, without weights."""
    clip_settings(step.args)
    for spec in step.specs:
        args = parse([*step.argv, *spec.flags()])
        network, is_int8 = from_flags.network(args), spec.precision == INT8
        try:
            if is_int8:
                _require_quantizer(spec)
            with from_flags.engine(args, network, [network.prediction], from_onnx=is_int8):
                pass
        except InputError as error:
            raise InputError(f'{spec}, {step.name}: {error}') from None


def _require_quantizer(spec):
    from r2plus1d.backends.openvino import quantize

    if spec.engine != 'openvino':
        raise InputError('int8 is measured with the engine openvino only')
    quantize.require()


def _require_flags(args):
    for name in OWN:
        if name in args.given:
            raise InputError(f'{name} is not for this program; engines=openvino:bf16 names engines')
    if args.dense and ({'clip_per_video', 'decode_type'} & args.given or args.vary):
        raise InputError('dense=1 takes neither clip_per_video nor decode_type nor vary')
    if 'stride' in args.given and not args.dense:
        raise InputError('stride is of dense clips: --dense=1')
    if args.vary_engines and not args.vary:
        raise InputError('vary_engines is for --vary')
    if args.plot and not args.vary:
        raise InputError('plot shows what varies: --vary')
    if args.plot and not args.plot.absolute().parent.is_dir():
        raise InputError(f'plot is {args.plot}; its folder does not exist')
    if args.plot and importlib.util.find_spec('matplotlib') is None:
        raise InputError('plot needs matplotlib: pip install matplotlib')


def _specs(name, text):
    """The Specs in openvino,openvino:bf16."""
    specs = []
    for part in text.split(','):
        engine, _, precision = part.strip().partition(':')
        known = {'engine': engine, 'precision': precision or 'fp32'}
        for option, value in known.items():
            kind, _, _ = flags.ENGINE[option]
            if value not in kind.shown.split(', '):
                raise InputError(
                    f'{name} has {part!r}; {option}s: {kind.shown}; such as openvino:bf16'
                )
        specs.append(Spec(**known))
    return tuple(dict.fromkeys(specs))
