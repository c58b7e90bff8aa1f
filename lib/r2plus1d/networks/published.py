"""The published weights: their rows of the tables, their links, their accuracies."""

import dataclasses
from typing import Optional


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of the published tables.

    Attributes:
        name: the weight file's name without its extension; `--download` takes it.
        label: the model's name in the tables.
        architecture, clip_length: of the network; crops are 112 x 112, labels 400.
        depth: a key of zoo.BLOCKS; None for C3D, which is no ResNet.
        modality: RGB or Optical Flow.
        pretrained: what it was trained on.
        clip_top1, video_top1, video_top5: accuracy on Kinetics' validation set, in percent.
        glops, params: 10^9 multiply-adds of a clip and 10^6 weights, or None where not published.
        key: the link's folder on the file host.
    """

    name: str
    label: str
    architecture: str
    depth: Optional[int]
    clip_length: int
    modality: str
    pretrained: str
    clip_top1: float
    video_top1: float
    video_top5: float
    glops: Optional[float]
    params: Optional[float]
    key: str

    @property
    def num_channels(self):
        return 2 if self.modality == FLOW else 3

    @property
    def link(self):
        return f'https://www.dropbox.com/s/{self.key}/{self.name}.pkl?dl=1'


RGB = 'RGB'
FLOW = 'Optical Flow'
KINETICS_LABELS = 400


def _table2(name, label, architecture, *numbers_and_key, depth=18):
    """C3D or a ResNet-18, trained from scratch on Kinetics and tested on 10 clips."""
    *numbers, key = numbers_and_key
    clip_length = int(name.rsplit('_l', 1)[1])
    return Published(name, label, architecture, depth, clip_length, RGB, 'Kinetics', *numbers, key)


# Equivalent to table 2 of the paper.
TABLE_2 = (
    _table2(
        'r2.5d_d18_l8', 'R2.5D-18', 'r2plus1d', 53.2, 65.3, 85.2, 20.7, 33.3, 'wzgx4d80mrh7pnf'
    ),
    _table2('r3d_d18_l8', 'R3D-18', 'r3d', 49.8, 62.3, 83.4, 20.3, 33.4, 'n3ax2591imcy9ly'),
    _table2('r2d_d18_l8', 'R2D-18', 'r2d', 47, 60, 81.2, 1.9, 11.4, 'ju4fah9dksn08s1'),
    _table2('r2df_d18_l8', 'fR2D-18', 'r2df', 48.5, 60, 81.8, 13.8, 11.4, '4jexszps3564za3'),
    _table2('mc2_d18_l8', 'MC2-18', 'mc2', 50.6, 63, 83.8, 14.3, 11.4, 'lkmhyjok8odtv8e'),
    _table2('mc3_d18_l8', 'MC3-18', 'mc3', 51.1, 63.3, 84.2, 21.7, 11.7, '3jxzhc3kduyrpik'),
    _table2('mc4_d18_l8', 'MC4-18', 'mc4', 50.9, 63, 84.2, 20, 12.7, 'vx2xee36et823gs'),
    _table2('mc5_d18_l8', 'MC5-18', 'mc5', 50.7, 62.9, 84.2, 20, 16.8, 'z6fxv6jr30i2lwz'),
    _table2('rmc2_d18_l8', 'rMC2-18', 'rmc2', 50.2, 62.7, 83.9, 19.9, 33.3, 'vnjpzq7li2b7tk2'),
    _table2('rmc3_d18_l8', 'rMC3-18', 'rmc3', 50.2, 62.8, 83.7, 12.5, 33, '1vwjomlc45ox6u1'),
    _table2('rmc4_d18_l8', 'rMC4-18', 'rmc4', 50.3, 62.8, 83.3, 14.5, 32, 'zots41ng2xs2ezu'),
    _table2('rmc5_d18_l8', 'rMC5-18', 'rmc5', 49.7, 61.6, 83.1, 15.4, 27.9, '3e56jjx6x1qot4x'),
    _table2(
        'r2.5d_d18_l16', 'R2.5D-18', 'r2plus1d', 57.3, 68.5, 87.5, 41.5, 33.3, '94d2ruqn6tp7xno'
    ),
    _table2('r3d_d18_l16', 'R3D-18', 'r3d', 52.9, 64.7, 85, 40.7, 33.4, '8tqp8uhjmedflu1'),
    _table2('r2d_d18_l16', 'R2D-18', 'r2d', 47.5, 59.4, 81.3, 2.2, 11.5, 'hyw8ltzvhadxgia'),
    _table2('r2df_d18_l16', 'fR2D-18', 'r2df', 50.7, 60.9, 81.9, 27.6, 11.4, '4yy0tdfebdy0ptr'),
    _table2('mc2_d18_l16', 'MC2-18', 'mc2', 53.6, 64.8, 85.1, 28.5, 11.4, 'xmtqk2w3p60yly0'),
    _table2('mc3_d18_l16', 'MC3-18', 'mc3', 54.1, 65.2, 85.8, 43.3, 11.7, 'rpgbzjewagjeu2f'),
    _table2('mc4_d18_l16', 'MC4-18', 'mc4', 54.3, 65.6, 85.6, 40, 12.7, 'lrjwye0ldsgi2p2'),
    _table2('mc5_d18_l16', 'MC5-18', 'mc5', 54.1, 65.6, 85.5, 39.9, 16.8, '3qp62d3159rzwsj'),
    _table2('rmc2_d18_l16', 'rMC2-18', 'rmc2', 53.5, 65.4, 85.5, 39.8, 33.3, '70k3p0xz6rjcdtb'),
    _table2('rmc3_d18_l16', 'rMC3-18', 'rmc3', 53.6, 65.5, 85.7, 25, 33, 'n8eulubwh6l3o0b'),
    _table2('rmc4_d18_l16', 'rMC4-18', 'rmc4', 53.9, 65.6, 85.3, 29.1, 32, 'di3wwadbapc61rn'),
    _table2('rmc5_d18_l16', 'rMC5-18', 'rmc5', 52.5, 63.5, 84.2, 30.8, 27.9, 'lb5jaji177hid7p'),
    _table2(
        'c3d_l16', 'C3D-16', 'c3d', 52.3, 63.4, 84.6, 38.5, 64.9, 'hbzn4ykva64avxu', depth=None
    ),
)

# Equivalent to table 5 of the paper: deeper, longer clips, evaluated by dense prediction.
TABLE_5 = (
    Published('r2.5d_d34_l32', 'R2.5D-34', 'r2plus1d', 34, 32, RGB, 'Kinetics',
              60.6, 72.4, 90.6, None, None, 'y6c6jf7myv2w6iq'),
    Published('r2.5d_d34_l32_ft_sports1m_optical_flow', 'R2.5D-34', 'r2plus1d', 34, 32, FLOW,
              'Sports1M+Kinetics', 55.9, 68.2, 88, None, None, '30zj1t9xte5vy64'),
    Published('r2.5d_d34_l32_ft_sports1m', 'R2.5D-34', 'r2plus1d', 34, 32, RGB,
              'Sports1M+Kinetics', 63.9, 74.2, 92.1, None, None, 'odd9smqn2t54run'),
)  # fmt: skip

PUBLISHED = {row.name: row for row in TABLE_2 + TABLE_5}
