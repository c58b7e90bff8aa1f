r"""What is in these videos: their best classes, and those of each clip with --clips=dense.

Example:
    .venv/bin/python tools/predict.py data/sample/videos/test \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl
"""

import _start  # noqa: F401

# isort: split

import dataclasses
import logging
import pathlib

import r2plus1d
from r2plus1d.backends.choose import chosen
from r2plus1d.cli import command_line, flag_types, flags, from_flags, weight_flags
from r2plus1d.cli.main import run
from r2plus1d.cli.prediction_output import FORMATS, Lines, reasons_of, write_predictions
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.cli.sharding import is_sharded
from r2plus1d.datasets.video_files import SUFFIXES, FoundVideos, find_videos
from r2plus1d.errors import InputError, RecordError
from r2plus1d.features import job as jobs
from r2plus1d.pictures.annotate import annotated_paths
from r2plus1d.results import printed
from r2plus1d.results.arguments import of_options
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.complete import require_place
from r2plus1d.results.failures import FailureList
from r2plus1d.results.hold import holding_failures
from r2plus1d.results.shards import ShardFolder
from r2plus1d.sources.file_state import states_of
from r2plus1d.video.look import digest_of

log = logging.getLogger(__name__)

PREDICTION = {
    'videos': (
        flag_types.paths,
        flags.REQUIRED,
        f'files, folders, .txt lists of paths; in folders, files that end in {", ".join(SUFFIXES)}',
    ),
    'clips': (
        flag_types.clips,
        10,
        'clips spread over each video; dense: from its first frame to its last',
    ),
    'stride': (
        flag_types.stride,
        None,
        "with clips=dense, from one clip's first frame to the next one's: 8, or 0.5s; "
        'clips follow each other when left out',
    ),
    'num_decode_threads': flags.DATABASE['num_decode_threads'],
    'top_k': (flag_types.integer(1), 5, 'classes that are shown'),
    'aggregation': (flags.AGGREGATION, 'mean', 'over the clips of a video'),
    'labels': (pathlib.Path, None, f'{flags.LABELS}; those of the weights if left out'),
    'format': (flag_types.one_of(*FORMATS), 'table', 'of the output; a line of JSON or CSV each'),
    'annotate': (
        flag_types.written,
        None,
        'write the videos with their classes; a file for one (.mp4, .mkv, .mov), a folder for all',
    ),
    'heatmap': (flag_types.bit, False, '1: colour where the evidence for the best class is'),
    'overwrite': (
        flag_types.bit,
        False,
        '1: replace annotated videos that are there; begin a shard again',
    ),
    'output': (
        flag_types.written,
        None,
        'file that gets what is printed otherwise; shards need it',
    ),
    'failures': (
        flag_types.written,
        pathlib.Path('failures.csv'),
        'CSV of videos and clips that failed',
    ),
    'max_failures': (flag_types.integer(0), 0, 'exit status 3 if more fail'),
}
OF_DATABASES = (
    'decode_type', 'clip_per_video', 'clip_start_positions', 'random_crop', 'random_mirror', 'seed',
)  # fmt: skip
CLIPS = {name: option for name, option in flags.CLIPS.items() if name not in OF_DATABASES}
GROUPS = (
    PREDICTION, flags.SHARDS, flags.WEIGHTS, flags.NETWORK, CLIPS, flags.ENGINE, flags.DEVICES,
)  # fmt: skip
# Beside what decides nothing in extraction either.
FREE = jobs.FREE | {'output', 'failures', 'labels', 'annotate', 'heatmap', 'top_k'}


def main():
    args = command_line.parse(__doc__, *GROUPS, positional=('videos',))
    stored = weight_flags.take_weights(args)
    refuse_unread(args)
    model = from_flags.model(args, stored)
    if args.labels:
        names = read_class_names(args.labels, model.network.num_labels)
        model = dataclasses.replace(model, class_names=names)
    if model.class_names is None:
        log.info('classes are numbers: %s has no names of them; --labels gives some', stored.path)
    require_place(args.failures)
    require_place(args.output)
    videos = find_videos(args.videos)
    if is_sharded(args):
        return in_shards(args, model, stored, videos)
    targets = args.annotate and annotated_paths(args.annotate, videos, overwrite=args.overwrite)
    made = printed_of(args, model, videos, targets=targets)
    with holding_failures(args.failures), FailureList(args.failures) as failures:
        return write_predictions(args, lines_of(args, model), made, failures)


def in_shards(args, model, stored, videos):
    """Predict one shard, or put all together; the last shard does that too."""
    if args.output is None or args.annotate:
        raise InputError('shard and merge need --output, and are without --annotate')
    shards, arguments = ShardFolder(args.output), arguments_of(args, model, stored, videos)

    def make(begin, end):
        return printed_of(args, model, FoundVideos(videos[begin:end]))

    def state(begin, end):
        return states_of(videos[begin:end])

    if args.shard:
        count, failed = printed.run_shard(
            shards, args.shard, len(videos), arguments, make, state=state, overwrite=args.overwrite
        )
        print(f'shard {args.shard}: videos: {count}, failures: {failed}', flush=True)
    with shards.merging(args.shard) as is_mine:
        if not is_mine:
            return 0
        free = ('engine', 'gpus')
        found = printed.printed(shards, len(videos), arguments, state=state, free=free)
        with holding_failures(args.failures), FailureList(args.failures) as failures:
            status = write_predictions(args, lines_of(args, model), found, failures)
        shards.remove()
    return status


def arguments_of(args, model, stored, videos):
    """All that decides what is printed."""
    devices = from_flags.devices(args)
    engine = chosen(from_flags.engine_settings(args), devices, from_onnx=stored.onnx is not None)
    text = '\n'.join(map(str, [*videos, *(model.class_names or ())]))
    return {
        **of_options(vars(args), free=FREE),
        'load_model_path': stored.fingerprint,
        'top_k': args.top_k,
        'engine': engine,
        'gpus': str(devices),
        'videos': digest_of(text.encode('utf-8', 'surrogateescape')),
    }


def printed_of(args, model, videos, *, targets=None):
    """Yield (lines, [(path, reason)] of failures) of each video."""
    lines = lines_of(args, model)
    for number, prediction in enumerate(predictions_of(args, model, videos)):
        shown, reasons = [*lines.of(prediction)], [*reasons_of(prediction)]
        if targets and prediction.failure is None:
            reasons += annotated(args, model, prediction, targets[number])
        yield shown, [(prediction.path, reason) for reason in reasons]


def lines_of(args, model):
    top_k = min(args.top_k, model.network.num_labels)
    return Lines(args.format, top_k=top_k, with_clips=args.clips == 'dense')


def predictions_of(args, model, videos):
    return r2plus1d.stream_predictions(
        model,
        videos,
        clips=args.clips,
        stride=args.stride,
        top_k=args.top_k,
        aggregation=args.aggregation,
        maps=args.heatmap,
        batch_size=args.batch_size,
        devices=from_flags.devices(args),
        decode_threads=args.num_decode_threads,
        crops=args.crop_per_clip,
        use_truncated=args.use_truncated,
        budget=from_flags.budget(args),
        **vars(from_flags.engine_settings(args)),
    )


def annotated(args, model, prediction, target):
    """Write an annotated video; return the reasons for having none."""
    how = {'heatmap': args.heatmap, 'overwrite': args.overwrite}
    try:
        r2plus1d.annotate(model, prediction, target, budget=from_flags.budget(args), **how)
    except RecordError as error:
        return [f'no annotated video: {error.reason}']
    log.info('%s', target)
    return []


if __name__ == '__main__':
    run(main)
