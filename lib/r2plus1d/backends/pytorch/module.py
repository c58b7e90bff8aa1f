"""A network's Plan as a PyTorch module. Imports PyTorch: choose.require says whether it can be."""

from collections.abc import Mapping
from typing import Callable, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from r2plus1d.errors import InputError
from r2plus1d.networks.folding import Plan

# Their output is memory that nothing else refers to, so that a Relu behind can work in place.
MAKE_NEW_MEMORY = ('Conv', 'SpatialBN', 'Sum')
VOLUME = 5  # dimensions of a convolution's weights


class Step(NamedTuple):
    """One operator, and the values that no later one reads."""

    function: Callable[..., torch.Tensor]
    inputs: tuple[str, ...]
    output: str
    last_used: tuple[str, ...]


class PlanModule(torch.nn.Module):
    """Computes the outputs of a Plan.

    Convolutions and what lies between them work in `dtype`. Average pools and fully connected
    layers, and all that follows them, work in float32: their sums are long and cost very little.

    Args:
        plan: its nodes read `data` and the arrays of its initializers.
        values: {name: array}, one for each initializer; they are copied.
        dtype: torch.float32, bfloat16 or float16.

    Raises:
        InputError: an operator that is not known here.
    """

    def __init__(
        self,
        plan: Plan,
        values: Mapping[str, np.ndarray],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self._outputs = list(plan.outputs)
        self._names = list(plan.initializers)
        of_convs = {name for node in plan.nodes if node.kind == 'Conv' for name in node.parameters}
        for name in self._names:
            self._keep(values[name], dtype if name in of_convs else torch.float32)
        makers = {node.output: node.kind for node in plan.nodes}
        last_used = _last_used(plan.nodes, self._outputs)
        self._steps = [
            _step(node, names, makers, dtype) for node, names in zip(plan.nodes, last_used)
        ]

    def forward(self, data: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return {output: float32 tensor of N rows} for `data`, a tensor N x C x T x H x W."""
        values = dict(zip(self._names, self.buffers()), data=data)
        for step in self._steps:
            inputs = [values[name] for name in step.inputs]
            values[step.output] = step.function(*inputs)
            del inputs
            for name in step.last_used:
                del values[name]
        return {name: values[name].float() for name in self._outputs}

    def _keep(self, array, dtype):
        """Register an array as the next buffer, in the order of `_names`."""
        tensor = torch.from_numpy(np.array(array)).to(dtype)
        if tensor.dim() == VOLUME:
            tensor = tensor.contiguous(memory_format=torch.channels_last_3d)
        # A number, not the array's name, in which PyTorch allows no dots
        self.register_buffer(f'weight_{len(self._buffers)}', tensor)


def _last_used(nodes, kept):
    """For each node the values that no later one reads and that are not `kept`."""
    seen, last_used = set(kept), []
    for node in reversed(nodes):
        last_used.append(tuple(sorted(set(node.inputs) - seen)))
        seen.update(node.inputs)
    return last_used[::-1]


def _step(node, last_used, makers, dtype):
    """Return the Step that computes `node`."""
    if node.kind not in OPERATORS:
        raise InputError(
            f'{node.output} is made by the operator {node.kind}; engine torch knows '
            f'{", ".join(sorted(OPERATORS))}'
        )
    function = OPERATORS[node.kind](node, dtype)
    if node.kind == 'Relu' and last_used and makers.get(node.inputs[0]) in MAKE_NEW_MEMORY:
        function = torch.relu_
    return Step(function, (*node.inputs, *node.parameters), node.output, last_used)


def _conv(node, dtype):
    _, stride, pad = node.window
    return lambda data, weight, bias=None: functional.conv3d(
        data.to(dtype), weight, bias, stride, pad
    )


def _batch_norm(node, dtype):
    return lambda data, scale, shift, mean, variance: functional.batch_norm(
        data, mean, variance, scale, shift, eps=node.epsilon
    )


def _average_pool(node, dtype):
    return lambda data: functional.avg_pool3d(data.float(), *node.window, count_include_pad=False)


def _max_pool(node, dtype):
    return lambda data: functional.max_pool3d(data, *node.window)


def _always(function):
    """An operator without settings."""
    return lambda node, dtype: function


def _fc(data, weight, bias):
    return functional.linear(data.flatten(1).float(), weight, bias)


# Caffe2's operator -> from a Node and the dtype of convolutions to a function of tensors.
OPERATORS: dict[str, Callable] = {
    'Conv': _conv,
    'SpatialBN': _batch_norm,
    'Relu': _always(torch.relu),
    'Sum': _always(torch.add),
    'AveragePool': _average_pool,
    'MaxPool': _max_pool,
    'FC': _always(_fc),
    'Dropout': _always(lambda data: data),  # only training drops anything
    'SoftmaxWithLoss': _always(lambda data: torch.softmax(data, 1)),
    'ElementwiseLinear': _always(lambda data, scale, shift: data * scale + shift),
    'Sigmoid': _always(torch.sigmoid),
}
