"""Which network: every setting that decides a graph, checked, and the graph built from it."""

import dataclasses
from collections.abc import Sequence
from typing import Optional

from r2plus1d.errors import InputError
from r2plus1d.networks.zoo import (
    ARCHITECTURES,
    BLOCKS,
    C3D,
    C3D_INPUT,
    depths_of,
    has_bottlenecks,
)

CROP_SIZES = (112, 224)
CONVOLUTIONAL_CROP_SIZES = (112, 128, 224, 256, 320)
POOL1_CROP_SIZES = (224, 256, 320)
LARGEST = 320
CLIP_LENGTH_MULTIPLE = 8
BN_EPSILON = 1e-3  # the original's


@dataclasses.dataclass(frozen=True)
class Network:
    """The settings of one network.

    Attributes:
        architecture: a name of ARCHITECTURES, or `c3d`.
        depth: a key of BLOCKS that the architecture comes in. C3D has none: for it the number is
            only part of its `name`, which the original forms so.
        clip_length: frames of a clip (flow frames for an optical-flow network).
        crop_size: height and width of the input, in pixels.
        num_channels: channels of the input: 3 for RGB, 2 to 5 for optical flow.
        num_labels: number of classes.
        multi_label: a sigmoid head over 0/1 labels instead of softmax over a class index.
        pred_layer_name: name of the last layer; None is `last_out_L{num_labels}`.
        use_dropout: dropout before the last layer (training form only; C3D always has its own).
        use_pool1: a max pool behind the stem, which halves height and width.
        use_convolutional_pred: the last layer is a 1x1x1 convolution, which takes larger crops. It
            has no loss, so that such a network cannot be trained.
        width: factor of every number of channels; the published networks' is 1.
        bn_epsilon: what batch norms add to the variance. PyTorch's own networks have 1e-5.

    Raises:
        InputError: a setting that no network has; the message names the ones that are known.
    """

    architecture: str = 'r2plus1d'
    depth: int = 18
    clip_length: int = 16
    crop_size: int = 112
    num_channels: int = 3
    num_labels: int = 101
    multi_label: bool = False
    pred_layer_name: Optional[str] = None
    use_dropout: bool = False
    use_pool1: bool = False
    use_convolutional_pred: bool = False
    width: float = 1.0
    bn_epsilon: float = BN_EPSILON

    def __post_init__(self) -> None:
        known = sorted([*ARCHITECTURES, C3D])
        _require(
            self.architecture in known,
            'model_name',
            self.architecture,
            f'known: {", ".join(known)}',
        )
        self._require_depth()
        _require(self.num_channels >= 1, 'num_channels', self.num_channels, 'at least 1')
        _require(0 < self.width <= 4, 'width', self.width, 'above 0, at most 4')
        _require(0 < self.bn_epsilon < 1, 'bn_epsilon', self.bn_epsilon, 'above 0, below 1')
        _require(self.num_labels >= 1, 'num_labels', self.num_labels, 'at least 1')
        if self.is_c3d:
            given = (self.clip_length, self.crop_size)
            _require(
                given == C3D_INPUT, 'clip_length, crop_size', given, f'C3D takes {C3D_INPUT} only'
            )
        _require(
            self.clip_length >= 1 and self.clip_length % CLIP_LENGTH_MULTIPLE == 0,
            'clip_length', self.clip_length, f'a multiple of {CLIP_LENGTH_MULTIPLE}',
        )  # fmt: skip
        self._require_head()
        self._require_crop()

    def _require_depth(self) -> None:
        if self.is_c3d:
            return
        depths = ', '.join(map(str, BLOCKS))
        _require(self.depth in BLOCKS, 'model_depth', self.depth, f'known depths: {depths}')
        own = depths_of(self.architecture)
        allowed = f'{self.architecture} has {", ".join(map(str, own))}'
        _require(self.depth in own, 'model_depth', self.depth, allowed)

    def _require_head(self) -> None:
        names = ', '.join(name for name in ARCHITECTURES if has_bottlenecks(name))
        known = has_bottlenecks(self.architecture)
        for name in ('use_pool1', 'use_convolutional_pred'):
            allowed = f'only {names} have it, not {self.architecture}'
            _require(known or not getattr(self, name), name, 1, allowed)
        _require(
            not (self.multi_label and self.use_convolutional_pred),
            'use_convolutional_pred', 1, 'multi_label takes 0 only',
        )  # fmt: skip

    def _require_crop(self) -> None:
        is_convolutional = self.use_convolutional_pred
        sizes = CONVOLUTIONAL_CROP_SIZES if is_convolutional else CROP_SIZES
        allowed = _either(sizes)
        if self.crop_size in CONVOLUTIONAL_CROP_SIZES and not is_convolutional:
            allowed += ', and other sizes with use_convolutional_pred only'
        _require(self.crop_size in sizes, 'crop_size', self.crop_size, allowed)
        if self.use_pool1:
            allowed = f'use_pool1 takes {_either(POOL1_CROP_SIZES)}'
            _require(self.crop_size in POOL1_CROP_SIZES, 'crop_size', self.crop_size, allowed)
        else:
            allowed = 'only use_pool1=1 takes it'
            _require(self.crop_size != LARGEST, 'crop_size', self.crop_size, allowed)

    def channels(self, count: int) -> int:
        """Return a layer's published number of channels at this network's width."""
        return max(1, round(count * self.width))

    @property
    def is_c3d(self) -> bool:
        return self.architecture == C3D

    @property
    def name(self) -> str:
        """The ModelHelper's name, as the original formed it: r2plus1d_18_8."""
        return f'{self.architecture}_{self.depth}_{self.clip_length}{self._narrow}'

    @property
    def stem(self) -> str:
        """What files of its training begin with: r2plus1d, or r2plus1d_w0.125."""
        return f'{self.architecture}{self._narrow}'

    @property
    def _narrow(self) -> str:
        return '' if self.width == 1 else f'_w{self.width:g}'

    @property
    def logits(self) -> str:
        """Name of the last layer's output blob."""
        return self.pred_layer_name or f'last_out_L{self.num_labels}'

    @property
    def prediction(self) -> str:
        """Name of the blob of class probabilities, (N, num_labels)."""
        return 'prob' if self.multi_label else 'softmax'

    @property
    def data_shape(self) -> tuple[int, int, int, int]:
        """Shape of one clip: C T H W."""
        return (self.num_channels, self.clip_length, self.crop_size, self.crop_size)

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of one clip's label: () for a class index, (num_labels,) for 0/1 labels."""
        return (self.num_labels,) if self.multi_label else ()


def require_trainable(network: Network) -> None:
    """Raise InputError for a network that has no loss."""
    if network.use_convolutional_pred:
        raise InputError(
            'use_convolutional_pred is 1, which has no loss; train without it, on a crop_size of '
            f'{_either(CROP_SIZES)}: the weights fit both'
        )


def _either(sizes: Sequence[int]) -> str:
    return f'{", ".join(map(str, sizes[:-1]))} or {sizes[-1]}'


def _require(holds: bool, setting: str, value: object, allowed: str) -> None:
    if not holds:
        raise InputError(f'{setting} is {value}; {allowed}')
