r"""What the network sees and predicts: the clips of a video database, as arrays and as pictures.

Example:
    .venv/bin/python tools/show_clips.py --test_data=data/sample/test_lmdb \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl \
        --clip_per_video=1 --sheet=output/predictions.png
"""

import _start  # noqa: F401

# isort: split

import contextlib
import logging
import pathlib

from r2plus1d.cli import command_line, flag_types, flags, from_flags, weight_flags
from r2plus1d.cli.main import TOO_MANY_FAILURES, run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.errors import InputError
from r2plus1d.pictures import contact_sheet
from r2plus1d.results.class_names import read_class_names

log = logging.getLogger(__name__)

OUTPUT = {
    'output': (
        flag_types.written,
        None,
        'npz with data (or rgb_u8), label, video_id, key, start; probabilities with weights',
    ),
    'raw': (flag_types.bit, False, '1: rgb_u8, the pixels before normalization, instead of data'),
    'sheet': (
        flag_types.written,
        None,
        'PNG with a row for each clip, under its label and prediction',
    ),
    'labels': (
        pathlib.Path,
        None,
        'class names, one a line, for the sheet; those in the weights if left out',
    ),
    'num_records': (flag_types.integer(0), 0, 'read the first records only; 0: all'),
}
GROUPS = (
    flags.DATABASE,
    flags.WEIGHTS,
    flags.NETWORK,
    flags.CLIPS,
    flags.ENGINE,
    flags.DEVICES,
    OUTPUT,
)


def main():
    args = command_line.parse(__doc__, *GROUPS, num_labels=None, load_model_path=None)
    stored = weight_flags.take_weights(args)
    refuse_unread(args)
    names = class_names(args, stored)
    clips = from_flags.clip_settings(args)
    contact_sheet.check(raw=args.raw, output=args.output, sheet=args.sheet, settings=clips)
    batch = args.batch_size * len(from_flags.devices(args).ids)
    with (
        from_flags.open_reader(args, ahead=batch, limit=args.num_records or None) as reader,
        opened_engine(args, stored) as engine,
    ):
        if args.sheet:
            contact_sheet.require_rows(len(reader) * clips.rows)
        shown = contact_sheet.collect(reader, engine, batch_size=batch)
        records = len(reader)
    if args.output:
        contact_sheet.save_arrays(args.output, shown, clips, raw=args.raw)
    if args.sheet:
        contact_sheet.save_sheet(args.sheet, shown, clips, class_names=names)
    for sample in shown.failed:
        log.warning('%s failed: %s', sample.name, sample.failure)
    print(f'videos: {records}, clips: {len(shown.keys)}, failed: {len(shown.failed)}')
    return TOO_MANY_FAILURES if shown.failed else 0


def class_names(args, stored):
    """The names of the classes, None if nothing says them."""
    if args.labels is None:
        return stored and stored.class_names
    if args.num_labels is None:
        raise InputError('labels needs num_labels=N, the number of its lines, or load_model_path')
    return read_class_names(args.labels, args.num_labels)


@contextlib.contextmanager
def opened_engine(args, stored):
    """Give an engine with the weights in it, None if there are none."""
    if stored is None:
        yield None
        return
    network = from_flags.network(args)
    weights = weight_flags.load_weights(network, stored)
    is_onnx = stored.onnx is not None
    with from_flags.engine(args, network, [network.prediction], from_onnx=is_onnx) as engine:
        log.info('%s, engine %s, %s', network.name, engine.name, engine.precision)
        engine.load(weights)
        yield engine


if __name__ == '__main__':
    run(main)
