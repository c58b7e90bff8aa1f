"""What an .onnx file says and holds, as plain data; the package onnx is not needed for it."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Optional, Union

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks import folding
from r2plus1d.networks.cost import parameter_shapes
from r2plus1d.networks.folding import Plan
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.weights.match import match_parameters


@dataclasses.dataclass(frozen=True)
class OnnxModel:
    """An ONNX file that `weights.onnx_file.export` made.

    Attributes:
        path: of the file.
        network: which one it holds.
        input: what the network is to be given, None if the file does not say.
        outputs: names of the blobs that it gives.
        class_names: num_labels texts, or None.
        batch_norm_folded: whether convolutions have taken in their batch norms.
        is_int8: whether its convolutions compute in 8 bits.
        metadata: {key: text}, all that the file says of itself.
        plan: what it computes.
        values: {name: array}, one for each of `plan.initializers`.
    """

    path: pathlib.Path
    network: Network
    input: Optional[Input]
    outputs: tuple[str, ...]
    class_names: Optional[tuple[str, ...]]
    batch_norm_folded: bool
    is_int8: bool
    metadata: dict[str, str]
    plan: Plan = dataclasses.field(repr=False)
    values: dict[str, np.ndarray] = dataclasses.field(repr=False)


Source = Union[Mapping[str, np.ndarray], OnnxModel]


def plan_of(
    network: Network, source: Source, outputs: Sequence[str]
) -> tuple[Plan, dict[str, np.ndarray]]:
    """Return what gives the blobs `outputs` of `network`, in their order, and its arrays.

    Args:
        source: parameters {blob: array} as match_parameters returns, whose batch norms are folded
            here; or an OnnxModel of the network.

    Returns:
        (Plan, {name: array of each of its initializers}).

    Raises:
        InputError: parameters that do not fit, an output that the network does not have, or that
            the file does not give.
    """
    if isinstance(source, OnnxModel):
        assert source.network == network, source.network
        require_outputs(source, outputs)
        plan = folding.narrow(source.plan, outputs)
        return plan, {name: source.values[name] for name in plan.initializers}
    plan = folding.plan(network, tuple(outputs), fold_batch_norm=True)
    fitted = match_parameters(source, parameter_shapes(network), source='parameters')
    return plan, folding.initial_values(plan, fitted)


def require_outputs(model: OnnxModel, outputs: Sequence[str]) -> None:
    """Raise InputError unless the file of an OnnxModel gives the blobs `outputs`."""
    missing = [name for name in outputs if name not in model.outputs]
    if missing:
        raise InputError(
            f'{model.path} gives {", ".join(model.outputs)}, not {", ".join(missing)}; '
            f'tools/{"quantize" if model.is_int8 else "export_onnx"}.py --features=... makes one '
            'that does'
        )


def require_precision(source: Source, precision: str) -> None:
    """Raise InputError unless `source` computes in 8 bits just when that is asked for."""
    is_int8 = isinstance(source, OnnxModel) and source.is_int8
    if isinstance(source, OnnxModel) and is_int8 and precision != 'int8':
        raise InputError(f'precision is {precision}, and {source.path} computes in int8')
    if precision == 'int8' and not is_int8:
        raise InputError('precision is int8, which needs an .onnx file that tools/quantize.py made')
