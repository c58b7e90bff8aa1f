"""Class activation maps: where in a clip the evidence for a class is.

A network whose last layer reads the average of its features over time and space computes

    logit of c = mean over t, y, x of map of c
    map of c = bias[c] + sum over k of weight[c, k] * feature k

so the map says exactly how much each place adds. Source: Zhou et al., Learning Deep Features for
Discriminative Localization, CVPR 2016.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.networks import graph
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.video.resize import crop_offsets, output_size
from r2plus1d.weights.onnx_model import OnnxModel, Source


class ActivationMaps:
    """Makes the maps of one network.

    Args:
        network: whose last layer reads an average over all places.
        weights: its parameters, or an OnnxModel that has those of the last layer in float32.

    Attributes:
        blob: name of the features that `maps` takes.

    Raises:
        InputError: a network without such a last layer, such as C3D; an OnnxModel without it.
    """

    def __init__(self, network: Network, weights: Source) -> None:
        self.blob, layer, scale = _head(network)
        values = weights.values if isinstance(weights, OnnxModel) else weights
        missing = [
            n for n in (*layer, *scale) if getattr(values.get(n), 'dtype', None) != 'float32'
        ]
        if missing:
            raise InputError(
                f'activation maps need {missing[0]} in float32, which these weights do not have: '
                'take them from a .pkl or .mdl file'
            )
        self._weight, self._bias = (values[name] for name in layer)
        one = np.ones_like(self._bias), np.zeros_like(self._bias)
        self._scale, self._shift = (values[name] for name in scale) if scale else one

    def maps(self, values: np.ndarray, classes: Sequence[int]) -> dict[int, np.ndarray]:
        """Return {class: float32 (rows, T, H, W)}; the mean of a map is the class's logit.

        Args:
            values: float32 (rows, C, T, H, W), of the blob.
            classes: numbers of classes.
        """
        chosen = list(classes)
        maps = np.einsum('lk,rk...->lr...', self._weight[chosen], values)
        return {
            c: (cells + self._bias[c]) * self._scale[c] + self._shift[c]
            for c, cells in zip(chosen, maps)
        }


def _head(network: Network) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """(blob of the features, parameters of the last layer, those of the scale after it)."""
    traced = graph.trace(network)
    made_by = {node.output: node for node in traced.nodes}
    names: dict[str, tuple[str, ...]] = {}
    node = made_by[network.prediction]
    while node.kind in ('SoftmaxWithLoss', 'Sigmoid', 'ElementwiseLinear', 'FC', 'Dropout'):
        names[node.kind] = node.parameters
        node = made_by[node.inputs[0]]
    blob = node.inputs[0]
    is_global = node.window is not None and node.window.kernel == traced.shapes[blob][1:]
    if node.kind != 'AveragePool' or not is_global:
        raise InputError(
            f'{network.name} has no activation maps: its last layer does not read an average over '
            'all places'
        )
    return blob, names['FC'], names.get('ElementwiseLinear', ())


def spread(maps: np.ndarray, given: Input, size: tuple[int, int]) -> np.ndarray:
    """Return a map of one moment over the frame: float32 (height, width), 0 outside of the crops.

    Args:
        maps: float32 (crops, H, W).
        given: how frames are resized and cropped.
        size: (width, height) of the frame, in pixels.
    """
    width, height = resized = output_size(
        width=size[0], height=size[1], video_res_type=given.video_res_type, scale_w=given.scale_w,
        scale_h=given.scale_h, short_edge=given.short_edge, crop_size=given.crop_size,
    )  # fmt: skip
    side, crops = given.crop_size, len(maps)
    total, count = np.zeros((2, height, width), np.float32)
    corners = crop_offsets(width=width, height=height, crop_size=side, crops=crops)
    for (top, left), cells in zip(corners, maps):
        place = np.s_[top : top + side, left : left + side]
        total[place] += cv2.resize(cells, (side, side), interpolation=cv2.INTER_LINEAR)
        count[place] += 1
    mean = total / np.maximum(count, 1)
    return mean if resized == size else cv2.resize(mean, size, interpolation=cv2.INTER_LINEAR)
