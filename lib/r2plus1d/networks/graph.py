"""A network's inference graph as plain data, without Caffe2: operators, shapes, parameters."""

import dataclasses
import functools
import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional, Union

from r2plus1d.errors import InputError
from r2plus1d.networks.build import build_on
from r2plus1d.networks.network import Network

KEPT = 64  # graphs of a process; each has a few hundred nodes
OVERWRITTEN = '/overwritten'

Shape = tuple[int, ...]
# Blobs that the network is given, and those of the loss, which has no place in this graph.
RESERVED = ('data', 'label', 'loss', 'accuracy', 'label_float', 'cross_entropy')


class Window(NamedTuple):
    """What a convolution or a pool reads for one number: sizes as (t, h, w); pads of both ends."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        kind: Caffe2's type of it: Conv, SpatialBN, Relu, Sum, AveragePool, MaxPool, FC, Dropout,
            SoftmaxWithLoss, ElementwiseLinear, Sigmoid, Softmax (over all numbers of a clip,
            whatever their shape) or ReduceBackMean (over t, h and w).
        inputs, output: names of values, each of which is made once.
        blob: Caffe2's name of the output. A blob that is overwritten in place is several values;
            the last one, which is what Caffe2 has after a run, is named like the blob.
        parameters: names in Caffe2's order: weight and bias; scale, shift, mean and variance.
        window: of a Conv or a pool.
        epsilon: of a SpatialBN.
        group: of a Conv: its channels and filters are so many groups, that have nothing in common.
    """

    kind: str
    inputs: tuple[str, ...]
    output: str
    blob: str
    parameters: tuple[str, ...] = ()
    window: Optional[Window] = None
    epsilon: Optional[float] = None
    group: int = 1


@dataclasses.dataclass(frozen=True)
class Graph:
    """The operators from `data` to the class probabilities, in the order of execution.

    Nothing in it can be changed: all who trace a network share one Graph.

    Attributes:
        nodes: each reads only what nodes before it make.
        parameters: {name: shape} in the order in which Caffe2 lists them: as they are created, the
            running statistics after the trained ones.
        shapes: {blob: shape of one clip}, without the batch: `data` and what the nodes make.
        trained: the parameters that have gradients; the others are running statistics.
    """

    nodes: tuple[Node, ...]
    parameters: Mapping[str, tuple[int, ...]]
    shapes: Mapping[str, tuple[int, ...]]
    trained: tuple[str, ...]


@functools.lru_cache(maxsize=KEPT)
def trace(network: Network) -> Graph:
    """Return the Graph of `network`; it is traced once in a process.

    Raises:
        InputError: pred_layer_name is the name of another blob or parameter.
    """
    recorder = _Recorder(network.data_shape, network.bn_epsilon)
    build_on(recorder, network)
    return Graph(
        tuple(recorder.nodes),
        types.MappingProxyType({**recorder.trained, **recorder.running}),
        types.MappingProxyType(recorder.shapes),
        tuple(recorder.trained),
    )


class _Recorder:
    """Takes the calls that layers.Layers takes, in inference form, and notes them down."""

    def __init__(self, data_shape: Shape, bn_epsilon: float) -> None:
        self.nodes: list[Node] = []
        self.trained: dict[str, Shape] = {}
        self.running: dict[str, Shape] = {}
        self.shapes: dict[str, Shape] = {'data': data_shape}
        self._bn_epsilon = bn_epsilon
        self._taken = set(RESERVED)

    def conv(
        self,
        blob: str,
        name: str,
        channels: int,
        filters: int,
        kernel: Shape,
        *,
        stride: Shape = (1, 1, 1),
        pad: Shape = (0, 0, 0),
        group: int = 1,
        bias: bool = False,
    ) -> str:
        assert self.shapes[blob][0] == channels, name
        weights: dict[str, Shape] = {f'{name}_w': (filters, channels // group, *kernel)}
        if bias:
            weights[f'{name}_b'] = (filters,)
        window = Window(tuple(kernel), tuple(stride), tuple(pad))
        shape = (filters, *_windows(self.shapes[blob], window))
        return self._add('Conv', blob, name, shape, weights, window=window, group=group)

    def bn(self, blob: str, name: str, channels: int, *, momentum: Optional[float] = None) -> str:
        assert self.shapes[blob][0] == channels, name
        trained: dict[str, Shape] = {f'{name}{end}': (channels,) for end in ('_s', '_b')}
        running: dict[str, Shape] = {f'{name}{end}': (channels,) for end in ('_rm', '_riv')}
        shape = self.shapes[blob]
        return self._add('SpatialBN', blob, name, shape, trained, running, epsilon=self._bn_epsilon)

    def relu(self, blob: str) -> str:
        """In place: the value that is overwritten gets a name that no blob has."""
        before, last = f'{blob}{OVERWRITTEN}', self.nodes[-1]
        assert last.output == blob, 'another operator may have read it'
        self._claim(before)
        self.nodes[-1] = dataclasses.replace(last, output=before)
        self.nodes.append(Node('Relu', (before,), blob, blob))
        return blob

    def add(self, blobs: Sequence[str], name: str) -> str:
        first, second = (self.shapes[blob] for blob in blobs)
        assert first == second, name
        return self._add('Sum', blobs, name, first)

    def average_pool(self, blob: str, name: str, kernel: Shape) -> str:
        return self._pool('AveragePool', blob, name, kernel, (1, 1, 1))

    def max_pool(
        self,
        blob: str,
        name: str,
        kernel: Shape,
        *,
        stride: Optional[Shape] = None,
        pad: Shape = (0, 0, 0),
    ) -> str:
        return self._pool('MaxPool', blob, name, kernel, stride or kernel, pad)

    def fc(self, blob: str, name: str, inputs: int, outputs: int) -> str:
        assert math.prod(self.shapes[blob]) == inputs, name
        weights = {f'{name}_w': (outputs, inputs), f'{name}_b': (outputs,)}
        return self._add('FC', blob, name, (outputs,), weights)

    def dropout(self, blob: str) -> str:
        return self._add('Dropout', blob, f'{blob}_dropout', self.shapes[blob])

    def softmax_head(self, logits: str, loss_scale: float) -> str:
        return self._add('SoftmaxWithLoss', logits, 'softmax', self.shapes[logits])

    def positions_head(self, logits: str) -> str:
        shape = self.shapes[logits]
        softmax = self._add('Softmax', logits, 'softmax_unreduced', shape)
        return self._add('ReduceBackMean', softmax, 'softmax', shape[:1])

    def sigmoid_head(self, logits: str, num_labels: int, loss_scale: float) -> str:
        shape = self.shapes[logits]
        scale = {'pred_logit_w': shape, 'pred_logit_b': shape}
        logit = self._add('ElementwiseLinear', logits, 'pred_logit', shape, scale)
        return self._add('Sigmoid', logit, 'prob', shape)

    def _pool(
        self,
        kind: str,
        blob: str,
        name: str,
        kernel: Shape,
        stride: Shape,
        pad: Shape = (0, 0, 0),
    ) -> str:
        window = Window(tuple(kernel), tuple(stride), tuple(pad))
        channels, *_ = shape = self.shapes[blob]
        return self._add(kind, blob, name, (channels, *_windows(shape, window)), window=window)

    def _add(
        self,
        kind: str,
        blobs: Union[str, Sequence[str]],
        name: str,
        shape: Shape,
        trained: Optional[Mapping[str, Shape]] = None,
        running: Optional[Mapping[str, Shape]] = None,
        **settings: Any,
    ) -> str:
        """Note an operator and the parameters that it creates."""
        inputs = (blobs,) if isinstance(blobs, str) else tuple(blobs)
        parameters = (*(trained or {}), *(running or {}))
        self._claim(name, *parameters)
        self.trained.update(trained or {})
        self.running.update(running or {})
        self.nodes.append(Node(kind, inputs, name, name, parameters, **settings))
        self.shapes[name] = shape
        return name

    def _claim(self, *names: str) -> None:
        """Only the last layer's name is the user's, so no other can be there twice."""
        for name in names:
            if name in self._taken:
                raise InputError(
                    f'pred_layer_name makes a second {name}; the network has one under that name'
                )
            self._taken.add(name)


def _windows(shape: Shape, window: Window) -> Shape:
    """How many times a Window fits along t, h and w of a C T H W blob."""
    return tuple(
        (size + 2 * pad - kernel) // stride + 1
        for size, kernel, stride, pad in zip(shape[1:], *window)
    )
