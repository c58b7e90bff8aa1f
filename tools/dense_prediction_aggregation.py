r"""Clip and video accuracy of the feature files in a folder, over any number of clips per video.

Example:
    .venv/bin/python tools/dense_prediction_aggregation.py \
        --input_dir=output/sample_rgb
"""

import _start  # noqa: F401

# isort: split

import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.cli.report_output import (
    REPORT,
    VIDEOS,
    describe_features,
    require_report,
    save_report,
    tally_of,
)
from r2plus1d.evaluation.predictions import require_names, write_predictions
from r2plus1d.evaluation.video_sums import VideoSums
from r2plus1d.features import read
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.complete import require_place

AGGREGATION = {
    'input_dir': (
        pathlib.Path,
        flags.REQUIRED,
        f'folder of feature files: {read.LOOKED_FOR}',
    ),
    'output_clip_accuracy': (flag_types.bit, True, '0: leave the clip accuracy out'),
    'max_clip': (flag_types.integer(0), 0, 'clips of a video in its sum, the first met; 0: all'),
    'output': (flag_types.written, None, 'CSV of predictions, one row a video'),
    'top_k': (flag_types.integer(1), 5, 'classes of a video in the output'),
    'labels': (pathlib.Path, None, f'{flags.LABELS}; for the output and the report'),
}


def main():
    args = command_line.parse(__doc__, AGGREGATION, REPORT, VIDEOS)
    require_place(args.output)
    require_report(args.report)
    require_names(args.labels)
    paths = read.find(args.input_dir)
    sums = VideoSums()
    for path in paths:
        add(sums, path, args)
    print(f'Accuracy: {accuracy(sums, args)}')
    print(f'videos: {len(sums)}, clips: {sums.clips}, files: {len(paths)}')
    names = read_class_names(args.labels, sums.num_labels)
    if args.output:
        write_predictions(args.output, sums.scores(), top_k=args.top_k, class_names=names)
    if args.report:
        save_report(
            args, tally_of(args, sums.scores()), class_names=names, failures_known=False,
            title=f'Clips of {args.input_dir}', details=describe_features(paths),
        )  # fmt: skip


def add(sums, path, args):
    """Add the file at `path` and print its own accuracy."""
    file = read.read_features(path)
    sums.add(file, args.max_clip)
    alone = VideoSums()
    alone.add(file, args.max_clip)
    print(f'{path} has an accuracy of {accuracy(alone, args)}', flush=True)


def accuracy(sums, args):
    clip = f'clip {sums.clip_accuracy:.5f}, ' if args.output_clip_accuracy else ''
    return f'{clip}{sums.scores()}'


if __name__ == '__main__':
    run(main)
