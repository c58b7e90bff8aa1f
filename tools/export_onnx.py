"""A network with its weights as an ONNX file, which says what the network is to be given."""

import hashlib
import math
import pathlib

from r2plus1d import cli, from_options, options
from r2plus1d.engines import require_onnx
from r2plus1d.errors import InputError
from r2plus1d.evaluation.evaluate import read_class_names
from r2plus1d.models import weights

CLIPS = {
    name: options.CLIPS[name]
    for name in (
        'scale_h', 'scale_w', 'video_res_type', 'short_edge', 'sampling_rate_rgb',
        'sampling_rate_of', 'frame_gap_of', 'do_flow_aggregation',
    )
}  # fmt: skip
EXPORT = {
    'features': (
        str,
        None,
        'blobs between commas that the file gives; the prediction, the last layer and final_avg '
        '(fc7 for c3d) when left out',
    ),
    'fold_batch_norm': (options.bit, True, '1: convolutions take in their batch norms'),
    'labels': (pathlib.Path, None, 'class names, one a line, kept in the file'),
    'output': (pathlib.Path, None, 'file to write; load_model_path with .onnx when left out'),
    'overwrite': (options.bit, False, '1: replace what is there'),
}
SUFFIX = '.onnx'


def main():
    require_onnx()
    from r2plus1d.engines import onnx

    args = options.parse(__doc__, options.WEIGHTS, options.NETWORK, CLIPS, EXPORT)
    network, output = from_options.network(args), output_path(args)
    outputs = wanted(args, network)
    onnx.require_blobs(network, outputs)
    metadata = onnx.describe(
        network,
        vars(args),
        class_names=read_class_names(args.labels, args.num_labels) if args.labels else None,
        weights_sha256=sha256(args.load_model_path),
    )
    parameters = weights.load(args.load_model_path, args.db_type, network)
    model = onnx.export(
        network, parameters, outputs, fold_batch_norm=args.fold_batch_norm, metadata=metadata
    )
    onnx.save(model, output)
    report(output, network, model)


def wanted(args, network):
    """The blobs that the file is to give, in order."""
    if args.features is None:
        return [network.prediction, network.logits, 'fc7' if network.is_c3d else 'final_avg']
    return [name.strip() for name in args.features.split(',') if name.strip()]


def output_path(args):
    """Where to write; refused before anything is read if that is no place for it."""
    weights.require_file(args.load_model_path)
    if args.load_model_path.suffix == SUFFIX:
        raise InputError(f'load_model_path is {args.load_model_path}, an .onnx file already')
    output = args.output or args.load_model_path.with_suffix(SUFFIX)
    if output.suffix != SUFFIX:
        raise InputError(f'output is {output}; its name ends in {SUFFIX}, as other tools expect')
    if not output.parent.is_dir():
        raise InputError(f'output is {output}; there is no folder {output.parent}')
    if output.is_dir():
        raise InputError(f'output is {output}, a folder; name a file')
    if output.exists() and not args.overwrite:
        raise InputError(f'{output} is there already; --overwrite=1 replaces it')
    return output


def sha256(path):
    weights.require_file(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def report(path, network, model):
    """Print what was written and what is inside."""
    numbers = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    print(f'{path}: {path.stat().st_size / 1e6:.1f} MB, {numbers / 1e6:.3f} million numbers')
    print(f'{network.name}, {len(model.graph.node)} operators')
    for what, values in (('takes', model.graph.input), ('gives', model.graph.output)):
        for value in values:
            sizes = value.type.tensor_type.shape.dim
            shape = ' x '.join(size.dim_param or str(size.dim_value) for size in sizes)
            print(f'{what} {value.name}: float32 {shape}')
    for entry in model.metadata_props:
        text = entry.value if len(entry.value) <= 70 else f'{entry.value[:67]}...'
        print(f'  {entry.key}: {text}')


if __name__ == '__main__':
    cli.run(main)
