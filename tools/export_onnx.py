"""A network with its weights as an ONNX file, which says what the network is to be given."""

from r2plus1d import cli, from_options, options
from r2plus1d.engines import require_onnx
from r2plus1d.evaluation.files import read_class_names
from r2plus1d.models import weights

EXPORT = {'fold_batch_norm': (options.bit, True, '1: convolutions take in their batch norms')}


def main():
    require_onnx()
    from r2plus1d.engines import onnx, onnx_output

    groups = (options.WEIGHTS, options.NETWORK, onnx_output.CLIPS, EXPORT, options.ONNX)
    args = options.parse(__doc__, *groups)
    network, path = from_options.network(args), onnx_output.path_of(args)
    outputs = onnx_output.wanted(args, network)
    names = read_class_names(args.labels, args.num_labels)
    metadata = onnx_output.described(args, network, names)
    parameters = weights.load(args.load_model_path, args.db_type, network)
    model = onnx.export(
        network, parameters, outputs, fold_batch_norm=args.fold_batch_norm, metadata=metadata
    )
    onnx.save(model, path)
    print(*onnx_output.summary(path, network, model), sep='\n')


if __name__ == '__main__':
    cli.run(main)
