r"""Blobs of every clip of a video database, or of video files, into a pickle or .npy files.

Example:
    .venv/bin/python tools/extract_features.py \
        --test_data=data/sample/test_lmdb \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl \
        --decode_type=uniform
"""

import _start  # noqa: F401

# isort: split

import contextlib
import logging
import pathlib

from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.errors import InputError
from r2plus1d.features import job as jobs
from r2plus1d.features.extract import ExtractionSettings
from r2plus1d.features.publish import FeatureOutput
from r2plus1d.sources.file_source import SUFFIXES

log = logging.getLogger(__name__)

EXTRACTION = {
    'features': (str, 'final_avg', 'blobs between commas, also label, video_id, start_frame, data'),
    'output_path': (
        pathlib.Path,
        None,
        'features.pickle beside test_data, or here with videos, when left out',
    ),
    'output_format': (
        flag_types.one_of('pickle', 'npy'),
        'pickle',
        'a file for all, or a folder of .npy files',
    ),
    'overwrite': (flag_types.bit, False, '1: begin again, and replace what is there'),
    'if_different': (
        flag_types.one_of('fail', 'replace'),
        'fail',
        'what becomes of an output that was made with other arguments',
    ),
    'videos': (
        flag_types.paths,
        None,
        'instead of test_data: files, folders, .txt lists of paths; '
        f'in folders, files that end in {", ".join(SUFFIXES)}',
    ),
    'stride': (
        flag_types.stride,
        None,
        "with videos, from one clip's first frame to the next one's: 8, or 0.5s; "
        'clips follow each other when left out',
    ),
    'num_iterations': (flag_types.integer(-1), -1, 'batches to run; -1: the whole database'),
    'get_start_frame': (flag_types.bit, False, '1: start_frame is extracted too'),
    'sanity_check': (flag_types.bit, False, '1: print the clip accuracy, from softmax and label'),
    'list_blobs': (
        flag_types.bit,
        False,
        '1: list what features can ask for, with shapes, and end',
    ),
    'stats': (flag_types.bit, False, '1: print how many frames were decoded and converted'),
    'max_failures': (flag_types.integer(0), 0, 'exit status 3 if more records fail'),
    'display_iter': (flag_types.integer(1), 10, 'batches between two lines of progress in a log'),
}
GROUPS = (
    EXTRACTION,
    flags.DATABASE,
    flags.WEIGHTS,
    flags.NETWORK,
    flags.CLIPS,
    flags.ENGINE,
    flags.DEVICES,
)
DEFAULTS = {
    'test_data': None,
    'load_model_path': None,
    'decode_type': 'start',
    'batch_size': 32,
}
OF_DATABASES = {
    'clip_per_video', 'clip_start_positions', 'decode_type', 'get_video_id', 'use_local_file',
}  # fmt: skip


def main():
    args = flags.parse(__doc__, *GROUPS, **DEFAULTS)
    stored = from_flags.take_weights(args)
    refuse_unread(args)
    network = from_flags.network(args)
    if args.list_blobs:
        print(
            *jobs.describe_blobs(network, stored and stored.onnx and stored.onnx.outputs), sep='\n'
        )
        return 0
    features = jobs.feature_names(args.features, start_frame=args.get_start_frame)
    check(args, features)
    job = job_of(args, network, features)
    with contextlib.ExitStack() as stack:
        # First what is refused at once; reading the records can take long.
        engine = stack.enter_context(open_engine(args, network, stored, features))
        source = stack.enter_context(open_source(args, features, job.settings.batch_size))
        arguments = jobs.arguments_of(job, source, engine, vars(args), weights=args.load_model_path)
        extracted = jobs.extract_features(job, source, engine, arguments)
    return report(args, job, extracted)


def check(args, features):
    """Refuse flags that contradict each other."""
    if (args.test_data is None) == (args.videos is None):
        raise InputError('give --test_data=LMDB, or --videos with files or folders')
    if args.videos and 'label' in features:
        raise InputError('features asks for label, and videos have none; a database has')
    unused = sorted(OF_DATABASES & args.given) if args.videos else []
    if unused:
        raise InputError(f'{unused[0]} is for databases; videos gives clips at a --stride')
    if args.stride and not args.videos:
        raise InputError('stride is for videos; the records of a database have start frames')
    if args.num_iterations == 0:
        raise InputError('num_iterations is 0; at least 1, or -1 for the whole database')


def job_of(args, network, features):
    devices = from_flags.devices(args)
    is_folder = args.output_format == 'npy'
    beside = args.test_data.resolve().parent if args.test_data else pathlib.Path()
    path = args.output_path or beside / ('features' if is_folder else 'features.pickle')
    return jobs.FeatureJob(
        network,
        features,
        FeatureOutput(path, is_folder=is_folder),
        ExtractionSettings(
            batch_size=args.batch_size * len(devices.ids),
            threads=args.num_decode_threads,
            sanity_check=args.sanity_check,
            display_iter=args.display_iter,
        ),
        devices=devices,
        overwrite=args.overwrite,
        replace_different=args.if_different == 'replace',
    )


@contextlib.contextmanager
def open_engine(args, network, stored, features):
    """Give the engine with its weights, None if nothing of the network is asked for."""
    outputs = jobs.network_blobs(features)
    if not outputs:
        yield None
        return
    if args.load_model_path is None:
        raise InputError('load_model_path is not given; the network needs its weights')
    if stored.onnx:
        from r2plus1d.weights import onnx_file

        onnx_file.require_outputs(stored.onnx, outputs)
    weights = from_flags.load_weights(network, stored)
    with from_flags.engine(args, network, outputs, from_onnx=stored.onnx is not None) as engine:
        engine.load(weights)
        yield engine


def open_source(args, features, batch_size):
    of_files = {'decode_type': 'frame', 'clips': 1} if args.videos else {}
    return jobs.open_source(
        args.videos or args.test_data,
        from_flags.clip_settings(args, **of_files),
        from_flags.record_needs(args),
        features=features,
        sanity_check=args.sanity_check,
        stride=args.stride,
        limit=None if args.num_iterations < 0 else args.num_iterations * batch_size,
        threads=args.num_decode_threads,
    )


def report(args, job, extracted):
    """Print what there is and return the exit status."""
    totals, work = extracted
    if args.stats and work:
        print(f'frames decoded: {work.decoded}, converted: {work.converted}, flows: {work.flows}')
    good = totals.records - totals.failed
    print(f'records: {totals.records}, extracted: {good}, failed: {totals.failed}')
    for name, column in job.columns.items():
        shape = 'x'.join(map(str, (totals.rows, *column.shape)))
        print(f'{name}: {column.dtype}, {shape}')
    if totals.right is not None:
        print(f'Clip accuracy: {totals.right / totals.rows:.5f}')
    print(job.output.path)
    if totals.failed:
        failures = job.output.beside('failures.csv')
        log.warning('%d failed, listed in %s', totals.failed, failures)
    return TOO_MANY_FAILURES if totals.failed > args.max_failures else 0


if __name__ == '__main__':
    run(main)
