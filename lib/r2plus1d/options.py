"""Every command-line option once: its default, help and check. Tools pick groups of them.

Flags are written --name=value. Booleans are 0 or 1. Where the original took numbers for kinds,
the numbers and the words that they stand for are both taken.
"""

import argparse
import pathlib
import sys

from r2plus1d import cli
from r2plus1d.engines import ENGINES, PRECISIONS, Devices, EngineSettings, open_engine, require_onnx
from r2plus1d.errors import InputError
from r2plus1d.models.network import Network
from r2plus1d.models.zoo import ARCHITECTURES, BLOCKS, C3D

REQUIRED = object()
ONNX_SUFFIX = '.onnx'


def integer(low):
    """An argparse type: an integer of at least `low`."""

    def convert(text):
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f'{text!r} is not an integer') from None
        if value < low:
            raise argparse.ArgumentTypeError(f'{value} is less than {low}')
        return value

    return convert


def number_from_0(text):
    """An argparse type: a float of at least 0."""
    return 0.0 if text in ('0', '0.0') else number(text)


def number(text):
    """An argparse type: a float above 0."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number') from None
    if not 0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return value


def bit(text):
    """An argparse type: 0 or 1, as a bool."""
    if text not in ('0', '1'):
        raise argparse.ArgumentTypeError(f'{text!r} is not 0 or 1')
    return text == '1'


def word(*words):
    """An argparse type: one of `words`, or its position among them."""
    shown = ', '.join(f'{number} {name}' for number, name in enumerate(words))

    def convert(text):
        if text in words:
            return text
        if text.isdigit() and int(text) < len(words):
            return words[int(text)]
        raise argparse.ArgumentTypeError(f'{text!r} is unknown; {shown}')

    convert.shown = shown
    return convert


def integers(text):
    """An argparse type: integers of at least 0 between commas; an empty string is none."""
    return [integer(0)(part) for part in text.split(',') if part.strip()]


def paths(text):
    """An argparse type: a path; the option takes several, with spaces between them."""
    return pathlib.Path(text)


def one_of(*values):
    """An argparse type: one of `values`, spelled out in the error."""
    shown = ', '.join(values)

    def convert(text):
        if text not in values:
            raise argparse.ArgumentTypeError(f'{text!r} is unknown; known: {shown}')
        return text

    convert.shown = shown
    return convert


DECODE_TYPE = word('random', 'uniform', 'start')
VIDEO_RES_TYPE = word('scale', 'short_edge', 'original')
INPUT_TYPE = word('rgb', 'flow')
AGGREGATION = word('mean', 'max')
FLOW_DATA_TYPE = word('xy', 'xy_magnitude', 'xy_gray', 'xy_rgb')
FLOW_CHANNELS = {'xy': 2, 'xy_magnitude': 3, 'xy_gray': 3, 'xy_rgb': 5}

# name: (type, default, help)
NETWORK = {
    'model_name': (one_of(*ARCHITECTURES, C3D), 'r2plus1d', 'network'),
    'model_depth': (integer(1), 18, f'depth: {", ".join(map(str, BLOCKS))}; c3d has only one'),
    'num_labels': (integer(1), 101, 'number of classes'),
    'num_channels': (
        integer(1),
        None,
        'channels of the input; follows from the input type when left out',
    ),
    'crop_size': (integer(1), 112, 'height and width of the input, 112 or 224'),
    'clip_length_rgb': (integer(1), 16, 'frames of a clip, a multiple of 8'),
    'clip_length_of': (integer(1), 8, 'flow frames of a clip, a multiple of 8'),
    'input_type': (INPUT_TYPE, 'rgb', 'what the network sees'),
    'flow_data_type': (FLOW_DATA_TYPE, 'xy', 'channels of the optical flow'),
    'multi_label': (bit, False, '1: several labels a video, a sigmoid head'),
    'pred_layer_name': (str, None, 'name of the last layer, last_out_L{num_labels} when left out'),
    'width': (number, 1.0, 'factor of every number of channels, for small networks'),
    'use_dropout': (bit, False, '1: dropout before the last layer (has no effect in inference)'),
}

WEIGHTS = {
    'load_model_path': (
        pathlib.Path,
        REQUIRED,
        'weights of the network, or an .onnx file, which says itself what network it is',
    ),
    'db_type': (one_of('pickle', 'minidb'), 'pickle', 'kind of weight file'),
}

DATABASE = {
    'test_data': (pathlib.Path, REQUIRED, 'LMDB of videos'),
    'use_local_file': (bit, False, '1: the database holds paths of video files'),
    'get_video_id': (bit, False, '1: every record must have a video id, and it is reported'),
    'num_decode_threads': (integer(1), 4, 'videos decoded at the same time'),
}

CLIPS = {
    'scale_h': (integer(1), 128, 'height to which frames are resized'),
    'scale_w': (integer(1), 171, 'width to which frames are resized'),
    'video_res_type': (VIDEO_RES_TYPE, 'scale', 'how frames are resized'),
    'short_edge': (
        integer(1),
        None,
        'short side with video_res_type 1; min(scale_h, scale_w) when left out',
    ),
    'sampling_rate_rgb': (integer(1), 1, 'step between the frames of a clip'),
    'sampling_rate_of': (integer(1), 2, 'step between the flow frames of a clip'),
    'frame_gap_of': (integer(1), 2, 'frames between the two of which the flow is computed'),
    'do_flow_aggregation': (bit, False, '1: follow the flow frame by frame over the gap'),
    'decode_type': (DECODE_TYPE, 'uniform', 'which clips of a video'),
    'clip_per_video': (integer(1), None, 'clips of a video; 10 when left out, 1 unless uniform'),
    'clip_start_positions': (integers, [], 'first frames of the clips, replacing the uniform ones'),
    'crop_per_clip': (integer(1), 1, 'crops of a clip, evenly along its longer side'),
    'random_crop': (bit, False, '1: crop anywhere instead of at the centre'),
    'random_mirror': (bit, False, '1: mirror every other clip, at random'),
    'seed': (integer(0), 0, 'seed of every random choice'),
}

ENGINE = {
    'engine': (
        one_of(*ENGINES),
        'auto',
        'what runs the network; auto: openvino on a CPU, caffe2 on a GPU that it supports, torch '
        'on others',
    ),
    'precision': (one_of(*PRECISIONS), 'fp32', 'what the network computes in'),
    'engine_threads': (integer(0), 0, 'threads of the network on a CPU; 0: as the engine likes'),
    'engine_cache': (
        pathlib.Path,
        None,
        'folder in which openvino keeps networks as it has prepared them, to start faster',
    ),
}

DEVICES = {
    'gpus': (integers, [], 'GPUs between commas, such as 0,1; none: CPU (the original used GPU 0)'),
    'num_gpus': (integer(0), 0, 'number of GPUs, counted from 0, instead of --gpus; 0: CPU'),
    'cpu_replicas': (
        integer(1),
        1,
        'copies of the network on the CPU, to try several devices without GPUs',
    ),
    'use_cudnn': (bit, True, '1: cuDNN on GPUs'),
    'batch_size': (integer(1), 6, 'videos a device'),
}


def parse(description, *groups, argv=None, **changes):
    """Parse a command line.

    Args:
        groups: dicts of options as above.
        argv: the arguments; None takes the process's own.
        changes: defaults that differ for this tool, or REQUIRED.

    Returns:
        argparse.Namespace with an attribute for each option, and `given`, the set of the names of
        those that were on the command line.
    """
    parser = cli.Parser(description)
    for name, (kind, default, text) in _merged(groups).items():
        default = changes.get(name, default)
        shown = f'{text}: {kind.shown}' if hasattr(kind, 'shown') else text
        if default is None or default is REQUIRED:
            how = {'default': argparse.SUPPRESS, 'required': default is REQUIRED}
        else:
            how = {'default': int(default) if kind is bit else default}
        if default == []:
            how['default'] = argparse.SUPPRESS  # nothing to show
        if kind is bit:
            how.update(nargs='?', const=True)  # --name alone is --name=1
        if kind is paths:
            how.update(nargs='+')
        parser.add_argument(f'--{name}', type=kind, help=shown, metavar=_metavar(kind), **how)
    args = parser.parse_args(argv)
    words = sys.argv[1:] if argv is None else argv
    args.given = {word[2:].split('=')[0] for word in words if word.startswith('--')}
    for name, (kind, _, _) in _merged(groups).items():
        setattr(args, name, getattr(args, name, [] if kind is integers else None))
    return args


def _merged(groups):
    return {name: option for group in groups for name, option in group.items()}


def _metavar(kind):
    names = {bit: '0|1', integers: 'N,N', pathlib.Path: 'PATH', paths: 'PATH', str: 'TEXT'}
    return names.get(kind, 'WORD' if hasattr(kind, 'shown') else 'N')


def take_onnx(args):
    """Let an .onnx file in load_model_path set the options of NETWORK and CLIPS.

    Returns:
        engines.onnx.OnnxModel, or None if load_model_path is no .onnx file.

    Raises:
        InputError: it cannot be read, or an option that was given differs from it.
    """
    path = args.load_model_path
    if path is None or path.suffix != ONNX_SUFFIX:
        return None
    require_onnx()
    from r2plus1d.engines import onnx

    model = onnx.read(path)
    for name, value in _options_of(model, args).items():
        if name in args.given and getattr(args, name) != value:
            raise InputError(
                f'{name} is {getattr(args, name)}, and {path} is of {value}; leave the flag out'
            )
        setattr(args, name, value)
    return model


def _options_of(model, args):
    """{option: value} that an OnnxModel decides; its file need not say what clips it takes."""
    own = model.network
    length = 'clip_length_of' if args.input_type == 'flow' else 'clip_length_rgb'
    return {
        'model_name': own.architecture,
        'model_depth': own.depth,
        'crop_size': own.crop_size,
        'num_channels': own.num_channels,
        'num_labels': own.num_labels,
        'multi_label': own.multi_label,
        'pred_layer_name': own.pred_layer_name,
        'use_dropout': own.use_dropout,
        'width': own.width,
        **(model.settings or {length: own.clip_length}),
    }


def load_weights(args, of_network, model=None):
    """Return what an engine's `load` takes: `model`, or the parameters of `of_network`."""
    if model is not None:
        return model
    from r2plus1d.models import weights

    return weights.load(args.load_model_path, args.db_type, of_network)


def engine_settings(args):
    """Return the EngineSettings that parsed options of the groups ENGINE and DEVICES ask for."""
    return EngineSettings(
        args.engine, args.precision, args.engine_threads, args.engine_cache, args.use_cudnn
    )


def engine(args, of_network, outputs, *, from_onnx=False):
    """Return the engine that parsed options of the groups ENGINE and DEVICES ask for."""
    return open_engine(
        of_network,
        devices=devices(args),
        outputs=outputs,
        settings=engine_settings(args),
        from_onnx=from_onnx,
    )


def network(args):
    """Return the Network that the options of NETWORK ask for."""
    is_flow = args.input_type == 'flow'
    return Network(
        architecture=args.model_name,
        depth=args.model_depth,
        clip_length=args.clip_length_of if is_flow else args.clip_length_rgb,
        crop_size=args.crop_size,
        num_channels=args.num_channels or (FLOW_CHANNELS[args.flow_data_type] if is_flow else 3),
        num_labels=args.num_labels,
        multi_label=args.multi_label,
        pred_layer_name=args.pred_layer_name,
        use_dropout=args.use_dropout,
        width=args.width,
    )


def clip_settings(args, **changes):
    """Return the ClipSettings that parsed options of the groups NETWORK and CLIPS ask for.

    Args:
        changes: settings that are not the options'.
    """
    from r2plus1d.video.flow import FlowSettings
    from r2plus1d.video.settings import ClipSettings

    optical_flow = args.input_type == 'flow'
    flow = FlowSettings(args.frame_gap_of, args.do_flow_aggregation, args.flow_data_type)
    chosen = {
        'length': args.clip_length_of if optical_flow else args.clip_length_rgb,
        'rate': args.sampling_rate_of if optical_flow else args.sampling_rate_rgb,
        'flow': flow if optical_flow else None,
        'decode_type': args.decode_type,
        'clips': args.clip_per_video or (10 if args.decode_type == 'uniform' else 1),
        'clip_starts': tuple(args.clip_start_positions),
        'video_res_type': args.video_res_type,
        'scale_w': args.scale_w,
        'scale_h': args.scale_h,
        'short_edge': args.short_edge or min(args.scale_h, args.scale_w),
        'crop_size': args.crop_size,
        'crops': args.crop_per_clip,
        'random_crop': args.random_crop,
        'mirror': args.random_mirror,
        'seed': args.seed,
    }
    settings = ClipSettings(**{**chosen, **changes})
    if args.num_channels not in (None, settings.channels):
        raise InputError(f'num_channels is {args.num_channels}; the input has {settings.channels}')
    return settings


def training_clips(args):
    """Return the ClipSettings of training: one random clip of a video."""
    return clip_settings(args, decode_type='random', clips=1, clip_starts=(), crops=1)


def record_needs(args):
    """Return the RecordNeeds that parsed options of the groups NETWORK and DATABASE ask for."""
    from r2plus1d.video.reader import RecordNeeds

    if args.multi_label and args.num_labels is None:
        raise InputError('multi_label=1 needs num_labels')
    return RecordNeeds(args.num_labels, args.use_local_file, args.multi_label, args.get_video_id)


def open_reader(args, ahead, *, clips=None, limit=None):
    """Return the ClipReader that parsed options of DATABASE, NETWORK and CLIPS ask for.

    Args:
        ahead: videos that are kept ready for the next batch.
        clips: ClipSettings, if not those of the options.
        limit: read so many records only; None is all.
    """
    from r2plus1d.video.reader import ClipReader

    return ClipReader(
        args.test_data,
        clips or clip_settings(args),
        record_needs(args),
        threads=args.num_decode_threads,
        ahead=ahead,
        limit=limit,
    )


def devices(args):
    """Return the Devices that parsed options of the group DEVICES ask for."""
    if args.gpus and args.num_gpus and len(args.gpus) != args.num_gpus:
        raise InputError(
            f'gpus names {len(args.gpus)} devices, num_gpus says {args.num_gpus}: give one of them'
        )
    ids = args.gpus or list(range(args.num_gpus))
    if len(set(ids)) < len(ids):
        raise InputError(f'gpus names a device twice: {",".join(map(str, ids))}')
    if ids and args.cpu_replicas > 1:
        raise InputError('cpu_replicas is for the CPU: leave it out, or gpus and num_gpus')
    return Devices('gpu', tuple(ids)) if ids else Devices('cpu', tuple(range(args.cpu_replicas)))
