r"""Video accuracy of two networks together, from a folder of feature files of each.

Example:
    .venv/bin/python tools/dense_prediction_fusion.py \
        --input_dir1=output/sample_rgb \
        --input_dir2=output/sample_of --file_count=2
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.cli.places import require_plot
from r2plus1d.cli.report_output import (
    REPORT,
    VIDEOS,
    describe_features,
    require_report,
    save_report,
    tally_of,
)
from r2plus1d.errors import InputError
from r2plus1d.evaluation import fusion
from r2plus1d.evaluation.predictions import require_names, write_predictions
from r2plus1d.evaluation.video_sums import VideoSums
from r2plus1d.features import read
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.complete import require_place

log = logging.getLogger(__name__)

LISTED_VIDEOS = 20


FUSION = {
    'input_dir1': (pathlib.Path, flags.REQUIRED, 'folder of feature files of one network'),
    'input_dir2': (pathlib.Path, flags.REQUIRED, 'folder of feature files of the other'),
    'file_count': (flag_types.integer(1), 10, 'files of each: names end in _1.pkl to _N.pkl'),
    'alpha': (flag_types.alphas, '0.5', 'weight of the first; several between commas, or sweep'),
    'plot': (flag_types.written, None, 'PNG of the accuracies over several alphas'),
    'output': (flag_types.written, None, 'CSV of predictions, one row a video, of the best alpha'),
    'top_k': (flag_types.integer(1), 5, 'classes of a video in the output'),
    'labels': (pathlib.Path, None, f'{flags.LABELS}; for the output and the report'),
}


def main():
    args = command_line.parse(__doc__, FUSION, REPORT, VIDEOS)
    folders = args.input_dir1, args.input_dir2
    require_place(args.output)
    require_plot(args.plot)
    require_report(args.report)
    require_names(args.labels)
    if args.plot and len(args.alpha) == 1:
        raise InputError(f'alpha is {args.alpha[0]:g} alone; a plot needs several, or sweep')
    files = [read.find_numbered(folder, args.file_count) for folder in folders]
    for folder, numbered in zip(folders, files):
        report_absent(folder, numbered, args.file_count)
    sides = fusion.match(*[summed(numbered.values()) for numbered in files], folders)
    report_videos(sides, folders)
    best = report_accuracies(sides, args)
    names = read_class_names(args.labels, sides.first['sums'].shape[1])
    if args.output:
        write_predictions(args.output, sides.fuse(best), top_k=args.top_k, class_names=names)
        log.info('%s has the predictions of alpha %g', args.output, best)
    if args.report:
        paths = [path for numbered in files for path in numbered.values()]
        save_report(
            args, tally_of(args, sides.fuse(best)), class_names=names, failures_known=False,
            title=f'{folders[0]} and {folders[1]}, alpha {best:g}',
            details=describe_features(paths),
        )  # fmt: skip


def summed(paths):
    sums = VideoSums()
    for path in paths:
        sums.add(read.read_features(path))
    return sums


def report_absent(folder, numbered, file_count):
    absent = [f'_{n}' for n in range(1, file_count + 1) if n not in numbered]
    if absent:
        log.warning('%s has no feature file ending in %s', folder, ', '.join(absent))


def report_videos(sides, folders):
    only = sides.only_first, sides.only_second
    counts = [f'{len(ids)} only in {folder}' for ids, folder in zip(only, folders)]
    print(f'videos: {len(sides.first)} fused, {", ".join(counts)}')
    for ids, folder in zip(only, folders):
        if len(ids):
            listed = ', '.join(map(str, ids[:LISTED_VIDEOS]))
            more = len(ids) - LISTED_VIDEOS
            rest = f' and {more} more' if more > 0 else ''
            log.warning('videos only in %s: %s%s', folder, listed, rest)


def report_accuracies(sides, args):
    """Print the accuracy with each alpha and draw them; return the best alpha."""
    shares = {}
    for alpha in args.alpha:
        scores = sides.fuse(alpha)
        shares[alpha] = scores.shares
        print(f'Alpha {alpha:g}: {scores}')
    best = fusion.best(shares)
    if len(shares) > 1:
        print(f'Best: alpha {best:g}, {sides.fuse(best)}')
    if args.plot:
        from r2plus1d.pictures.plots import plot_alphas  # needs matplotlib

        plot_alphas(args.plot, shares)
    return best


if __name__ == '__main__':
    run(main)
