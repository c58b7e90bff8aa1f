r"""Blobs of every clip of a video database, or of video files, into a pickle or .npy files.

Example:
    .venv/bin/python tools/extract_features.py \
        --test_data=data/sample/test_lmdb \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl \
        --clip_length_rgb=8 --num_labels=8 --width=0.125 --decode_type=uniform
"""

import _start  # noqa: F401

# isort: split

import argparse
import contextlib
import dataclasses
import hashlib
import logging
import math
import pathlib

from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.errors import InputError
from r2plus1d.features import extract
from r2plus1d.features.publish import FeatureOutput
from r2plus1d.features.store import Store
from r2plus1d.sources.file_source import SUFFIXES, Stride, VideoFiles, find_videos
from r2plus1d.sources.grouped import GroupedReader

log = logging.getLogger(__name__)


def stride(text):
    """An argparse type: frames, or seconds with an s behind them."""
    try:
        if text.endswith('s'):
            return Stride(seconds=flag_types.number(text[:-1]))
        return Stride(frames=flag_types.integer(1)(text))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f'{text!r} is neither frames, such as 8, nor seconds, such as 0.5s'
        ) from None


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
        stride,
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
# These decide nothing in the output; the rest has to be the same for a run to be continued. What
# the paths of the clips and the weights lead to is compared instead of the paths.
FREE = {
    'output_path', 'overwrite', 'if_different', 'stats', 'max_failures', 'display_iter',
    'num_decode_threads', 'list_blobs', 'load_model_path', 'test_data', 'videos', 'given', 'engine',
    'engine_cache',
}  # fmt: skip


OF_DATABASES = {
    'clip_per_video', 'clip_start_positions', 'decode_type', 'get_video_id', 'use_local_file',
}  # fmt: skip


def main():
    args = flags.parse(__doc__, *GROUPS, **DEFAULTS)
    model = from_flags.take_onnx(args)
    refuse_unread(args)
    network = from_flags.network(args)
    if args.list_blobs:
        return list_blobs(network, model)
    features = wanted(args)
    columns = extract.columns(network, features)
    check(args, features, model)
    devices = from_flags.devices(args)
    settings = extract.ExtractionSettings(
        batch_size=args.batch_size * len(devices.ids),
        threads=args.num_decode_threads,
        sanity_check=args.sanity_check,
        display_iter=args.display_iter,
    )
    output = FeatureOutput(output_path(args), is_folder=args.output_format == 'npy')
    with contextlib.ExitStack() as stack:
        # First what is refused at once; reading the records can take long.
        engine = stack.enter_context(engine_of(args, network, model, network_blobs(features)))
        source = stack.enter_context(open_source(args, settings.batch_size, features))
        output.check(columns, len(source) * source.settings.rows)
        arguments = arguments_of(args, features, source, engine, devices)
        replace = args.if_different == 'replace' and output.differs(arguments)
        totals = output.finished(arguments, overwrite=args.overwrite or replace)
        if totals:
            log.info('%s is complete already; --overwrite=1 begins again', output.path)
        else:
            store = stack.enter_context(store_of(output, columns, source, settings, arguments))
            fill(args, engine, source, store, settings)
            totals = output.finish(store, arguments)
    return report(args, output, columns, totals)


def list_blobs(network, model):
    print(f'{"blob":<32} {"of a clip":>18} {"numbers":>10}')
    for name, shape in extract.blob_shapes(network).items():
        if model and name not in (*extract.INPUTS, *model.outputs):
            continue  # the file does not give it
        print(f'{name:<32} {"x".join(map(str, shape)) or "-":>18} {math.prod(shape):>10}')


def wanted(args):
    """The blobs to extract, in order."""
    features = [name.strip() for name in args.features.split(',') if name.strip()]
    if args.get_start_frame and 'start_frame' not in features:
        features.append('start_frame')
    return features


def check(args, features, model):
    """Refuse, before anything is read, what could not work."""
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
    if args.sanity_check and not {'softmax', 'label'} <= set(features):
        raise InputError(
            f'sanity_check=1 needs softmax and label among features, which is {args.features}'
        )
    if network_blobs(features) and args.load_model_path is None:
        raise InputError('load_model_path is not given; the network needs its weights')
    if model:
        from r2plus1d.weights import onnx_file

        onnx_file.require_outputs(model, network_blobs(features))


def network_blobs(features):
    """Those of the blobs that the network makes."""
    return [name for name in features if name not in extract.INPUTS]


def output_path(args):
    name = 'features.pickle' if args.output_format == 'pickle' else 'features'
    beside = args.test_data.resolve().parent if args.test_data else pathlib.Path()
    return args.output_path or beside / name


def open_source(args, batch_size, features):
    limit = None if args.num_iterations < 0 else args.num_iterations * batch_size
    if args.videos:
        settings = from_flags.clip_settings(args, decode_type='frame', clips=1)
        step = args.stride or Stride(frames=settings.required)
        return VideoFiles(
            find_videos(args.videos), settings, step, threads=args.num_decode_threads, limit=limit
        )
    needs = from_flags.record_needs(args)
    if 'video_id' in features:
        needs = dataclasses.replace(needs, video_id=True)
    if not args.sanity_check and not args.multi_label:
        needs = dataclasses.replace(needs, num_labels=None)  # other classes than the weights'
    return GroupedReader(args.test_data, from_flags.clip_settings(args), needs, limit=limit)


@contextlib.contextmanager
def engine_of(args, network, model, outputs):
    """Give the engine with its weights, None if nothing of the network is asked for."""
    if not outputs:
        yield None
        return
    loaded = from_flags.load_weights(args, network, model)
    is_onnx = model is not None
    with from_flags.engine(args, network, outputs, from_onnx=is_onnx) as engine:
        engine.load(loaded)
        yield engine


def arguments_of(args, features, source, engine, devices):
    """All that decides what the output becomes, as plain data."""
    arguments = {
        name: value if isinstance(value, (int, float, str, list)) else str(value)
        for name, value in vars(args).items()
        if name not in FREE and value is not None
    }
    arguments.update(features=','.join(features), gpus=str(devices))
    arguments['test_data' if args.test_data else 'videos'] = source.identity
    if engine:
        digest = hashlib.sha256(args.load_model_path.read_bytes()).hexdigest()
        arguments['load_model_path'] = f'sha256 {digest[:16]}'
        arguments['engine'] = engine.name
    return arguments


def store_of(output, columns, source, settings, arguments):
    store = Store(
        output.partial,
        columns,
        num_records=len(source),
        rows=source.settings.rows,
        batch=settings.batch_size,
        arguments=arguments,
    )
    if store.done:
        log.info('%s: %d of %d records are done', output.partial, store.done, len(source))
    return store


def fill(args, engine, source, store, settings):
    """Fill the store; an interruption says how to go on."""
    if engine:
        log.info('%s, %s in %s', engine.network.name, engine.name, engine.precision)
    try:
        work = extract.extract(source, engine, store, settings)
    except KeyboardInterrupt:
        log.info(
            '%d of %d records are in %s; the same command %s',
            store.done, len(source), store.folder,
            'begins again' if args.overwrite else 'continues',
        )  # fmt: skip
        raise
    if args.stats:
        print(f'frames decoded: {work.decoded}, converted: {work.converted}, flows: {work.flows}')


def report(args, output, columns, totals):
    """Print what there is and return the exit status."""
    good = totals.records - totals.failed
    print(f'records: {totals.records}, extracted: {good}, failed: {totals.failed}')
    for name, column in columns.items():
        shape = 'x'.join(map(str, (totals.rows, *column.shape)))
        print(f'{name}: {column.dtype}, {shape}')
    if totals.right is not None:
        print(f'Clip accuracy: {totals.right / totals.rows:.5f}')
    print(output.path)
    if totals.failed:
        log.warning('%d failed, listed in %s', totals.failed, output.beside('failures.csv'))
    return TOO_MANY_FAILURES if totals.failed > args.max_failures else 0


if __name__ == '__main__':
    run(main)
