r"""Weights of one kind of file as another kind: Caffe2, PyTorch, safetensors, ONNX, or a folder.

Example:
    .venv/bin/python tools/convert_weights.py \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl \
        --save_model_path=sample.pth
"""

import _start  # noqa: F401

# isort: split

import pathlib

from r2plus1d.cli import command_line, flag_types, flags
from r2plus1d.cli.main import run
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.complete import require_new
from r2plus1d.weights.convert import convert
from r2plus1d.weights.model_folder import require_free

OPTIONS = {
    'load_model_path': (
        pathlib.Path,
        flags.REQUIRED,
        'weights: .pkl, .mdl, .pth, .safetensors, .onnx, a folder, or a published name',
    ),
    'save_model_path': (
        flag_types.written,
        flags.REQUIRED,
        'what to write, by its ending: .pkl, .mdl, .pth, .safetensors, .onnx; none: a folder',
    ),
    'clip_length': (flag_types.integer(1), None, 'frames of a clip, if the weights do not say'),
    'bn_epsilon': (flag_types.number, None, 'of batch norms, if the weights do not say'),
    'num_labels': (flag_types.integer(1), None, 'if several layers of the weights may be the last'),
    'use_pool1': (flag_types.bit, None, '1 or 0, if the weights of an ir-csn or ip-csn do not say'),
    'labels': (pathlib.Path, None, f'{flags.LABELS}; kept in the file'),
    'overwrite': (
        flag_types.bit,
        False,
        '1: replace the file that is there; a folder is never replaced',
    ),
}


def main():
    args = command_line.parse(__doc__, OPTIONS, positional=('load_model_path', 'save_model_path'))
    target = args.save_model_path
    if target.suffix:
        require_new(target, args.overwrite)
    else:
        require_free(target)
    chosen = {'num_labels': args.num_labels, 'use_pool1': args.use_pool1}
    made = convert(
        args.load_model_path,
        target,
        length=args.clip_length,
        bn_epsilon=args.bn_epsilon,
        class_names=args.labels and read_class_names(args.labels, None),
        given={name: value for name, value in chosen.items() if value is not None},
    )
    network = made.network
    print(f'{network.architecture}, depth {network.depth}: {made.arrays} arrays in {target}')
    if not made.has_length:
        print('how long its clips are is not known; --clip_length keeps it in the file')


if __name__ == '__main__':
    run(main)
