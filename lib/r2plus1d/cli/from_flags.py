"""From parsed options to what they ask for: the network, its clips, a reader, an engine."""

import argparse
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.cli.flags import FLOW_CHANNELS
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.input import FlowSettings, Input
from r2plus1d.networks.network import Network
from r2plus1d.weights.stored import Stored

if TYPE_CHECKING:
    from r2plus1d.sources.database_source import DatabaseSource
    from r2plus1d.sources.sample import RecordNeeds
    from r2plus1d.video.budget import Budget
    from r2plus1d.video.clip_settings import ClipSettings


def model(args: argparse.Namespace, stored: Stored) -> Model:
    """Return the Model of weights and of the options of NETWORK and CLIPS.

    Args:
        stored: see weight_flags.take_weights.
    """
    of_network = network(args)
    parameters = {} if stored.onnx else stored.parameters(of_network)
    return Model(of_network, clip_input(args), parameters, stored.class_names, stored.onnx)


def engine_settings(args: argparse.Namespace) -> EngineSettings:
    """Return the EngineSettings that parsed options of the groups ENGINE and DEVICES ask for.

    A tool without the option engine_cache has no cache.
    """
    cache = getattr(args, 'engine_cache', None)
    return EngineSettings(
        args.engine,
        args.precision,
        args.engine_threads,
        cache,
        args.use_cudnn,
        args.deterministic,
    )


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
        use_pool1=args.use_pool1,
        use_convolutional_pred=args.use_convolutional_pred,
        width=args.width,
        bn_epsilon=args.bn_epsilon,
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
        'use_truncated': args.use_truncated,
        'seed': args.seed,
        'budget': budget(args),
    }
    return ClipSettings(**{**chosen, **changes})


def budget(args: argparse.Namespace) -> 'Budget':
    """Return the Budget of decoding that parsed options of the group CLIPS ask for."""
    from r2plus1d.video.budget import Budget

    return Budget(
        packet_bytes=args.max_packet_mb * 2**20,
        frame_pixels=args.max_frame_pixels,
        pixels=args.max_pixels,
        seconds=args.max_decode_seconds,
        memory=args.max_decode_memory_mb * 2**20,
    )


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
    if any(isinstance(i, str) for i in ids):
        return Devices('gpu', tuple(range(len(ids))), tuple(ids))
    return Devices('gpu', tuple(ids)) if ids else Devices('cpu', tuple(range(args.cpu_replicas)))
