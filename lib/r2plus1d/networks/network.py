"""Which network: every setting that decides a graph, checked, and the graph built from it."""

import dataclasses
from typing import Optional

from r2plus1d.errors import InputError
from r2plus1d.networks.zoo import ARCHITECTURES, BLOCKS, C3D, C3D_INPUT

CROP_SIZES = (112, 224)
CLIP_LENGTH_MULTIPLE = 8


@dataclasses.dataclass(frozen=True)
class Network:
    """The settings of one network.

    Attributes:
        architecture: a name of ARCHITECTURES, or `c3d`.
        depth: a key of BLOCKS. C3D has none: for it the number is only part of its `name`, which
            the original forms so.
        clip_length: frames of a clip (flow frames for an optical-flow network).
        crop_size: height and width of the input, in pixels.
        num_channels: channels of the input: 3 for RGB, 2 to 5 for optical flow.
        num_labels: number of classes.
        multi_label: a sigmoid head over 0/1 labels instead of softmax over a class index.
        pred_layer_name: name of the last layer; None is `last_out_L{num_labels}`.
        use_dropout: dropout before the last layer (training form only; C3D always has its own).
        width: factor of every number of channels; the published networks' is 1.

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
    width: float = 1.0

    def __post_init__(self) -> None:
        known = sorted([*ARCHITECTURES, C3D])
        _require(
            self.architecture in known,
            'model_name',
            self.architecture,
            f'known: {", ".join(known)}',
        )
        depths = ', '.join(map(str, BLOCKS))
        _require(
            self.depth in BLOCKS or self.is_c3d,
            'model_depth',
            self.depth,
            f'known depths: {depths}',
        )
        _require(self.num_channels >= 1, 'num_channels', self.num_channels, 'at least 1')
        _require(0 < self.width <= 4, 'width', self.width, 'above 0, at most 4')
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
        sizes = ' or '.join(map(str, CROP_SIZES))
        _require(self.crop_size in CROP_SIZES, 'crop_size', self.crop_size, sizes)

    def channels(self, count: int) -> int:
        """Return a layer's published number of channels at this network's width."""
        return max(1, round(count * self.width))

    @property
    def is_c3d(self) -> bool:
        return self.architecture == C3D

    @property
    def name(self) -> str:
        """The ModelHelper's name, as the original formed it: r2plus1d_18_8."""
        narrow = '' if self.width == 1 else f'_w{self.width:g}'
        return f'{self.architecture}_{self.depth}_{self.clip_length}{narrow}'

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


def _require(holds: bool, setting: str, value: object, allowed: str) -> None:
    if not holds:
        raise InputError(f'{setting} is {value}; {allowed}')
