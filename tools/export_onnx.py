r"""A network with its weights as an ONNX file, which says what the network is to be given.

Example:
    .venv/bin/python tools/export_onnx.py \
        --load_model_path=data/sample/r2plus1d_18_8_w0.125.pkl \
        --output=sample.onnx
"""

import _start  # noqa: F401

# isort: split

from r2plus1d.backends.installed import require_onnx
from r2plus1d.cli import command_line, flag_types, flags, from_flags
from r2plus1d.cli.main import run
from r2plus1d.cli.refusals import refuse_unread
from r2plus1d.results.class_names import read_class_names
from r2plus1d.results.hold import holding

EXPORT = {'fold_batch_norm': (flag_types.bit, True, '1: convolutions take in their batch norms')}


def main():
    require_onnx()
    from r2plus1d.cli import onnx_output
    from r2plus1d.weights import onnx_file

    groups = (flags.WEIGHTS, flags.NETWORK, onnx_output.CLIPS, EXPORT, flags.ONNX)
    args = command_line.parse(__doc__, *groups)
    stored = onnx_output.take_weights(args)
    refuse_unread(args)
    network, path = from_flags.network(args), onnx_output.path_of(args)
    outputs = onnx_output.wanted(args, network)
    names = read_class_names(args.labels, args.num_labels) or stored.class_names
    metadata = onnx_output.described(args, network, stored, names)
    parameters = stored.parameters(network)
    model = onnx_file.export(
        network, parameters, outputs, fold_batch_norm=args.fold_batch_norm, metadata=metadata
    )
    with holding(path):
        onnx_file.save(model, path)
    print(*onnx_output.summary(path, network, model), sep='\n')


if __name__ == '__main__':
    run(main)
