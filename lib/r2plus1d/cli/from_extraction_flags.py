"""From the parsed options of tools/extract_features.py to what they ask for."""

import argparse
import contextlib
import hashlib
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from r2plus1d.backends.choose import chosen
from r2plus1d.cli import from_flags, weight_flags
from r2plus1d.cli.command import version
from r2plus1d.cli.doctor import package_versions
from r2plus1d.cli.extraction import Extraction, RecordExtraction, VideoExtraction
from r2plus1d.cli.sharding import chosen_shard, has_ray, is_sharded
from r2plus1d.datasets.local_copy import local_copy
from r2plus1d.datasets.video_files import find_videos
from r2plus1d.errors import InputError
from r2plus1d.features import job as jobs
from r2plus1d.features.describe import Method
from r2plus1d.features.extract import ExtractionSettings
from r2plus1d.features.job import FeatureJob, Source
from r2plus1d.features.publish import FeatureOutput
from r2plus1d.features.videos import VideosJob
from r2plus1d.networks.network import Network
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.shards import ShardFolder
from r2plus1d.sources.stride import Stride
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.weights.stored import Stored

PER_VIDEO = 'per_video'
NO_WEIGHTS = 'load_model_path is not given; the network needs its weights'
OF_DATABASES = {
    'clip_per_video', 'clip_start_positions', 'decode_type', 'get_video_id', 'use_local_file',
}  # fmt: skip


def method(args: argparse.Namespace, network: Network, stored: Optional[Stored]) -> Method:
    """Return what decides the numbers of the extraction.

    Raises:
        InputError: flags contradict each other, or the weights are missing.
    """
    features = _features(args)
    settings, packages = from_flags.engine_settings(args), ['av', 'cv2', 'numpy']
    if jobs.network_blobs(features):
        if stored is None:
            raise InputError(NO_WEIGHTS)
        is_onnx = stored.onnx is not None
        packages.append(chosen(settings, from_flags.devices(args), from_onnx=is_onnx))
    versions = {'r2plus1d': version(), **dict(package_versions(packages))}
    clips, stride = _clips(args), args.stride
    if args.videos and stride is None:
        stride = Stride(frames=clips.required)
    weights = (stored.path.name, stored.digest) if stored else None
    return Method(
        network, clips, features, weights, settings.precision, stride, args.pool, versions
    )


@contextlib.contextmanager
def open_extraction(
    args: argparse.Namespace, network: Network, stored: Optional[Stored]
) -> Iterator[Extraction]:
    """Give the extraction; its engine is None where nothing of the network is asked for here.

    Raises:
        InputError: flags contradict each other, or what they name cannot be used.
    """
    chosen_shard(args)
    features = _features(args)
    names = read_class_names(args.labels, args.num_labels)
    job = _job(args, network, features, names or (stored.class_names if stored else None))
    with contextlib.ExitStack() as stack:
        # First what is refused at once; reading the records can take long.
        engine = stack.enter_context(_open_engine(args, job, stored))
        if args.output_format == PER_VIDEO:
            yield VideoExtraction(_videos(args, job, stored), engine)
            return
        source = stack.enter_context(_open_source(args, job))
        options = {**vars(args), 'labels': names and _digest_of(names)}
        weights = stored.fingerprint if stored else None
        arguments = jobs.arguments_of(job, source, engine, options, weights=weights)
        yield RecordExtraction(job, source, engine, arguments)


def _features(args: argparse.Namespace) -> list[str]:
    """The blobs that are asked for; refuse flags that contradict each other or them."""
    features = jobs.feature_names(args.features, start_frame=args.get_start_frame)
    _require_agreement(args, features)
    return features


def _require_agreement(args, features):
    if (args.test_data is None) == (args.videos is None):
        raise InputError('give --test_data=LMDB, or --videos with files or folders')
    if args.videos and 'label' in features:
        raise InputError('features asks for label, and videos have none; a database has')
    unused = sorted(OF_DATABASES & args.given) if args.videos else []
    if unused:
        raise InputError(f'{unused[0]} is for databases; videos gives clips at a --stride')
    if args.stride and not args.videos:
        raise InputError('stride is for videos; the records of a database have start frames')
    if args.output_format == PER_VIDEO:
        _require_whole_videos(args, features)
    if args.stats and has_ray(args):
        raise InputError('stats is of one process; with ray, leave it out')
    if args.num_iterations == 0:
        raise InputError('num_iterations is 0; at least 1, or -1 for the whole database')


def _require_whole_videos(args, features):
    if not args.videos:
        raise InputError(f'output_format={PER_VIDEO} is for videos; a database has records')
    if args.num_iterations >= 0:
        raise InputError(f'num_iterations would cut videos, which {PER_VIDEO} writes as a whole')
    if 'video_id' in features:
        raise InputError(f'features asks for video_id, which says nothing with {PER_VIDEO}')


def _job(
    args: argparse.Namespace,
    network: Network,
    features: Sequence[str],
    class_names: Optional[Sequence[str]],
) -> FeatureJob:
    devices = from_flags.devices(args)
    return FeatureJob(
        network,
        features,
        _output(args),
        ExtractionSettings(
            batch_size=args.batch_size * len(devices.ids),
            threads=args.num_decode_threads,
            sanity_check=args.sanity_check,
            display_iter=args.display_iter,
        ),
        devices=devices,
        overwrite=args.overwrite,
        replace_different=args.if_different == 'replace',
        class_names=class_names,
    )


def _output(args: argparse.Namespace) -> FeatureOutput:
    is_folder = args.output_format in ('npy', PER_VIDEO)
    ending = '' if is_folder else f'.{args.output_format}'
    beside = args.test_data.resolve().parent if args.test_data else pathlib.Path()
    path = args.output_path or beside / f'features{ending}'
    return FeatureOutput(path, is_folder=is_folder, is_parquet=args.output_format == 'parquet')


@contextlib.contextmanager
def _open_engine(
    args: argparse.Namespace, job: FeatureJob, stored: Optional[Stored]
) -> Iterator[Any]:
    """Give the engine with its weights, None if nothing of the network is asked for here."""
    network, outputs = job.network, jobs.network_blobs(job.features)
    if not outputs or args.merge or has_ray(args):
        yield None
        return
    if stored is None:
        raise InputError(NO_WEIGHTS)
    if stored.onnx:
        from r2plus1d.weights import onnx_file

        onnx_file.require_outputs(stored.onnx, outputs)
    weights = weight_flags.load_weights(network, stored)
    with from_flags.engine(args, network, outputs, from_onnx=stored.onnx is not None) as engine:
        engine.load(weights)
        yield engine


def _clips(args: argparse.Namespace) -> ClipSettings:
    of_files = {'decode_type': 'frame', 'clips': 1} if args.videos else {}
    return from_flags.clip_settings(args, **of_files)


def _videos(args: argparse.Namespace, job: FeatureJob, stored: Optional[Stored]) -> VideosJob:
    return VideosJob(
        job, find_videos(args.videos), _clips(args), vars(args), args.pool, args.stride,
        stored.fingerprint if stored else None,
    )  # fmt: skip


def _open_source(
    args: argparse.Namespace, job: FeatureJob
) -> contextlib.AbstractContextManager[Source]:
    kept = ShardFolder(job.output.path).path if is_sharded(args) else None
    database = local_copy(args.test_data) if args.copy_database else args.test_data
    return jobs.open_source(
        args.videos or database,
        _clips(args),
        from_flags.record_needs(args),
        features=job.features,
        sanity_check=args.sanity_check,
        stride=args.stride,
        limit=None if args.num_iterations < 0 else args.num_iterations * job.settings.batch_size,
        threads=args.num_decode_threads,
        kept=kept,
    )


def _digest_of(names: Sequence[str]) -> str:
    """Text that differs if the class names do."""
    return f'sha256 {hashlib.sha256(repr(names).encode()).hexdigest()[:16]}'
