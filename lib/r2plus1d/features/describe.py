"""How features are made, in words for a paper."""

import math
from collections.abc import Sequence
from typing import NamedTuple, Optional

from r2plus1d.features.extract import INPUTS, blob_shapes
from r2plus1d.networks.network import Network
from r2plus1d.sources.stride import Stride
from r2plus1d.video.clip_settings import ClipSettings

CITED = (
    'Tran et al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018'
)
POOLED = {'mean': 'the mean', 'max': 'the maximum'}


class Method(NamedTuple):
    """What decides the numbers of an extraction.

    Attributes:
        network: Network.
        clips: ClipSettings.
        features: blobs that are extracted.
        weights: what the file is called, and its SHA-256 in hexadecimal; None without a network.
        precision: of the engine.
        stride: from one clip's first frame to the next one's; None for the clips of a database.
        pool: a key of per_video.POOLS.
        versions: {package: version} of what computes.
    """

    network: Network
    clips: ClipSettings
    features: Sequence[str]
    weights: Optional[tuple[str, str]]
    precision: str
    stride: Optional[Stride]
    pool: str
    versions: dict[str, str]


def describe(method: Method) -> str:
    """Return a paragraph of plain sentences."""
    sentences = [*_network(method), *_clips(method), *_frames(method.clips), *_pooled(method)]
    versions = ', '.join(f'{name} {version}' for name, version in method.versions.items())
    return ' '.join([*sentences, f'They were computed with {versions}.'])


def _network(method):
    shapes, network = blob_shapes(method.network), method.network
    blobs = [name for name in method.features if name not in INPUTS]
    if not blobs:
        return
    listed = _and([f'{name} ({math.prod(shapes[name])} numbers a clip)' for name in blobs])
    are = 'are the blob' if len(blobs) == 1 else 'are the blobs'
    yield f'The features {are} {listed} of {network.name} ({CITED}),'
    file, digest = method.weights or ('', '')
    yield f'with the weights {file} (SHA-256 {digest}), in inference mode, in {method.precision}.'


def _clips(method):
    clips, stride = method.clips, method.stride
    what = 'optical-flow fields' if clips.flow else 'RGB frames'
    yield f'A clip has {clips.length} {what}, {_every(clips.rate)} of the video.'
    if stride and stride.seconds is not None:
        yield f'Clips begin at the frames shown nearest to 0, {stride.seconds:g}, ... seconds.'
    elif stride:
        yield f'Clips begin at the frames 0, {stride.frames}, {2 * stride.frames}, ...'
    elif clips.has_start_frames:
        yield 'Clips begin where the database says.'
    elif clips.clip_starts:
        yield f'Clips begin at the frames {_and(list(map(str, clips.clip_starts)))}.'
    elif clips.decode_type == 'random':
        count = 'One clip is' if clips.num_clips == 1 else f'{clips.num_clips} clips are'
        yield f'{count} taken at random (seed {clips.seed}).'
    else:
        yield _uniform(clips.num_clips)


def _uniform(count):
    if count == 1:
        return 'One clip of a video is taken, which begins with its first frame.'
    return f'{count} clips of a video are spread evenly, from its first frame to its last.'


def _every(rate):
    return 'consecutive ones' if rate == 1 else f'one of {rate} frames'


def _frames(clips):
    yield f'Frames are resized {_resized(clips)};'
    if clips.random_crop:
        size = f'{clips.crop_size} x {clips.crop_size}'
        yield f'{size} pixels of them are taken at random (seed {clips.seed}).'
    elif clips.crops > 1:
        yield f'{clips.crops} crops of {clips.crop_size} x {clips.crop_size} pixels are taken.'
    else:
        yield f'the central {clips.crop_size} x {clips.crop_size} pixels are taken.'
    if clips.mirror:
        yield f'Clips are mirrored at random (seed {clips.seed}).'
    if clips.flow:
        gap = clips.flow.gap
        which = 'consecutive frames' if gap == 1 else f'frames that are {gap} frames apart'
        yield f'Optical flow is that of Farneback between {which}.'
    mean, deviation = clips.statistics
    yield f'Of the channels {_and(_numbers(mean))} are subtracted,'
    yield f'and they are divided by {_and(_numbers(deviation))}.'


def _resized(clips):
    if clips.video_res_type == 'scale':
        return f'to {clips.scale_w} x {clips.scale_h} pixels'
    if clips.video_res_type == 'short_edge':
        return f'so that the shorter side has {clips.short_edge} pixels'
    return f'only where a side has less than {clips.crop_size} pixels'


def _numbers(values):
    return [f'{value:g}' for value in values]


def _pooled(method):
    if method.pool in POOLED:
        yield f'Of the clips of a video {POOLED[method.pool]} is taken.'


def _and(texts):
    return texts[0] if len(texts) == 1 else f'{", ".join(texts[:-1])} and {texts[-1]}'
