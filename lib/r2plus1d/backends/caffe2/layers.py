"""The layers of the networks on a Caffe2 ModelHelper; the only place where blob names are made.

A blob's name is what the published weights are keyed by, so the names here are part of the file
format. Data is N C T H W throughout; kernels, strides and pads are (t, h, w).
"""

from caffe2.python import brew, core
from caffe2.python.model_helper import ModelHelper

from r2plus1d.networks.build import build_on
from r2plus1d.networks.graph import BN_EPSILON

BN_MOMENTUM = 0.9
DROPOUT_RATIO = 0.5
HE_NORMAL: tuple[str, dict[str, object]] = ('MSRAFill', {})


class Layers:
    """Adds layers to a ModelHelper, in training or inference form.

    Every method takes and returns blobs (a name or a BlobReference). `conv`, `bn` and `fc` are told
    the number of channels they read, because Caffe2's helpers create the parameters from it.
    """

    def __init__(self, model, training=False):
        self.model = model
        self.is_test = int(not training)

    def conv(
        self, blob, name, channels, filters, kernel, *, stride=(1, 1, 1), pad=None, bias=False
    ):
        """3D convolution with the weights `{name}_w`, and `{name}_b` where it has a bias."""
        optional = {} if pad is None else {'pads': list(pad) * 2}
        return brew.conv_nd(
            self.model, blob, name, channels, filters, list(kernel),
            weight_init=HE_NORMAL, no_bias=int(not bias), strides=list(stride), **optional,
        )  # fmt: skip

    def bn(self, blob, name, channels, *, momentum=BN_MOMENTUM):
        """Batch norm: scale `_s`, shift `_b`, running mean `_rm`, running variance `_riv`."""
        optional = {} if momentum is None else {'momentum': momentum}
        return brew.spatial_bn(
            self.model, blob, name, channels, epsilon=BN_EPSILON, is_test=self.is_test, **optional
        )

    def relu(self, blob):
        return brew.relu(self.model, blob, blob)

    def add(self, blobs, name):
        return brew.sum(self.model, blobs, name)

    def average_pool(self, blob, name, kernel):
        return brew.average_pool(self.model, blob, name, kernels=list(kernel), strides=[1, 1, 1])

    def max_pool(self, blob, name, kernel):
        return brew.max_pool(self.model, blob, name, kernels=list(kernel), strides=list(kernel))

    def fc(self, blob, name, inputs, outputs):
        return brew.fc(self.model, blob, name, inputs, outputs)

    def dropout(self, blob):
        ratio = {} if self.is_test else {'ratio': DROPOUT_RATIO}
        name = f'{blob}_dropout'.rpartition('/')[-1]  # brew puts the device's scope before it again
        return brew.dropout(self.model, blob, name, is_test=self.is_test, **ratio)

    def softmax_head(self, logits, loss_scale):
        """`softmax`, `loss`, `accuracy` against int32 `label` (N,); returns the scaled loss."""
        softmax, loss = self.model.net.SoftmaxWithLoss([logits, 'label'], ['softmax', 'loss'])
        # ModelHelper's own Accuracy, not brew's: the original's carries no `order` argument.
        self.model.net.Accuracy([softmax, 'label'], 'accuracy')
        return self.model.net.Scale(loss, scale=loss_scale)

    def sigmoid_head(self, logits, num_labels, loss_scale):
        """`prob`, `loss` against a 0/1 int32 `label` (N, num_labels); returns the scaled loss."""
        logit = brew.elementwise_linear(self.model, logits, 'pred_logit', num_labels)
        self.model.net.Sigmoid(logit, 'prob')
        label = self.model.net.Cast('label', 'label_float', to=core.DataType.FLOAT)
        entropy = self.model.net.SigmoidCrossEntropyWithLogits([logit, label], 'cross_entropy')
        loss = self.model.net.AveragedLoss(entropy, 'loss')
        return self.model.net.Scale(loss, scale=loss_scale)


def new_model(name, *, use_cudnn=True, cudnn_workspace_limit_mb=None, init_params=True):
    """Return an empty ModelHelper in NCHW order; GPUs use cuDNN unless told otherwise."""
    arg_scope = {'order': 'NCHW', 'use_cudnn': use_cudnn, 'cudnn_exhaustive_search': False}
    if cudnn_workspace_limit_mb is not None:
        arg_scope['ws_nbytes_limit'] = cudnn_workspace_limit_mb << 20
    return ModelHelper(name, arg_scope=arg_scope, init_params=init_params)


def build(model, network, *, training=False, loss_scale=1.0):
    """Add `network` to the ModelHelper `model`, from the blobs `data` and `label`.

    Args:
        training: batch statistics and dropout instead of the running statistics.
        loss_scale: factor of the loss: 1 / number of devices in data-parallel training.

    Returns:
        The scaled loss blob, in a list as data_parallel_model wants it.
    """

    return build_on(Layers(model, training), network, loss_scale)
