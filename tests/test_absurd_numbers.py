"""Numbers that nobody means are refused in one line before anything is allocated."""

import re

import pytest

from conftest import ROOT
from r2plus1d.errors import InputError
from r2plus1d.networks.input import FlowSettings
from r2plus1d.video.clip_settings import ClipSettings
from tool_here import run_here

TOOLS = sorted(
    path.relative_to(ROOT).as_posix() for folder in ('tools', 'data')
    for path in (ROOT / folder).glob('[!_]*.py')
)  # fmt: skip
REALS = {
    'bn_epsilon',
    'width',
    'base_learning_rate',
    'weight_decay',
    'step_epoch',
    'gamma',
    'max_loss',
    'test_share',
}
OTHERS = {'stride', 'alpha'}  # of extract_features: 8 or 0.5s


def integers_of(tool):
    text = run_here(tool, '--help=all').stdout
    return [name for name in re.findall(r'--(\w+)=N\b', text) if name not in REALS | OTHERS]


@pytest.mark.parametrize('tool', TOOLS)
def test_an_integer_of_twenty_digits_is_one_line(tool):
    name = tool.partition('/')[2]
    for flag in integers_of(tool):
        for value in ('1' + 20 * '0', '1' + 5000 * '0', '-1' + 20 * '0', '1e20'):
            result = run_here(tool, f'--{flag}={value}')
            assert result.returncode == 2, (flag, result)
            assert re.fullmatch(
                f'{name}: argument --{flag}: .{{,60}}(is more than|is less than|is not an integer)'
                r'.{,60}\n',
                result.stderr,
            ), (flag, result.stderr)


@pytest.mark.parametrize(
    ('flag', 'most'),
    [
        ('num_gpus', 1024), ('cpu_replicas', 64), ('num_decode_threads', 1024),
        ('engine_threads', 1024), ('batch_size', 16384), ('scale_h', 4096), ('scale_w', 4096),
        ('short_edge', 4096), ('num_labels', 131072), ('num_channels', 1024),
        ('clip_length_rgb', 10000), ('clip_length_of', 10000), ('top_k', 2**31 - 1),
        ('seed', 2**63 - 1),
    ],
)  # fmt: skip
def test_what_costs_memory_has_a_bound(flag, most):
    result = run_here('tools/test_net.py', f'--{flag}={most + 1}')
    assert f'argument --{flag}: {most + 1} is more than {most} (' in result.stderr
    assert 'is more than' not in run_here('tools/test_net.py', f'--{flag}={most}').stderr


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'clips': 10**9}, r'1000000000 clips of 16 .* crop_per_clip 1 are 602112.0 GB for each'),
        ({'clips': 2, 'crops': 10**6}, '2 clips of 16 frames with crop_per_clip 1000000 are'),
        ({'length': 10**5}, '1 clips of 100000 frames'),
        ({'clips': 2000, 'length': 32, 'flow': FlowSettings()}, 'are 6.4 GB .* at most 2.1 GB'),
    ],
)
def test_clips_that_no_memory_holds_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        ClipSettings(**settings)
    ClipSettings(clips=10, length=32, crops=3, crop_size=224, scale_h=256, scale_w=342)
