"""A network's Plan as a PyTorch module. Imports PyTorch: choose.require says whether it can be."""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Callable, NamedTuple

import numpy as np
import torch
from torch.nn import functional

from r2plus1d.backends.pytorch import padding
from r2plus1d.backends.pytorch.convolution import convolve, plain
from r2plus1d.backends.pytorch.fusion import convolve_to, fuse
from r2plus1d.errors import InputError
from r2plus1d.networks.folding import Plan
from r2plus1d.networks.graph import Node

# Their output is memory that nothing else refers to, so that a Relu behind can work in place.
MAKE_NEW_MEMORY = ('Conv', 'SpatialBN', 'Sum')
VOLUME = 5  # dimensions of a convolution's weights


class Form(NamedTuple):
    """How convolutions are computed.

    Attributes:
        dtype: in which they are.
        as_images: factored ones are in 2D.
        endings: of `fuse`.
    """

    dtype: torch.dtype
    as_images: bool
    endings: Mapping[str, bool]


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
        channels: those of convolutions are filled up with zeros to multiples of it. What follows
            convolutions, and the outputs, have the plan's channels. A plan with a convolution of
            several groups stays as it is.
        as_images: factored convolutions are computed in 2D, see convolution.convolve.
        fused: convolutions take in the sums and ReLUs behind them, see fusion.fuse. For CPUs, and
            without `channels`.

    Raises:
        InputError: an operator that is not known here.
    """

    def __init__(
        self,
        plan: Plan,
        values: Mapping[str, np.ndarray],
        dtype: torch.dtype = torch.float32,
        *,
        channels: int = 1,
        as_images: bool = False,
        fused: bool = False,
    ) -> None:
        super().__init__()
        widths = padding.find_widths(plan, channels)
        values = padding.pad_values(plan, values, widths)
        self._outputs = list(plan.outputs)
        self._names = list(plan.initializers)
        nodes, endings = fuse(plan.nodes, plan.outputs) if fused else (list(plan.nodes), {})
        of_convs = {name for node in nodes if node.kind == 'Conv' for name in node.parameters}
        for name in self._names:
            self._keep(values[name], dtype if name in of_convs else torch.float32)
        makers = {node.output: node.kind for node in nodes}
        unused = last_used(nodes, self._outputs)
        form = Form(dtype, as_images, endings)
        self._steps = [
            _step(node, names, makers, form, widths) for node, names in zip(nodes, unused)
        ]
        self._cuts = {name: widths[name].true for name in self._outputs if name in widths}

    def forward(self, data: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return {output: float32 tensor of N rows} for `data`, a tensor N x C x T x H x W."""
        values = dict(zip(self._names, self.buffers()), data=data)
        for step in self._steps:
            inputs = [values[name] for name in step.inputs]
            values[step.output] = step.function(*inputs)
            del inputs
            for name in step.last_used:
                del values[name]
        return {name: self._cut(name, values[name]).float() for name in self._outputs}

    def _cut(self, name, value):
        return value[:, : self._cuts[name]] if name in self._cuts else value

    def _keep(self, array, dtype):
        """Register an array as the next buffer, in the order of `_names`."""
        tensor = torch.from_numpy(np.array(array)).to(dtype)
        if tensor.dim() == VOLUME:
            tensor = tensor.contiguous(memory_format=torch.channels_last_3d)
        # A number, not the array's name, in which PyTorch allows no dots
        self.register_buffer(f'weight_{len(self._buffers)}', tensor)


def last_used(nodes: Sequence[Node], kept: Collection[str]) -> list[tuple[str, ...]]:
    """Return for each node the values that no later one reads and that are not `kept`."""
    seen, unused = set(kept), []
    for node in reversed(nodes):
        unused.append(tuple(sorted(set(node.inputs) - seen)))
        seen.update(node.inputs)
    return unused[::-1]


def _step(node, unused, makers, form, widths):
    """Return the Step that computes `node`."""
    if node.kind not in OPERATORS:
        raise InputError(
            f'{node.output} is made by the operator {node.kind}; engine torch knows '
            f'{", ".join(sorted(OPERATORS))}'
        )
    function = OPERATORS[node.kind](node, form)
    if node.kind not in padding.KEEP_CHANNELS and node.inputs[0] in widths:
        function = _of_true_channels(function, widths[node.inputs[0]].true)
    if node.kind == 'Relu' and unused and makers.get(node.inputs[0]) in MAKE_NEW_MEMORY:
        function = torch.relu_
    return Step(function, (*node.inputs, *node.parameters), node.output, unused)


def _of_true_channels(function, count):
    return lambda data, *parameters: function(data[:, :count], *parameters)


def _conv(node, form):
    _, stride, pad = node.window
    in_place = form.endings.get(node.output)
    conv = plain if in_place is None else functools.partial(convolve_to, in_place)
    if form.as_images and node.group == 1:
        conv = functools.partial(convolve, conv=conv)

    def run(data, *rest):
        others, parameters = rest[: len(node.inputs) - 1], rest[len(node.inputs) - 1 :]
        weight, bias = (*parameters, None)[:2]
        return conv(data.to(form.dtype), weight, bias, stride, pad, node.group, *others)

    return run


def _batch_norm(node, form):
    return lambda data, scale, shift, mean, variance: functional.batch_norm(
        data, mean, variance, scale, shift, eps=node.epsilon
    )


def _average_pool(node, form):
    return lambda data: functional.avg_pool3d(data.float(), *node.window, count_include_pad=False)


def _max_pool(node, form):
    return lambda data: functional.max_pool3d(data, *node.window)


def _always(function):
    """An operator without settings."""
    return lambda node, form: function


def _fc(data, weight, bias):
    return functional.linear(data.flatten(1).float(), weight, bias)


# Caffe2's operator -> from a Node and a Form to a function of tensors.
OPERATORS: dict[str, Callable] = {
    'Conv': _conv,
    'SpatialBN': _batch_norm,
    'Relu': _always(torch.relu),
    'Sum': _always(torch.add),
    'AveragePool': _average_pool,
    'MaxPool': _max_pool,
    'FC': _always(_fc),
    'Dropout': _always(lambda data: data),  # only training drops anything
    'Softmax': _always(lambda data: torch.softmax(data.flatten(1), 1).view_as(data)),
    'ReduceBackMean': _always(lambda data: data.mean((2, 3, 4))),
    'SoftmaxWithLoss': _always(lambda data: torch.softmax(data, 1)),
    'ElementwiseLinear': _always(lambda data, scale, shift: data * scale + shift),
    'Sigmoid': _always(torch.sigmoid),
}
