"""Weights of other publishers for the networks here: their files and their settings."""

import dataclasses

from r2plus1d.networks.input import Input
from r2plus1d.networks.network import BN_EPSILON

TORCHVISION = 'https://download.pytorch.org/models/{name}.pth'
IG65M = 'https://github.com/moabitcoin/ig65m-pytorch/releases/download/v1.0.0/{name}.pth'
TORCH_EPSILON = 1e-5  # of PyTorch's batch norms unless told otherwise, as in torchvision


@dataclasses.dataclass(frozen=True)
class Copy:
    """One file of another publisher.

    Attributes:
        name: of the file without its extension; `--load_model_path` takes it. It ends in the first
            digits of the file's SHA-256, as PyTorch's downloads have them.
        label: what it is, in words.
        address: where it is; {name} stands for the name.
        architecture, depth: of the network. Its labels are what the file has.
        clip_length, rate: frames of a clip and the step between them.
        bn_epsilon: of its batch norms.
        video_top1, video_top5: published accuracy on Kinetics-400's validation videos, in percent,
            over `clips` clips of each; 0 where not published.
    """

    name: str
    label: str
    address: str
    architecture: str
    depth: int
    clip_length: int
    rate: int
    bn_epsilon: float
    video_top1: float = 0
    video_top5: float = 0
    clips: int = 10

    @property
    def link(self) -> str:
        return self.address.replace('{name}', self.name)

    @property
    def digest(self) -> str:
        """The first hexadecimal digits of the file's SHA-256."""
        return self.name.rpartition('-')[2]

    @property
    def input(self) -> Input:
        """What its network is to be given."""
        return Input(length=self.clip_length, rate=self.rate)


def _torchvision(name: str, label: str, architecture: str, top1: float, top5: float) -> Copy:
    """Trained by torchvision, at 15 frames per second: every other frame of most videos."""
    return Copy(name, label, TORCHVISION, architecture, 18, 16, 2, TORCH_EPSILON, top1, top5, 5)


def _ig65m(name: str, label: str, length: int, top1: float = 0, top5: float = 0) -> Copy:
    """The original's weights under PyTorch's names; its accuracies, and its epsilon."""
    return Copy(name, label, IG65M, 'r2plus1d', 34, length, 1, BN_EPSILON, top1, top5)


ROWS = (
    _torchvision('r3d_18-b3b3357e', 'torchvision R3D-18', 'r3d', 63.2, 83.479),
    _torchvision('mc3_18-a90a0ba3', 'torchvision MC3-18', 'mc3', 63.96, 84.13),
    _torchvision(
        'r2plus1d_18-91a641e6', 'torchvision R(2+1)D-18', 'r2plus1d-torchvision', 67.463, 86.175
    ),
    _ig65m(
        'r2plus1d_34_clip8_ft_kinetics_from_ig65m-0aa0550b',
        'R(2+1)D-34, IG-65M+Kinetics', 8, 74.9, 91.8,
    ),
    _ig65m(
        'r2plus1d_34_clip32_ft_kinetics_from_ig65m-ade133f1',
        'R(2+1)D-34, IG-65M+Kinetics', 32, 80, 94.2,
    ),
    _ig65m('r2plus1d_34_clip8_ig65m_from_scratch-9bae36ae', 'R(2+1)D-34, IG-65M', 8),
    _ig65m('r2plus1d_34_clip32_ig65m_from_scratch-449a7af9', 'R(2+1)D-34, IG-65M', 32),
)  # fmt: skip
COPIES = {row.name: row for row in ROWS}
