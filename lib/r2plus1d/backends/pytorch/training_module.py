"""A network in training form as a PyTorch module, from the same graph as in inference."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import torch
from torch.nn import functional

from r2plus1d.backends.pytorch.convolution import convolve
from r2plus1d.backends.pytorch.module import MAKE_NEW_MEMORY, OPERATORS, last_used
from r2plus1d.backends.pytorch.ranks import Ranks
from r2plus1d.backends.pytorch.together import Share
from r2plus1d.networks import graph
from r2plus1d.networks.graph import Node
from r2plus1d.networks.network import Network

NEW_SHARE = 0.1  # of a batch in the running statistics; Caffe2's momentum is 1 - NEW_SHARE
DROPOUT_RATIO = 0.5
LOSSES = ('SoftmaxWithLoss', 'Sigmoid')  # the operators in whose place a loss is computed


class TrainingModule(torch.nn.Module):
    """Computes the loss of a batch, with batch statistics and dropout.

    Convolutions and what lies between them work in `dtype`, the parameters stay float32. Average
    pools, fully connected layers and the loss work in float32.

    Args:
        network: the Network.
        parameters: {blob: float32 array}, complete; they are copied.
        dtype: torch.float32 or torch.bfloat16.
        frozen: names of trained parameters that stay as they are. A batch norm whose scale is
            frozen normalizes with its running statistics, which stay as well.
        ranks: the processes over which batch norms take their statistics, or None: each process
            and each call has its own.

    Attributes:
        trained: {blob: Parameter}, without the frozen ones.
    """

    def __init__(
        self,
        network: Network,
        parameters: Mapping[str, np.ndarray],
        *,
        dtype: torch.dtype = torch.float32,
        frozen: Collection[str] = (),
        ranks: Optional[Ranks] = None,
    ) -> None:
        super().__init__()
        traced = graph.trace(network)
        self.network, self._dtype, self._ranks = network, dtype, ranks
        self._nodes = traced.nodes
        self._last_used = last_used(traced.nodes, ())
        self._makers = {node.output: node.kind for node in traced.nodes}
        self._places: dict[str, str] = {}
        for name in traced.parameters:
            self._register(name, parameters[name], name in traced.trained, frozen)
        self.trained = {name: t for name, t in self._tensors() if t.requires_grad}

    def _register(self, name, array, is_trained, frozen):
        tensor = torch.from_numpy(np.array(array, np.float32))
        # A number, not the blob's name, in which PyTorch allows no dots
        place = self._places[name] = f'blob_{len(self._places)}'
        if is_trained and name not in frozen:
            self.register_parameter(place, torch.nn.Parameter(tensor))
        else:
            self.register_buffer(place, tensor)

    def _tensors(self) -> Iterator[tuple[str, Any]]:
        return ((name, getattr(self, place)) for name, place in self._places.items())

    def blobs(self) -> dict[str, np.ndarray]:
        """Return a copy of all parameters and running statistics, {blob: float32 array}."""
        return {name: t.detach().cpu().numpy().copy() for name, t in self._tensors()}

    @torch.no_grad()
    def set_blobs(self, blobs: Mapping[str, np.ndarray]) -> None:
        """Take the values of {blob: array}, complete."""
        for name, tensor in self._tensors():
            tensor.copy_(torch.from_numpy(np.array(blobs[name], np.float32)))

    def mask_shapes(self, clips: int) -> list[tuple[int, ...]]:
        """Return the shapes of the masks that `forward` takes, one for each dropout."""
        shapes = graph.trace(self.network).shapes
        return [(clips, *shapes[n.output]) for n in self._nodes if n.kind == 'Dropout']

    def forward(
        self,
        data: torch.Tensor,
        label: torch.Tensor,
        masks: Sequence[torch.Tensor],
        keeps_statistics: bool = True,
        share: Optional[Share] = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (mean loss, logits N x C) of a batch.

        Args:
            data: float32 N x C x T x H x W.
            label: int64 (N,), or float32 0/1 (N, C).
            masks: for each dropout a boolean tensor, true for what is kept.
            keeps_statistics: whether the batch goes into the running statistics.
            share: what these clips are of a batch that several threads compute, if so.
        """
        values = dict(self._tensors())
        values['data'] = data.contiguous(memory_format=torch.channels_last_3d)
        remaining = iter(masks)
        for node, unused in zip(self._nodes, self._last_used):
            inputs = [values[name] for name in (*node.inputs, *node.parameters)]
            if node.kind in LOSSES:
                return self._loss(inputs[0], label), inputs[0]
            if node.kind == 'Dropout':
                inputs.append(next(remaining))
            values[node.output] = self._run(node, inputs, keeps_statistics, share)
            del inputs
            for name in unused:
                del values[name]
        raise AssertionError(f'{self.network.name} has no loss')

    def _run(
        self,
        node: Node,
        inputs: list[torch.Tensor],
        keeps_statistics: bool,
        share: Optional[Share],
    ) -> Any:
        if node.kind == 'Conv':
            data, weight, *biases = (tensor.to(self._dtype) for tensor in inputs)
            assert node.window is not None
            bias = biases[0] if biases else None
            return convolve(data, weight, bias, node.window.stride, node.window.pad, node.group)
        if node.kind == 'SpatialBN':
            return self._batch_norm(node, inputs, keeps_statistics, share)
        if node.kind == 'Dropout':
            return inputs[0] * inputs[1] / (1 - DROPOUT_RATIO)
        if node.kind == 'Relu' and self._makers.get(node.inputs[0]) in MAKE_NEW_MEMORY:
            return torch.relu_(inputs[0])
        return OPERATORS[node.kind](node, self._dtype)(*inputs)

    def _batch_norm(self, node, inputs, keeps_statistics, share):
        data, scale, shift, mean, variance = inputs
        is_frozen = not scale.requires_grad
        kept = (mean, variance) if is_frozen or keeps_statistics else (None, None)
        others = share or self._ranks
        if others is not None and not is_frozen:
            return others.batch_norm(
                data, scale, shift, *kept, share=NEW_SHARE, epsilon=node.epsilon
            )
        return functional.batch_norm(
            data, *kept, scale, shift, not is_frozen, NEW_SHARE, node.epsilon
        )

    def _loss(self, logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        if self.network.multi_label:
            return functional.binary_cross_entropy_with_logits(logits, label)
        return functional.cross_entropy(logits, label)
