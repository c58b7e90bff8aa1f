"""The paragraph that says how features are made: each sentence goes by its setting."""

import dataclasses
import re

import pytest

from conftest import ROOT
from r2plus1d.features.describe import Method, describe
from r2plus1d.networks.input import FlowSettings
from r2plus1d.networks.network import Network
from r2plus1d.sources.stride import Stride
from r2plus1d.video.clip_settings import ClipSettings
from tool_here import run_here

TOOL = ROOT / 'tools' / 'extract_features.py'
WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
PLAIN = Method(
    Network(clip_length=8, width=0.125, num_labels=8), ClipSettings(length=8), ['final_avg'],
    ('w.pkl', 'ab12'), 'fp32', None, 'none', {'r2plus1d': '1.2', 'av': '19'},
)  # fmt: skip


def test_all_that_decides_is_said():
    assert describe(PLAIN) == (
        'The features are the blob final_avg (64 numbers a clip) of r2plus1d_18_8_w0.125 (Tran et '
        'al., A Closer Look at Spatiotemporal Convolutions for Action Recognition, CVPR 2018), '
        'with the weights w.pkl (SHA-256 ab12), in inference mode, in fp32. A clip has 8 RGB '
        'frames, consecutive ones of the video. One clip of a video is taken, which begins with '
        'its first frame. Frames are resized to 171 x 128 pixels; the central 112 x 112 pixels are '
        'taken. Of the channels 110.201, 100.64 and 95.9966 are subtracted, and they are divided '
        'by 58.1489, 56.4701 and 55.3324. They were computed with r2plus1d 1.2, av 19.'
    )


@pytest.mark.parametrize(
    ('clips', 'said'),
    [
        ({'rate': 2}, 'one of 2 frames of the video'),
        ({'decode_type': 'start'}, 'Clips begin where the database says.'),
        ({'clip_starts': (0, 7)}, 'Clips begin at the frames 0 and 7.'),
        ({'decode_type': 'random', 'seed': 5}, 'One clip is taken at random (seed 5).'),
        ({'clips': 10}, '10 clips of a video are spread evenly, from'),
        ({'crops': 3}, '3 crops of 112 x 112 pixels are taken.'),
        ({'decode_type': 'random', 'clips': 4}, '4 clips are taken at random (seed 0).'),
        ({'random_crop': True}, '112 x 112 pixels of them are taken at random (seed 0).'),
        ({'mirror': True, 'seed': 3}, 'Clips are mirrored at random (seed 3).'),
        (
            {'video_res_type': 'short_edge', 'short_edge': 256, 'crop_size': 224},
            'so that the shorter side has 256 pixels; the central 224 x 224 pixels are taken.',
        ),
        ({'video_res_type': 'original'}, 'resized only where a side has less than 112 pixels;'),
        ({'flow': FlowSettings(gap=1)}, 'Optical flow is that of Farneback between consecutive'),
        ({'flow': FlowSettings(gap=2)}, 'frames that are 2 frames apart. Of the channels 0.0046'),
    ],
)
def test_clips_and_frames_are_said(clips, said):
    assert said in describe(PLAIN._replace(clips=dataclasses.replace(PLAIN.clips, **clips)))


@pytest.mark.parametrize(
    ('changes', 'said'),
    [
        ({'stride': Stride(frames=4)}, 'Clips begin at the frames 0, 4, 8, ...'),
        ({'stride': Stride(seconds=0.5)}, 'at the frames shown nearest to 0, 0.5, ... seconds.'),
        ({'pool': 'max'}, 'Of the clips of a video the maximum is taken.'),
        ({'features': ['softmax', 'final_avg']}, 'are the blobs softmax (8 numbers a clip) and'),
    ],
)
def test_what_is_made_of_them_is_said(changes, said):
    assert said in describe(PLAIN._replace(**changes))
    assert said not in describe(PLAIN)


def test_pixels_alone_have_no_network():
    assert describe(PLAIN._replace(features=['data'], weights=None)).startswith('A clip has 8 RGB')


def test_the_tool_says_it_and_writes_nothing(tmp_path):
    videos = ['--videos', str(tmp_path), '--describe=1', f'--output_path={tmp_path}/out']
    done = run_here(TOOL, *videos, f'--load_model_path={WEIGHTS}')
    assert (done.returncode, done.stderr) == (0, '')
    assert re.search(r'w0\.125\.pkl \(SHA-256 19740b65[0-9a-f]{55,56}\)', done.stdout)
    assert 'Clips begin at the frames 0, 8, 16, ...' in done.stdout
    assert re.search(r'with r2plus1d [\d.]+, av [\d.]+, .*, (openvino|torch|caffe2) ', done.stdout)
    assert list(tmp_path.iterdir()) == []
    refused = run_here(TOOL, *videos, '--clip_length_rgb=8')
    assert refused.returncode == 1
    assert 'load_model_path is not given' in refused.stderr
