"""From parsed options to what they ask for: the network, its clips, a reader, an engine."""

from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.backends.installed import require_onnx
from r2plus1d.cli.flags import FLOW_CHANNELS
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.networks.network import Network

ONNX_SUFFIX = '.onnx'


def take_onnx(args):
    """Let an .onnx file in load_model_path set the options of NETWORK and CLIPS.

    Returns:
        engines.onnx.OnnxModel, or None if load_model_path is no .onnx file.

    Raises:
        InputError: it cannot be read, or an option that was given differs from it.
    """
    path = args.load_model_path
    if path is None or path.suffix != ONNX_SUFFIX:
        _require_no_int8(args)
        return None
    require_onnx()
    from r2plus1d.weights import onnx_file

    model = onnx_file.read(path)
    if not model.is_int8:
        _require_no_int8(args)
    for name, value in _options_of(model, args).items():
        same = {value, model.network.logits} if name == 'pred_layer_name' else {value}
        if name in args.given and getattr(args, name) not in same:
            raise InputError(
                f'{name} is {getattr(args, name)}, and {path} is of {value}; leave the flag out'
            )
        setattr(args, name, value)
    return model


def _require_no_int8(args):
    """The options of a tool that runs no network have no precision."""
    if getattr(args, 'precision', None) == 'int8':
        raise InputError(
            f'precision is int8, and {args.load_model_path} is not: tools/quantize.py makes an '
            '.onnx file that is'
        )


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
        **({'precision': 'int8'} if model.is_int8 else {}),
        **(model.settings or {length: own.clip_length}),
    }


def load_weights(args, of_network, model=None):
    """Return what an engine's `load` takes: `model`, or the parameters of `of_network`."""
    if model is not None:
        return model
    from r2plus1d.weights.files import load_parameters

    return load_parameters(args.load_model_path, args.db_type, of_network)


def engine_settings(args):
    """Return the EngineSettings that parsed options of the groups ENGINE and DEVICES ask for.

    A tool without the option engine_cache has no cache.
    """
    cache = getattr(args, 'engine_cache', None)
    return EngineSettings(args.engine, args.precision, args.engine_threads, cache, args.use_cudnn)


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
    from r2plus1d.networks.input import FlowSettings
    from r2plus1d.video.clip_settings import ClipSettings

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
    from r2plus1d.sources.sample import RecordNeeds

    if args.multi_label and args.num_labels is None:
        raise InputError('multi_label=1 needs num_labels')
    return RecordNeeds(args.num_labels, args.use_local_file, args.multi_label, args.get_video_id)


def open_reader(args, ahead, *, path=None, clips=None, limit=None, spread=None):
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
