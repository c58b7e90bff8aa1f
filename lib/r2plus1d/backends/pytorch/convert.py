"""A Model as a torch.nn.Module, for people who go on in PyTorch."""

from typing import Any

from r2plus1d.backends.installed import has
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.weights.onnx_model import plan_of


def to_module(model: Model) -> Any:
    """Return a torch.nn.Module from N x C x T x H x W, normalized float32, to {blob: tensor}.

    Raises:
        InputError: there is no PyTorch 2; the model computes in 8 bits.
    """
    if not has('torch'):
        raise InputError('to_torch needs PyTorch 2, which is not installed here')
    if model.onnx is not None and model.onnx.is_int8:
        raise InputError(f'{model.onnx.path} computes in 8 bits, which PyTorch does not run')
    from r2plus1d.backends.pytorch.module import PlanModule

    network = model.network
    blobs = (network.prediction, network.logits, 'fc7' if network.is_c3d else 'final_avg')
    outputs = blobs if model.onnx is None else model.onnx.outputs
    return PlanModule(*plan_of(network, model.onnx or model.parameters, outputs)).eval()
