"""The published weights: their rows of the tables, their links, their accuracies."""

import dataclasses
import urllib.parse
from typing import Any, NamedTuple, Optional

from r2plus1d.results.known_classes import KINETICS, SPORTS


@dataclasses.dataclass(frozen=True)
class Published:
    """One row of the published tables.

    Attributes:
        name: `--download` takes it; most are the weight file's name without its extension.
        label: the model's name in the tables.
        architecture, depth, clip_length: of the network. C3D has one depth only; the 18 of its row
            is what the original's flags say, and decides nothing.
        modality: RGB or Optical Flow.
        pretrained: what it was trained on, the last one last.
        clip_top1, video_top1, video_top5: accuracy on Kinetics' validation set, in percent, or
            None where not published.
        glops, params: 10^9 multiply-adds of a clip and 10^6 weights, or None where not published.
        key: the link's folder on the file host.
        num_labels: of the last layer; None where not published, the file says it.
        crop_size: height and width of what the network was trained on, in pixels.
        use_pool1: whether the network has a pool1.
        cost_crop_size: of the clip that `glops` is of, which is predicted by convolution; None is
            crop_size, without convolutional prediction.
        run: what the file's name has behind `name`.
    """

    name: str
    label: str
    architecture: str
    depth: int
    clip_length: int
    modality: str
    pretrained: str
    clip_top1: Optional[float]
    video_top1: Optional[float]
    video_top5: Optional[float]
    glops: Optional[float]
    params: Optional[float]
    key: str
    num_labels: Optional[int] = 400
    crop_size: int = 112
    use_pool1: bool = False
    cost_crop_size: Optional[int] = None
    run: str = ''

    @property
    def num_channels(self) -> int:
        return 2 if self.modality == FLOW else 3

    @property
    def file(self) -> str:
        """The weight file's name on the host, without its extension; two have a space."""
        return self.name + self.run

    @property
    def classes(self) -> Optional[str]:
        """Which list of results.known_classes names its classes; None where nobody has named them.

        What the weights were trained on last decides it, not the number of classes.
        """
        if self.num_labels == KINETICS_LABELS:
            return KINETICS
        return SPORTS if self.pretrained == 'Sports1M' else None

    @property
    def link(self) -> str:
        name = urllib.parse.quote(self.file)
        return f'https://www.dropbox.com/s/{self.key}/{name}.pkl?dl=1'


RGB = 'RGB'
FLOW = 'Optical Flow'
KINETICS_LABELS = 400


def _table2(
    name: str, label: str, architecture: str, *numbers_and_key: Any, depth: int = 18
) -> Published:
    """A network of 18 layers, or C3D, trained from scratch on Kinetics, tested on 10 clips."""
    clip_top1, video_top1, video_top5, glops, params, key = numbers_and_key
    clip_length = int(name.rsplit('_l', 1)[1])
    return Published(
        name, label, architecture, depth, clip_length, RGB, 'Kinetics', clip_top1, video_top1,
        video_top5, glops, params, key,
    )  # fmt: skip


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
    _table2('c3d_l16', 'C3D-16', 'c3d', 52.3, 63.4, 84.6, 38.5, 64.9, 'hbzn4ykva64avxu'),
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


class _Kind(NamedTuple):
    """What the later rows of one network have in common."""

    label: str
    architecture: str
    depth: int
    clip_length: int
    glops: Optional[float] = None
    params: Optional[float] = None
    is_csn: bool = False

    def row(
        self, name: str, run: str, key: str, pretrained: str, *accuracies: float,
        num_labels: Optional[int] = KINETICS_LABELS,
    ) -> Published:  # fmt: skip
        """Return the row of a file; `accuracies` are of videos, in percent, or none at all."""
        top1, top5 = accuracies or (None, None)
        measured = num_labels == KINETICS_LABELS
        costs = (self.glops, self.params) if measured else (None, None)
        cost_crop_size = 256 if self.is_csn else 128
        return Published(
            name, self.label, self.architecture, self.depth, self.clip_length, RGB, pretrained,
            None, top1, top5, *costs, key,
            num_labels=num_labels,
            crop_size=224 if self.is_csn else 112,
            use_pool1=self.is_csn,
            cost_crop_size=None if self.architecture == 'c3d' else cost_crop_size,
            run=run,
        )  # fmt: skip


_C3D = _Kind('C3D', 'c3d', 18, 16)
_R34_8 = _Kind('R(2+1)D-34', 'r2plus1d', 34, 8, 49.8, 63.646)
_R34_32 = _Kind('R(2+1)D-34', 'r2plus1d', 34, 32, 199.0, 63.646)
_R152 = _Kind('R(2+1)D-152', 'r2plus1d', 152, 32, 329.1, 118.021)
_IR50 = _Kind('ir-CSN-50', 'ir-csn', 50, 32, is_csn=True)
_IR152 = _Kind('ir-CSN-152', 'ir-csn', 152, 32, 96.715669504, 29.551744, is_csn=True)
_IP152 = _Kind('ip-CSN-152', 'ip-csn', 152, 32, 108.8, 32.841, is_csn=True)
_KINETICS, _SPORTS, _IG = 'Kinetics', 'Sports1M+Kinetics', 'IG-65M+Kinetics'

# Published later, of Kinetics' classes.
LATER = (
    _C3D.row('c3d_kinetics_from_scratch', '_f129282105', 'z6w799mqet65mkq', _KINETICS, 66.6, 86.7),
    _C3D.row('c3d_ft_kinetics_from_sports1m', '_f131638306', 'jadubfxhh5hdyp5', _SPORTS,
             67.4, 87.2),
    _R34_8.row('r2plus1d_34_clip8_ft_kinetics_from_ig65m', '_ f128022400', 'p81twy88kwrrcop', _IG,
               74.9, 91.8),
    _R34_32.row('r2plus1d_34_clip32_ft_kinetics_from_ig65m', '_ f106169681', 'z41ff7vs0bzf6b8', _IG,
                80.0, 94.2),
    _R152.row('r2plus1d_152_kinetics_from_scratch', '_f127858918', '9770y063u3z5bmb', _KINETICS,
              77.3, 92.5),
    _R152.row('r2plus1d_152_ft_kinetics_from_sports1m', '_f128957437', 'twvcpe30rxuaf45', _SPORTS,
              79.5, 94.0),
    _R152.row('r2plus1d_152_ft_kinetics_from_ig65m', '_f107107466', 'tmxuae8ubo5gipy', _IG,
              81.6, 95.3),
    _IR50.row('irCSN_50_ft_kinetics_from_ig65m', '_f233743920', 'b6o2mvoqrvupatt', _IG),
    _IR152.row('irCSN_152_kinetics_from_scratch', '_f98268019', '46gcm7up60ssx5c', _KINETICS,
               76.5, 92.1),
    _IR152.row('irCSN_152_ft_kinetics_from_sports1m', '_f101599884', 'zuoj1aqouh6bo6k', _SPORTS,
               78.2, 93.0),
    _IR152.row('irCSN_152_ft_kinetics_from_ig65m', '_f126851907', 'gmd8r87l3wmkn3h', _IG,
               82.6, 95.3),
    _IP152.row('ipCSN_152_kinetics_from_scratch', '_f129594342', '3fihu6ti60047mu', _KINETICS,
               77.8, 92.8),
    _IP152.row('ipCSN_152_ft_kinetics_from_sports1m', '_f111279053', 'ir7cr0hda36knux', _SPORTS,
               78.8, 93.5),
    _IP152.row('ipCSN_152_ft_kinetics_from_ig65m', '_f133090949', 'zpp3p0vn2i7bibl', _IG,
               82.5, 95.3),
)  # fmt: skip

# The same networks before they were trained on Kinetics; the classes of IG-65M have no names.
HEADS = (
    _C3D.row('c3d_sports1m_from_scratch', '_f129642950', 's2ooup80wal8o5d', 'Sports1M',
             num_labels=487),
    _R34_8.row('r2plus1d_34_clip8_ig65m_from_scratch', '_f79708462', '6xwyu1az6oy4ts7', 'IG-65M',
               num_labels=487),
    _R34_32.row('r2plus1d_34_clip32_ig65m_from_scratch', '_f102649996', 'eimo232tqw8mwi9', 'IG-65M',
                num_labels=359),
    _R152.row('r2plus1d_152_sports1m_from_scratch', '_f127111290', 'w5cdqeyqukuaqt7', 'Sports1M',
              num_labels=487),
    _R152.row('r2plus1d_152_ig65m_from_scratch', '_f106380637', 'oqdg176p7nqc84v', 'IG-65M',
              num_labels=359),
    _IR50.row('irCSN_50_pretrained_ig65m', '_f231921860', '1cqzndm1zobxvhh', 'IG-65M',
              num_labels=None),
    _IR152.row('irCSN_152_sports1m_from_scratch', '_f99918785', 'woh99y2hll1mlqv', 'Sports1M',
               num_labels=487),
    _IR152.row('irCSN_152_ig65m_from_scratch', '_f125286141', 'r0kppq7ox6c57no', 'IG-65M',
               num_labels=359),
    _IP152.row('ipCSN_152_sports1m_from_scratch', '_f111018543', '70di7o7qz6gjq6x', 'Sports1M',
               num_labels=487),
    _IP152.row('ipCSN_152_ig65m_from_scratch', '_f130601052', '1ryvx8k7kzs8od6', 'IG-65M',
               num_labels=359),
)  # fmt: skip

PUBLISHED = {row.name: row for row in TABLE_2 + TABLE_5 + LATER + HEADS}

# By the names of their files on the host, for rows whose name is shorter
FILES = {row.file.replace(' ', ''): row for row in PUBLISHED.values() if row.run}


def find(name: str) -> Optional[Published]:
    """Return the row of a name, or of its file's name on the host; None if there is none.

    In two of these names there is a space, which may be %20 or left out here.
    """
    bare = name.replace('%20', '').replace(' ', '')
    return PUBLISHED.get(bare) or FILES.get(bare)
