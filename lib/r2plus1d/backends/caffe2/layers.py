"""The layers of the networks on a Caffe2 ModelHelper; the only place where blob names are made.

A blob's name is what the published weights are keyed by, so the names here are part of the file
format. Data is N C T H W throughout; kernels, strides and pads are (t, h, w).
"""

from collections.abc import Sequence
from typing import Any, Optional

from caffe2.python import brew, core
from caffe2.python.model_helper import ModelHelper

from r2plus1d.networks.build import build_on
from r2plus1d.networks.network import BN_EPSILON, Network, require_trainable

BN_MOMENTUM = 0.9
DROPOUT_RATIO = 0.5
DEPTHWISE_ENGINE = 'CHANNELWISE_3D'  # on GPUs; CPUs have the plain convolution only
POSITIONS = 3  # dimensions: t, h, w
HE_NORMAL: tuple[str, dict[str, object]] = ('MSRAFill', {})

Blob = Any  # a name, or caffe2's BlobReference, which mypy does not see


class Layers:
    """Adds layers to a ModelHelper, in training or inference form.

    Every method takes and returns blobs (a name or a BlobReference). `conv`, `bn` and `fc` are told
    the number of channels they read, because Caffe2's helpers create the parameters from it.
    """

    def __init__(
        self, model: ModelHelper, training: bool = False, bn_epsilon: float = BN_EPSILON
    ) -> None:
        self.model = model
        self.bn_epsilon = bn_epsilon
        self.is_test = int(not training)

    def conv(
        self,
        blob: Blob,
        name: str,
        channels: int,
        filters: int,
        kernel: Sequence[int],
        *,
        stride: Sequence[int] = (1, 1, 1),
        pad: Optional[Sequence[int]] = None,
        group: int = 1,
        bias: bool = False,
    ) -> Blob:
        """3D convolution with the weights `{name}_w`, and `{name}_b` where it has a bias."""
        optional: dict[str, Any] = {} if pad is None else {'pads': list(pad) * 2}
        if group > 1:
            optional.update(group=group, engine=DEPTHWISE_ENGINE, use_cudnn=False)
        return brew.conv_nd(
            self.model, blob, name, channels, filters, list(kernel),
            weight_init=HE_NORMAL, no_bias=int(not bias), strides=list(stride), **optional,
        )  # fmt: skip

    def bn(
        self, blob: Blob, name: str, channels: int, *, momentum: Optional[float] = BN_MOMENTUM
    ) -> Blob:
        """Batch norm: scale `_s`, shift `_b`, running mean `_rm`, running variance `_riv`."""
        optional = {} if momentum is None else {'momentum': momentum}
        return brew.spatial_bn(
            self.model, blob, name, channels, epsilon=self.bn_epsilon, is_test=self.is_test,
            **optional,
        )  # fmt: skip

    def relu(self, blob: Blob) -> Blob:
        return brew.relu(self.model, blob, blob)

    def add(self, blobs: Sequence[Blob], name: str) -> Blob:
        return brew.sum(self.model, blobs, name)

    def average_pool(self, blob: Blob, name: str, kernel: Sequence[int]) -> Blob:
        return brew.average_pool(self.model, blob, name, kernels=list(kernel), strides=[1, 1, 1])

    def max_pool(
        self,
        blob: Blob,
        name: str,
        kernel: Sequence[int],
        *,
        stride: Optional[Sequence[int]] = None,
        pad: Optional[Sequence[int]] = None,
    ) -> Blob:
        optional = {} if pad is None else {'pads': list(pad) * 2}
        strides = list(stride or kernel)
        return brew.max_pool(
            self.model, blob, name, kernels=list(kernel), strides=strides, **optional
        )

    def fc(self, blob: Blob, name: str, inputs: int, outputs: int) -> Blob:
        return brew.fc(self.model, blob, name, inputs, outputs)

    def dropout(self, blob: Blob) -> Blob:
        ratio = {} if self.is_test else {'ratio': DROPOUT_RATIO}
        name = f'{blob}_dropout'.rpartition('/')[-1]  # brew puts the device's scope before it again
        return brew.dropout(self.model, blob, name, is_test=self.is_test, **ratio)

    def softmax_head(self, logits: Blob, loss_scale: float) -> Blob:
        """`softmax`, `loss`, `accuracy` against int32 `label` (N,); returns the scaled loss."""
        softmax, loss = self.model.net.SoftmaxWithLoss([logits, 'label'], ['softmax', 'loss'])
        # ModelHelper's own Accuracy, not brew's: the original's carries no `order` argument.
        self.model.net.Accuracy([softmax, 'label'], 'accuracy')
        return self.model.net.Scale(loss, scale=loss_scale)

    def positions_head(self, logits: Blob) -> None:
        """`softmax_unreduced`, `softmax`, `accuracy` of logits at several places; no loss.

        Caffe2's Softmax normalizes over classes and places together. So the probabilities of a
        clip sum to 1 over all places, and their mean over the places sums to 1 / places.
        """
        softmax = brew.softmax(self.model, logits, 'softmax_unreduced')
        mean = self.model.net.ReduceBackMean(softmax, 'softmax', num_reduce_dim=POSITIONS)
        self.model.net.Accuracy([mean, 'label'], 'accuracy')

    def sigmoid_head(self, logits: Blob, num_labels: int, loss_scale: float) -> Blob:
        """`prob`, `loss` against a 0/1 int32 `label` (N, num_labels); returns the scaled loss."""
        logit = brew.elementwise_linear(self.model, logits, 'pred_logit', num_labels)
        self.model.net.Sigmoid(logit, 'prob')
        label = self.model.net.Cast('label', 'label_float', to=core.DataType.FLOAT)
        entropy = self.model.net.SigmoidCrossEntropyWithLogits([logit, label], 'cross_entropy')
        loss = self.model.net.AveragedLoss(entropy, 'loss')
        return self.model.net.Scale(loss, scale=loss_scale)


def new_model(
    name: str,
    *,
    use_cudnn: bool = True,
    cudnn_workspace_limit_mb: Optional[int] = None,
    init_params: bool = True,
) -> ModelHelper:
    """Return an empty ModelHelper in NCHW order; GPUs use cuDNN unless told otherwise."""
    arg_scope = {'order': 'NCHW', 'use_cudnn': use_cudnn, 'cudnn_exhaustive_search': False}
    if cudnn_workspace_limit_mb is not None:
        arg_scope['ws_nbytes_limit'] = cudnn_workspace_limit_mb << 20
    return ModelHelper(name, arg_scope=arg_scope, init_params=init_params)


def build(
    model: ModelHelper, network: Network, *, training: bool = False, loss_scale: float = 1.0
) -> list[Blob]:
    """Add `network` to the ModelHelper `model`, from the blobs `data` and `label`.

    Args:
        training: batch statistics and dropout instead of the running statistics.
        loss_scale: factor of the loss: 1 / number of devices in data-parallel training.

    Returns:
        The scaled loss blob, in a list as data_parallel_model wants it; no loss for convolutional
        prediction.

    Raises:
        InputError: convolutional prediction in training form.
    """
    if training:
        require_trainable(network)
    return build_on(Layers(model, training, network.bn_epsilon), network, loss_scale)
