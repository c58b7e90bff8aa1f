"""What the tools that write ONNX files share: what goes into a file, where to, and its summary."""

import argparse
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, Optional

from r2plus1d.cli import flags, from_flags, weight_flags
from r2plus1d.errors import InputError, printable
from r2plus1d.networks.network import Network
from r2plus1d.results.complete import require_new, require_writable
from r2plus1d.weights import card, onnx_file
from r2plus1d.weights.stored import Stored

SUFFIX = '.onnx'
CLIPS = {name: flags.CLIPS[name] for name in card.CLIPS if name in flags.CLIPS}


def wanted(args: argparse.Namespace, network: Network) -> list[str]:
    """The blobs that the file is to give, in order; InputError if the network has not all."""
    if args.features is None:
        outputs = [network.prediction, network.logits, 'fc7' if network.is_c3d else 'final_avg']
    else:
        outputs = [name.strip() for name in args.features.split(',') if name.strip()]
    onnx_file.require_blobs(network, outputs)
    return outputs


def take_weights(args: argparse.Namespace) -> Optional[Stored]:
    """Return what weight_flags.take_weights does; InputError for an .onnx file."""
    if args.load_model_path.suffix == SUFFIX:
        raise InputError(
            f'load_model_path is {args.load_model_path}, an .onnx file already; give the weights '
            'that it was made from'
        )
    return weight_flags.take_weights(args)


def path_of(args: argparse.Namespace, ending: str = SUFFIX) -> pathlib.Path:
    """Where to write: load_model_path with another `ending` if no output is named.

    Raises:
        InputError: that is no place for it, or there are no weights that can be exported.
    """
    output = args.output or args.load_model_path.with_name(args.load_model_path.stem + ending)
    if output.suffix != SUFFIX:
        raise InputError(f'output is {output}; its name ends in {SUFFIX}, as other tools expect')
    if output.is_dir():
        raise InputError(f'output is {output}, a folder; name a file')
    require_writable(output)
    require_new(output, args.overwrite)
    return output


def described(
    args: argparse.Namespace, network: Network, stored: Stored, class_names: Optional[Sequence[str]]
) -> dict[str, str]:
    """The metadata that options of NETWORK, CLIPS and WEIGHTS make."""
    return onnx_file.describe(
        network,
        from_flags.clip_input(args),
        class_names=class_names,
        weights_sha256=stored.sha256,
    )


def summary(path: pathlib.Path, network: Network, model: Any) -> Iterator[str]:
    """Lines that say what was written and what is inside, as they can be shown."""
    yield from map(printable, _summary(path, network, model))


def _summary(path: pathlib.Path, network: Network, model: Any) -> Iterator[str]:
    numbers = sum(math.prod(tensor.dims) for tensor in model.graph.initializer)
    yield f'{path}: {path.stat().st_size / 1e6:.1f} MB, {numbers / 1e6:.3f} million numbers'
    yield f'{network.name}, {len(model.graph.node)} operators'
    for what, values in (('takes', model.graph.input), ('gives', model.graph.output)):
        for value in values:
            sizes = value.type.tensor_type.shape.dim
            shape = ' x '.join(size.dim_param or str(size.dim_value) for size in sizes)
            yield f'{what} {value.name}: float32 {shape}'
    for entry in model.metadata_props:
        text = entry.value if len(entry.value) <= 70 else f'{entry.value[:67]}...'
        yield f'  {entry.key}: {text}'
