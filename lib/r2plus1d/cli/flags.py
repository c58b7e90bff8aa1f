"""Every command-line option once: its default, help and check. Tools pick groups of them.

Flags are written --name=value. Booleans are 0 or 1. Where the original took numbers for kinds,
the numbers and the words that they stand for are both taken.
"""

import argparse
import pathlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from r2plus1d.backends.table import ENGINES, PRECISIONS, describe_auto, describe_precisions
from r2plus1d.cli.flag_types import (  # noqa: F401 - some are for the tools' own options
    bit,
    integer,
    integers,
    number,
    number_from_0,
    one_of,
    paths,
    word,
)
from r2plus1d.cli.help import Row, split_description
from r2plus1d.cli.main import Parser
from r2plus1d.cli.refusals import Given, refuse_unread
from r2plus1d.networks.zoo import ARCHITECTURES, BLOCKS, C3D

Option = tuple[Any, Any, str]  # type, default, help

REQUIRED = object()
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
        'weights of the network (.pkl, .mdl or .onnx), or the name of published ones, such as '
        'r2.5d_d18_l8, which are downloaded',
    ),
    'db_type': (
        one_of('pickle', 'minidb'),
        None,
        'kind of weight file; goes by what the file begins with when left out',
    ),
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

# Of the tools that write .onnx files
ONNX = {
    'load_model_path': (pathlib.Path, REQUIRED, 'weights of the network'),
    'features': (
        str,
        None,
        'blobs between commas that the file gives; the prediction, the last layer and final_avg '
        '(fc7 for c3d) when left out',
    ),
    'labels': (pathlib.Path, None, 'class names, one a line, kept in the file'),
    'output': (pathlib.Path, None, 'file to write; beside load_model_path when left out'),
    'overwrite': (bit, False, '1: replace what is there'),
}

ENGINE = {
    'engine': (
        one_of(*ENGINES),
        'auto',
        f'what runs the network; auto: {describe_auto()}',
    ),
    'precision': (
        one_of(*PRECISIONS),
        'fp32',
        f'what the network computes in; {describe_precisions()}',
    ),
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


def parse(
    description: str,
    *groups: Mapping[str, Option],
    argv: Optional[Sequence[str]] = None,
    **changes: Any,
) -> argparse.Namespace:
    """Parse a command line.

    Args:
        description: docstring of the tool; the command of its `Example:` names the tool.
        groups: dicts of options as above.
        argv: the arguments; None takes the process's own.
        changes: defaults that differ for this tool, or REQUIRED.

    Returns:
        argparse.Namespace with an attribute for each option, and `given`, the set of the names of
        those that were on the command line (refusals.Given).

    Raises:
        InputError: a flag that was given does nothing. What a weight file may decide is known
            only later: a tool that reads one calls refusals.refuse_unread once more.
    """
    parser = Parser(description)
    options = {
        name: (kind, changes.get(name, default), text)
        for name, (kind, default, text) in _merged(groups).items()
    }
    for name, (kind, default, text) in options.items():
        _add(parser, name, kind, default, text)
    args = parser.parse_args(argv)
    for name, (kind, _, _) in options.items():
        setattr(args, name, getattr(args, name, [] if kind is integers else None))
    words = sys.argv[1:] if argv is None else argv
    names = {word[2:].split('=')[0] for word in words if word.startswith('--')}
    changed = {name for name in names if not _is_default(getattr(args, name), options[name])}
    args.given = Given(names, changed=changed, tool=_tool(description))
    refuse_unread(args, weights_are_read=getattr(args, 'load_model_path', None) is None)
    return args


def _add(parser, name, kind, default, text):
    how = {'type': kind, 'default': argparse.SUPPRESS}
    if default not in (None, REQUIRED, []):
        how['default'] = int(default) if kind is bit else default
    if kind is bit:
        how.update(nargs='?', const=True)  # --name alone is --name=1
    if kind is paths:
        how.update(nargs='+')
    shown = '' if how['default'] is argparse.SUPPRESS else str(how['default'])
    row = Row(name, _metavar(kind), text, getattr(kind, 'shown', ''), shown, default is REQUIRED)
    parser.add_flag(row, **how)


def _is_default(value, option):
    kind, default, _ = option
    if isinstance(default, str):  # argparse reads a default that is a text as it reads a flag
        default = kind(default)
    return value == default


def _tool(description):
    """Name of the tool that the example in its docstring calls, or None."""
    found = re.search(r'(\w+)\.py\b', split_description(description)[1])
    return found and found[1]


def _merged(groups):
    return {name: option for group in groups for name, option in group.items()}


def _metavar(kind):
    names = {bit: '0|1', integers: 'N,N', pathlib.Path: 'PATH', paths: 'PATH', str: 'TEXT'}
    return names.get(kind, 'WORD' if hasattr(kind, 'shown') else 'N')
