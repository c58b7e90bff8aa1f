"""What throughput.py compares: engines, and settings of flags; all is checked before it begins."""

import dataclasses
import importlib.util
import os
import pathlib
from typing import NamedTuple, Optional

from machine_peak import INT8

from r2plus1d.backends.choose import require
from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.errors import InputError

DESCRIPTION = 'Videos a second: decoding alone, the network alone, and both, by each engine.'
BENCHMARK = {
    'engines': (str, 'caffe2,openvino,openvino:bf16', 'engines to compare, with a precision'),
    'videos': (flag_types.integer(1), 4, 'how many are generated'),
    'clips_of': (pathlib.Path, None, 'folder of videos to take instead'),
    'dense': (
        flag_types.bit,
        False,
        '1: clips at --stride, each video decoded once, not spread ones',
    ),
    'stride': (flag_types.integer(1), 8, 'of dense clips, in frames'),
    'repeats': (flag_types.integer(1), 3, 'rounds'),
    'vary': (
        str,
        None,
        'NAME=V,V,V;NAME=V,V: measure at each value of each flag besides; growth: of the flags '
        'that matter most',
    ),
    'vary_engines': (str, None, 'engines to vary flags with; all of --engines when left out'),
    'plot': (pathlib.Path, None, 'PNG of clips a second, a panel for each flag that varies'),
    'output': (pathlib.Path, None, 'JSON of all figures'),
    'measure': (str, None, 'used by this program itself: decode, network, both or quantize'),
    'load_model_path': (pathlib.Path, None, 'used by this program itself: an int8 network'),
}
GROUPS = (
    BENCHMARK, flags.DATABASE, flags.NETWORK, flags.CLIPS, flags.ENGINE, flags.DEVICES,
)  # fmt: skip
DEFAULTS = {'num_labels': 400, 'clip_length_rgb': 8, 'test_data': None, 'batch_size': 4}
# What the program decides for every measurement.
OWN = {
    'test_data': 'clips_of takes a folder of videos',
    'use_local_file': 'clips_of takes a folder of videos',
    'get_video_id': 'clips_of takes a folder of videos',
    'load_model_path': 'weights are random',
    'engine': 'engines takes it',
    'precision': 'engines takes it: openvino:bf16',
}
VARIABLE = {'stride', *(name for group in GROUPS[1:] for name in group)} - {*OWN}

GROWTH_WORD = 'growth'
GROWTH = {
    'clip_per_video': (1, 2, 5, 10, 20),
    'clip_length_rgb': (8, 16, 32),
    'model_depth': (10, 18, 26, 34),
    'num_decode_threads': (1, 2, 4),
    'engine_threads': (1, 2, 4, 8, 16, 32, 64, 128),  # and all cores; no more than there are
}
GROWTH_STRIDES = (4, 8, 16, 32)  # dense clips have no clip_per_video


class Spec(NamedTuple):
    """An engine and what it computes in."""

    engine: str
    precision: str = 'fp32'

    def __str__(self):
        return f'{self.engine}, {self.precision}'

    def flags(self, model=None):
        """Flags of a measurement; `model` is the path of the int8 network."""
        flags = [f'--engine={self.engine}', f'--precision={self.precision}']
        return flags + ([f'--load_model_path={model}'] if model else [])


@dataclasses.dataclass(frozen=True)
class Step:
    """What is measured in the same rounds.

    Attributes:
        args: parsed options.
        argv: the words that they were parsed from.
        specs: Specs that take turns.
        left_out: {Spec: why it cannot run so}.
        flag, value: what differs from the command line, as text; None if nothing does.
        is_base: whether `value` is what the command line has anyway.
    """

    args: object
    argv: tuple
    specs: tuple = ()
    left_out: dict = dataclasses.field(default_factory=dict)
    flag: Optional[str] = None
    value: Optional[str] = None
    is_base: bool = False

    @property
    def name(self):
        return 'nothing varied' if self.flag is None else f'{self.flag}={self.value}'


def parse(argv=None):
    """Parse words of the command line; None takes the process's own."""
    return flags.parse(DESCRIPTION, *GROUPS, argv=argv, **DEFAULTS)


def plan(args, argv):
    """The Steps that a command line asks for; the first one varies nothing.

    Raises:
        InputError: flags that contradict each other, an engine, network or value that cannot be.
    """
    if from_flags.devices(args).kind == 'cpu':
        require('openvino')  # it makes the best matrix product
    _require_flags(args)
    specs = _specs('engines', args.engines)
    base = _step(Step(args, tuple(argv)), specs)
    if base.left_out:
        spec, reason = next(iter(base.left_out.items()))
        raise InputError(f'engines has {spec}: {reason}')
    chosen = _specs('vary_engines', args.vary_engines) if args.vary_engines else specs
    for spec in chosen:
        if spec not in specs:
            raise InputError(f'vary_engines has {spec}, which engines has not')
    varied = [
        _step(_varied(base, flag, value), chosen)
        for flag, values in variations(args).items()
        for value in values
    ]
    return [base, *varied]


def variations(args):
    """{flag: [texts of its values]} that --vary asks for; a flag's last mention holds."""
    found = {}
    for part in filter(None, map(str.strip, (args.vary or '').split(';'))):
        if part == GROWTH_WORD:
            found.update(growth(args))
            continue
        flag, _, text = part.partition('=')
        values = [value.strip() for value in text.split(',')]
        if flag not in VARIABLE or not all(values):
            raise InputError(
                f'vary has {part!r}; NAME=V,V,V of a flag of the clips, the network or its engine, '
                f'such as clip_per_video=1,10, more of them behind a ";", or {GROWTH_WORD}'
            )
        found[flag] = list(dict.fromkeys(values))
    if 'stride' in found and not args.dense:
        raise InputError('vary has stride, which is of dense clips: --dense=1')
    if 'clip_per_video' in found and args.dense:
        raise InputError('vary has clip_per_video, which dense clips have not: vary stride')
    return found


def growth(args):
    """{flag: [texts]} of GROWTH, of the flags that matter to these clips on this machine."""
    cores = len(os.sched_getaffinity(0))
    flags = dict(GROWTH)
    threads = [count for count in flags['engine_threads'] if count < cores]
    flags['engine_threads'] = (*threads, cores)
    renamed = {'clip_length_rgb': 'clip_length_of'} if args.input_type == 'flow' else {}
    if args.dense:
        renamed['clip_per_video'], flags['clip_per_video'] = 'stride', GROWTH_STRIDES
    return {renamed.get(flag, flag): list(map(str, values)) for flag, values in flags.items()}


def _varied(base, flag, value):
    argv = (*base.argv, f'--{flag}={value}')
    args = parse(argv)
    return Step(
        args,
        argv,
        flag=flag,
        value=value,
        is_base=_value_of(args, flag) == _value_of(base.args, flag),
    )


def _value_of(args, flag):
    """A flag's value, or what it is when left out."""
    is_clips = flag == 'clip_per_video'
    return from_flags.clip_settings(args).clips if is_clips else getattr(args, flag)


def _step(step, specs):
    """The Step with those of `specs` that can run so, and why the others cannot."""
    from_flags.network(step.args)
    clip_settings(step.args)
    from_flags.record_needs(step.args)
    refusals = {spec: refusal(step, spec) for spec in specs}
    left_out = {spec: reason for spec, reason in refusals.items() if reason}
    if len(left_out) == len(specs) and step.flag:
        raise InputError(f'vary has {step.name}: {next(iter(left_out.values()))}')
    running = tuple(spec for spec in specs if spec not in left_out)
    return dataclasses.replace(step, specs=running, left_out=left_out)


def refusal(step, spec):
    """Why an engine cannot run at a Step, or None."""
    try:
        args = parse([*step.argv, *spec.flags()])
        if spec.precision == INT8:
            _require_int8(spec)
        network = from_flags.network(args)
        with from_flags.engine(
            args, network, [network.prediction], from_onnx=spec.precision == INT8
        ):
            return None
    except InputError as error:
        return str(error)


def _require_int8(spec):
    from r2plus1d.backends.openvino import quantize

    if spec.engine != 'openvino':
        raise InputError('int8 is measured with the engine openvino only')
    quantize.require()


def clip_settings(args):
    """The ClipSettings that are measured."""
    if not args.dense:
        return from_flags.clip_settings(args)
    return from_flags.clip_settings(args, decode_type='start', clips=1)


def _require_flags(args):
    for name, instead in OWN.items():
        if name in args.given:
            raise InputError(f'{name} is not for this program; {instead}')
    if args.dense and args.clips_of:
        raise InputError('clips_of gives whole videos; dense=1 is of those that are generated')
    unread = {'decode_type', 'clip_per_video'} if args.dense else set()
    unread |= {'videos'} if args.clips_of else set()
    for name in sorted(unread & args.given):
        raise InputError(f'{name} says nothing about {"dense clips" if args.dense else "clips_of"}')
    if 'stride' in args.given and not args.dense:
        raise InputError('stride is of dense clips: --dense=1')
    if args.vary_engines and not args.vary:
        raise InputError('vary_engines is for --vary')
    for name in ('plot', 'output'):
        path = getattr(args, name)
        if path and not path.absolute().parent.is_dir():
            raise InputError(f'{name} is {path}; there is no folder {path.absolute().parent}')
        if path and path.is_dir():
            raise InputError(f'{name} is {path}, a folder; name a file')
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
