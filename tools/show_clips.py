"""What the network sees: the clips of a video database as arrays and as a sheet of pictures."""

import logging
import pathlib

from r2plus1d import cli, from_options, options
from r2plus1d.video import show

log = logging.getLogger(__name__)

OUTPUT = {
    'output': (pathlib.Path, None, 'npz with data (or rgb_u8), label, video_id, key'),
    'raw': (options.bit, False, '1: rgb_u8, the pixels before normalization, instead of data'),
    'sheet': (pathlib.Path, None, 'PNG with a row for each clip'),
    'num_records': (options.integer(0), 0, 'read the first records only; 0: all'),
}


def main():
    groups = (options.DATABASE, options.NETWORK, options.CLIPS, OUTPUT)
    args = options.parse(__doc__, *groups, num_labels=None)
    clips = from_options.clip_settings(args)
    show.check(raw=args.raw, output=args.output, sheet=args.sheet, settings=clips)
    with from_options.open_reader(args, ahead=0, limit=args.num_records or None) as reader:
        shown = show.collect(reader)
        records = len(reader)
    if args.output:
        show.save_arrays(args.output, shown, clips, raw=args.raw)
    if args.sheet:
        show.save_sheet(args.sheet, shown, clips)
    for sample in shown.failed:
        log.warning('%s failed: %s', sample.name, sample.failure)
    print(f'videos: {records}, clips: {len(shown.keys)}, failed: {len(shown.failed)}')
    return cli.TOO_MANY_FAILURES if shown.failed else 0


if __name__ == '__main__':
    cli.run(main)
