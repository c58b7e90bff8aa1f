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
import pathlib

from r2plus1d.cli import command_line, flag_types, flags, from_flags, weight_flags
from r2plus1d.cli.extraction_output import print_shard, report
from r2plus1d.cli.from_extraction_flags import PER_VIDEO, method, open_extraction
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.cli.sharding import has_ray, is_sharded
from r2plus1d.cluster.actor import Counts, Worker
from r2plus1d.cluster.run import become_actor, settle, shards_done
from r2plus1d.datasets.video_files import SUFFIXES
from r2plus1d.features.describe import describe
from r2plus1d.features.job import describe_blobs
from r2plus1d.features.per_video import POOLS
from r2plus1d.results.shards import engine_arguments

PROGRAM = 'extract_features'

EXTRACTION = {
    'features': (str, 'final_avg', 'blobs between commas, also label, video_id, start_frame, data'),
    'output_path': (
        flag_types.written,
        None,
        'features.pickle beside test_data, or here with videos, when left out',
    ),
    'output_format': (
        flag_types.one_of('pickle', 'npy', 'parquet', PER_VIDEO),
        'pickle',
        'a file for all, a folder of .npy files, a table, or with videos files for each video',
    ),
    'pool': (
        flag_types.one_of(*POOLS),
        'none',
        f'what is taken over the clips of a video, with {PER_VIDEO}',
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
    'describe': (flag_types.bit, False, '1: print how the features are made, for a paper, and end'),
    'labels': (
        pathlib.Path,
        None,
        f'{flags.LABELS}; for the best class of each clip in rows.csv, where features has softmax; '
        'those of the weights if left out',
    ),
    'stats': (flag_types.bit, False, '1: print how many frames were decoded and converted'),
    'max_failures': (flag_types.integer(0), 0, 'exit status 3 if more records fail'),
    'display_iter': (flag_types.integer(1), 10, 'batches between two lines of progress in a log'),
}
GROUPS = (
    EXTRACTION,
    flags.SHARDS,
    flags.RAY,
    flags.COPY,
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


def main():
    args = command_line.parse(__doc__, *GROUPS, **DEFAULTS)
    stored = weight_flags.take_weights(args)
    refuse_unread(args)
    network = from_flags.network(args)
    if args.list_blobs:
        print(*describe_blobs(network, stored and stored.onnx and stored.onnx.outputs), sep='\n')
        return 0
    if args.describe:
        print(describe(method(args, network, stored)))
        return 0
    settle(args)
    with open_extraction(args, network, stored) as extraction:
        outcome = extract(args, extraction)
    if outcome is None:
        return TOO_MANY_FAILURES if has_ray(args) else 0
    return report(outcome, args)


def extract(args, extraction):
    """Extract everything, one shard, or merge; None where shards are not done."""
    if args.merge:
        return extraction.merge()
    if not is_sharded(args):
        return extraction.run()
    known = extraction.known()
    if known:
        return known
    if has_ray(args):
        return extract_on_cluster(args, extraction)
    print_shard(extraction.run_shard(args.shard), args)
    return extraction.merge(after=args.shard)


def extract_on_cluster(args, extraction):
    """Do all shards and merge them; None if some were given up."""
    with shards_done(
        args, PROGRAM, extraction.job.output.path, arguments=extraction.arguments,
        records=extraction.records, replace=extraction.job.replace_different,
    ) as are_done:  # fmt: skip
        return extraction.merge() if are_done else None


@contextlib.contextmanager
def open_worker(words):
    """Give the Worker of an actor of Ray, for the driver's command line."""
    args = command_line.parse(__doc__, *GROUPS, argv=words, **DEFAULTS)
    if args.output_format != PER_VIDEO:
        args.overwrite = False  # the driver has removed the shards
    become_actor(args)
    stored = weight_flags.take_weights(args)
    with open_extraction(args, from_flags.network(args), stored) as extraction:

        def run_shard(shard):
            outcome = extraction.run_shard(shard)
            return Counts(outcome.records, outcome.failed)

        yield Worker(engine_arguments(extraction.arguments), run_shard)


if __name__ == '__main__':
    run(main)
