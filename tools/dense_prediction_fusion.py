"""Video accuracy of two networks together, from a folder of feature files of each."""

import argparse
import logging
import pathlib

from r2plus1d.cli import flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.errors import InputError
from r2plus1d.evaluation import fusion
from r2plus1d.evaluation.predictions import require_names, require_place, write_predictions
from r2plus1d.evaluation.video_sums import VideoSums
from r2plus1d.features import read
from r2plus1d.results.class_names import read_class_names

log = logging.getLogger(__name__)

LISTED_VIDEOS = 20


def alphas(text):
    """An argparse type: numbers of 0 to 1 between commas, or `sweep`; ascending, each once."""
    if text == 'sweep':
        return fusion.SWEEP
    return tuple(sorted({_alpha(part) for part in text.split(',')}))


def _alpha(text):
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is not a number, nor sweep') from None
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not in 0 to 1')
    return value


FUSION = {
    'input_dir1': (pathlib.Path, flags.REQUIRED, 'folder of feature files of one network'),
    'input_dir2': (pathlib.Path, flags.REQUIRED, 'folder of feature files of the other'),
    'file_count': (flag_types.integer(1), 10, 'files of each: names end in _1.pkl to _N.pkl'),
    'alpha': (alphas, '0.5', 'weight of the first; several between commas, or sweep'),
    'plot': (pathlib.Path, None, 'PNG of the accuracies over several alphas'),
    'output': (pathlib.Path, None, 'CSV of predictions, one row a video, of the best alpha'),
    'top_k': (flag_types.integer(1), 5, 'classes of a video in the output'),
    'labels': (pathlib.Path, None, 'class names, one a line, for the output'),
}


def main():
    args = flags.parse(__doc__, FUSION)
    folders = args.input_dir1, args.input_dir2
    require_place(args.output)
    require_place(args.plot)
    require_names(args.labels)
    if args.plot and args.plot.suffix != '.png':
        raise InputError(f'plot is {args.plot}; its name has to end in .png')
    if args.plot and len(args.alpha) == 1:
        raise InputError(f'alpha is {args.alpha[0]:g} alone; a plot needs several, or sweep')
    files = [read.find_numbered(folder, args.file_count) for folder in folders]
    for folder, numbered in zip(folders, files):
        report_absent(folder, numbered, args.file_count)
    sides = fusion.match(*[summed(numbered.values()) for numbered in files], folders)
    report_videos(sides, folders)
    best = report_accuracies(sides, args)
    if args.output:
        names = read_class_names(args.labels, sides.first['sums'].shape[1])
        write_predictions(args.output, sides.fuse(best), top_k=args.top_k, class_names=names)
        log.info('%s has the predictions of alpha %g', args.output, best)


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
        from r2plus1d.pictures.plots import plot_fusion  # matplotlib may be missing

        plot_fusion(args.plot, shares)
    return best


if __name__ == '__main__':
    run(main)
