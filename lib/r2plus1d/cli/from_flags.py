"""From parsed options to what they ask for: the network, its clips, a reader, an engine."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional, Union

import numpy as np

from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.cli.flags import FLOW_CHANNELS
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network
from r2plus1d.weights.card import NETWORK
from r2plus1d.weights.infer import infer_flow, infer_width_is_same
from r2plus1d.weights.stored import LIKELY_LENGTHS, Stored, open_weights

if TYPE_CHECKING:
    from r2plus1d.sources.database_source import DatabaseSource
    from r2plus1d.sources.sample import RecordNeeds
    from r2plus1d.video.clip_settings import ClipSettings
    from r2plus1d.weights.onnx_file import OnnxModel


def take_weights(
    args: argparse.Namespace, *, path: Optional[pathlib.Path] = None
) -> Optional[Stored]:
    """Let the file in load_model_path, or the published weights of its name, set what they decide.

    Args:
        path: of the weights, if not load_model_path.

    Returns:
        weights.stored.Stored, or None if there is no load_model_path.

    Raises:
        InputError: it cannot be read; a flag that was given differs from it; nobody says how long
            the clips are.
    """
    path = path or args.load_model_path
    if path is None:
        return None
    stored = open_weights(path, getattr(args, 'db_type', None))
    if getattr(args, 'precision', None) == 'int8' and not stored.is_int8:
        raise InputError(
            f'precision is int8, and {path} is not: tools/quantize.py makes an .onnx file that is'
        )
    for name, value in _options_of(stored, args).items():
        _take(args, name, value, stored)
    args.load_model_path = stored.path  # of a name: where it was put
    return stored


def _take(args, name, value, stored):
    """Set an option by the file; InputError if another value was given."""
    given = getattr(args, name)
    same = {value, None} if name == 'pred_layer_name' else {value}
    if name == 'pred_layer_name' and value is None:
        same.add(f'last_out_L{stored.network["num_labels"]}')
    if name in args.given and given not in same and not _is_same_width(name, given, stored):
        shown = {'pred_layer_name': 'the default'}.get(name) if value is None else value
        raise InputError(f'{name} is {given}, and {stored.path} is of {shown}; leave the flag out')
    if name not in args.given or name != 'width':
        setattr(args, name, value)


def _is_same_width(name, given, stored):
    """Whether another width makes the same numbers of channels."""
    return name == 'width' and not stored.onnx and infer_width_is_same(given, stored.blobs)


def _options_of(stored, args):
    """{option: value} that a file decides."""
    known = {
        flag: stored.network[field]
        for flag, field in NETWORK.items()
        if field in stored.network and field != 'clip_length'  # which has two flags
    }
    if stored.is_int8:
        known['precision'] = 'int8'
    if stored.input:
        return {**known, **_options_of_input(stored.input)}
    data_type = infer_flow(stored.network)
    if data_type and 'input_type' not in args.given:
        known.update(input_type='flow', flow_data_type=data_type)
    is_flow = known.get('input_type', args.input_type) == 'flow'
    length = 'clip_length_of' if is_flow else 'clip_length_rgb'
    if 'clip_length' in stored.network:
        return {**known, length: stored.network['clip_length']}
    if length not in args.given:
        likely = ', '.join(map(str, LIKELY_LENGTHS[:-1]))
        raise InputError(
            f'{stored.path} does not say how long its clips are: give --{length}, which is likely '
            f'{likely} or {LIKELY_LENGTHS[-1]}'
        )
    return known


def _options_of_input(given):
    """{option: value} of an Input."""
    end = 'of' if given.flow else 'rgb'
    options = {
        'input_type': 'flow' if given.flow else 'rgb',
        f'clip_length_{end}': given.length,
        f'sampling_rate_{end}': given.rate,
        'video_res_type': given.video_res_type,
        'scale_h': given.scale_h,
        'scale_w': given.scale_w,
    }
    if given.short_edge != min(given.scale_h, given.scale_w):  # what it is when left out
        options['short_edge'] = given.short_edge
    if given.flow:
        options.update(
            frame_gap_of=given.flow.gap,
            do_flow_aggregation=given.flow.aggregate,
            flow_data_type=given.flow.data_type,
        )
    return options


def load_weights(of_network: Network, stored: Stored) -> 'Union[OnnxModel, dict[str, np.ndarray]]':
    """Return what an engine's `load` takes: an OnnxModel, or the parameters of `of_network`."""
    return stored.onnx or stored.parameters(of_network)


def engine_settings(args: argparse.Namespace) -> EngineSettings:
    """Return the EngineSettings that parsed options of the groups ENGINE and DEVICES ask for.

    A tool without the option engine_cache has no cache.
    """
    cache = getattr(args, 'engine_cache', None)
    return EngineSettings(args.engine, args.precision, args.engine_threads, cache, args.use_cudnn)


def engine(
    args: argparse.Namespace,
    of_network: Network,
    outputs: Sequence[str],
    *,
    from_onnx: bool = False,
) -> Any:
    """Return the engine that parsed options of the groups ENGINE and DEVICES ask for."""
    return open_engine(
        of_network,
        devices=devices(args),
        outputs=outputs,
        settings=engine_settings(args),
        from_onnx=from_onnx,
    )


def network(args: argparse.Namespace) -> Network:
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


def clip_input(args: argparse.Namespace) -> Input:
    """Return the Input that parsed options of the groups NETWORK and CLIPS ask for."""
    is_flow = args.input_type == 'flow'
    flow = FlowSettings(args.frame_gap_of, args.do_flow_aggregation, args.flow_data_type)
    given = Input(
        length=args.clip_length_of if is_flow else args.clip_length_rgb,
        rate=args.sampling_rate_of if is_flow else args.sampling_rate_rgb,
        flow=flow if is_flow else None,
        video_res_type=args.video_res_type,
        scale_w=args.scale_w,
        scale_h=args.scale_h,
        short_edge=args.short_edge or min(args.scale_h, args.scale_w),
        crop_size=args.crop_size,
    )
    if args.num_channels not in (None, given.channels):
        raise InputError(f'num_channels is {args.num_channels}; the input has {given.channels}')
    return given


def clip_settings(args: argparse.Namespace, **changes: Any) -> 'ClipSettings':
    """Return the ClipSettings that parsed options of the groups NETWORK and CLIPS ask for.

    Args:
        changes: settings that are not the options'.
    """
    from r2plus1d.video.clip_settings import ClipSettings

    chosen = {
        **vars(clip_input(args)),
        'decode_type': args.decode_type,
        'clips': args.clip_per_video or (10 if args.decode_type == 'uniform' else 1),
        'clip_starts': tuple(args.clip_start_positions),
        'crops': args.crop_per_clip,
        'random_crop': args.random_crop,
        'mirror': args.random_mirror,
        'seed': args.seed,
    }
    return ClipSettings(**{**chosen, **changes})


def training_clips(args: argparse.Namespace) -> 'ClipSettings':
    """Return the ClipSettings of training: one random clip of a video."""
    return clip_settings(args, decode_type='random', clips=1, clip_starts=(), crops=1)


def record_needs(args: argparse.Namespace) -> 'RecordNeeds':
    """Return the RecordNeeds that parsed options of the groups NETWORK and DATABASE ask for."""
    from r2plus1d.sources.sample import RecordNeeds

    if args.multi_label and args.num_labels is None:
        raise InputError('multi_label=1 needs num_labels')
    return RecordNeeds(args.num_labels, args.use_local_file, args.multi_label, args.get_video_id)


def open_reader(
    args: argparse.Namespace,
    ahead: int,
    *,
    path: Optional[pathlib.Path] = None,
    clips: 'Optional[ClipSettings]' = None,
    limit: Optional[int] = None,
    spread: Optional[int] = None,
) -> 'DatabaseSource':
    """Return the DatabaseSource that parsed options of DATABASE, NETWORK and CLIPS ask for.

    Args:
        ahead: videos that are kept ready for the next batch.
        path: of the LMDB, if not test_data.
        clips: ClipSettings, if not those of the options.
        limit: read the first so many records only; None is all.
        spread: the same, of records in equal distances.
    """
    from r2plus1d.sources.database_source import DatabaseSource

    return DatabaseSource(
        path or args.test_data,
        clips or clip_settings(args),
        record_needs(args),
        threads=args.num_decode_threads,
        ahead=ahead,
        limit=limit,
        spread=spread,
    )


def devices(args: argparse.Namespace) -> Devices:
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
