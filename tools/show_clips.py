r"""What the network sees: the clips of a video database as arrays and as a sheet of pictures.

Example:
    .venv/bin/python tools/show_clips.py --test_data=data/sample/test_lmdb \
        --clip_length_rgb=8 --clip_per_video=1 --sheet=output/sample.png
"""

import _start  # noqa: F401

# isort: split

import logging
import pathlib

from r2plus1d.cli import flag_types, flags, from_flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.pictures import contact_sheet

log = logging.getLogger(__name__)

OUTPUT = {
    'output': (pathlib.Path, None, 'npz with data (or rgb_u8), label, video_id, key'),
    'raw': (flag_types.bit, False, '1: rgb_u8, the pixels before normalization, instead of data'),
    'sheet': (pathlib.Path, None, 'PNG with a row for each clip'),
    'num_records': (flag_types.integer(0), 0, 'read the first records only; 0: all'),
}


def main():
    groups = (flags.DATABASE, flags.NETWORK, flags.CLIPS, OUTPUT)
    args = flags.parse(__doc__, *groups, num_labels=None)
    clips = from_flags.clip_settings(args)
    contact_sheet.check(raw=args.raw, output=args.output, sheet=args.sheet, settings=clips)
    with from_flags.open_reader(args, ahead=0, limit=args.num_records or None) as reader:
        shown = contact_sheet.collect(reader)
        records = len(reader)
    if args.output:
        contact_sheet.save_arrays(args.output, shown, clips, raw=args.raw)
    if args.sheet:
        contact_sheet.save_sheet(args.sheet, shown, clips)
    for sample in shown.failed:
        log.warning('%s failed: %s', sample.name, sample.failure)
    print(f'videos: {records}, clips: {len(shown.keys)}, failed: {len(shown.failed)}')
    return TOO_MANY_FAILURES if shown.failed else 0


if __name__ == '__main__':
    run(main)
