"""The clips of a record against those of a real VideoInput, and what the settings do."""

import numpy as np
import pytest

from conftest import golden_cases, number_of
from r2plus1d.errors import InputError, RecordError
from r2plus1d.networks.input import XY, FlowSettings
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video import flow
from r2plus1d.video.clip import normalize
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.read_clips import read_clips
from video_input_cases import records_of, settings_of


def read_case(case, golden, make_database, threads, local=True):
    """All clips of a golden case, read by the public reader from a database."""
    settings = settings_of(case['args'])
    needs = RecordNeeds(1, local, video_id=True)
    database = make_database(list(records_of(case, golden, local)))
    with DatabaseSource(database, settings, needs, threads=threads) as reader:
        samples = sorted(reader, key=lambda sample: sample.video_id)
    assert [sample.failure for sample in samples] == [None] * len(samples)
    return np.concatenate([sample.clips.pixels for sample in samples]), settings


@pytest.mark.parametrize('case', golden_cases(0), ids=lambda case: case['name'])
@pytest.mark.parametrize('threads', [1, 4])
@pytest.mark.parametrize('local', [False, True], ids=['memory', 'file'])
def test_rgb_is_bit_identical(case, golden, make_database, threads, local):
    pixels, _ = read_case(case, golden, make_database, threads, local)
    expected = np.load(golden / 'video_input' / f'{case["name"]}.npz')['rgb_u8']
    np.testing.assert_array_equal(pixels, expected)


@pytest.mark.parametrize('case', golden_cases(1), ids=lambda case: case['name'])
def test_flow_agrees(case, golden, make_database):
    data, settings = read_case(case, golden, make_database, threads=2)
    expected = np.load(golden / 'video_input' / f'{case["name"]}.npz')['flow']
    assert data.shape == expected.shape
    assert data.dtype == np.float32
    assert data is normalize(data, settings)  # flow comes normalized
    difference = np.abs(data - expected)
    assert difference.mean() <= 1e-3
    assert (difference <= 0.01).mean() >= 0.999


def test_golden_cases_are_not_all_skipped(golden):
    assert len(golden_cases(0)) == 5
    assert len(golden_cases(1)) == 4


def frames_shown(clips, settings):
    """Frame numbers of each row of Clips of numbered videos."""
    heights = {'scale': settings.scale_h, 'short_edge': settings.short_edge}
    height = heights.get(settings.video_res_type)
    return [
        [number_of(frame, scaled_height=height) for frame in row.transpose(1, 2, 3, 0)]
        for row in clips.pixels
    ]


def test_uniform_clips(make_video):
    settings = ClipSettings(length=8, rate=2, clips=3)
    clips = read_clips(make_video(40), settings)
    assert clips.pixels.shape == (3, 3, 8, 112, 112)
    assert clips.starts.tolist() == [0, 12, 25]
    shown = [[start + 2 * i for i in range(8)] for start in (0, 12, 25)]
    assert frames_shown(clips, settings) == shown


def test_given_starts_replace_the_uniform_ones(make_video):
    settings = ClipSettings(length=4, clips=10, clip_starts=(9, 30, 2))
    clips = read_clips(make_video(40), settings)
    assert frames_shown(clips, settings) == [[s, s + 1, s + 2, s + 3] for s in (9, 30, 2)]
    with pytest.raises(RecordError, match='too few frames: 40, and the clips need 41'):
        read_clips(make_video(40), ClipSettings(length=4, clip_starts=(37,)))


def test_start_frame(make_video):
    settings = ClipSettings(length=4, decode_type='start')
    clips = read_clips(make_video(40), settings, start_frame=17)
    assert frames_shown(clips, settings) == [[17, 18, 19, 20]]
    with pytest.raises(RecordError, match='too few frames: 3 from frame 37 on, .* needs 4'):
        read_clips(make_video(40), settings, start_frame=37)
    with pytest.raises(RecordError, match='no start frame'):
        read_clips(make_video(40), settings)


@pytest.mark.parametrize('decode_type', ['random', 'uniform'])
def test_too_few_frames(make_video, decode_type):
    settings = ClipSettings(length=16, decode_type=decode_type)
    with pytest.raises(RecordError, match='too few frames: 10, and the clips need 16'):
        read_clips(make_video(10), settings)


def test_random_choices_follow_from_seed_and_record(make_video):
    def read(seed, index):
        settings = ClipSettings(
            length=8, decode_type='random', random_crop=True, mirror=True, seed=seed
        )
        return read_clips(make_video(40), settings, draw=index).pixels

    np.testing.assert_array_equal(read(1, 5), read(1, 5))
    assert not np.array_equal(read(1, 5), read(1, 6))
    assert not np.array_equal(read(1, 5), read(2, 5))


def test_random_starts_and_crops_cover_the_video(make_video):
    video = make_video(12).read_bytes()
    settings = ClipSettings(length=8, decode_type='random', clips=60)
    assert set(read_clips(video, settings).starts) == {0, 1, 2, 3, 4}
    settings = ClipSettings(length=8, decode_type='uniform', clips=60, random_crop=True)
    crops = {clip.tobytes() for clip in read_clips(make_video(8), settings).pixels}
    assert len(crops) > 50


def test_mirror_turns_half_of_the_clips(make_video):
    path = make_video(12)
    plain = read_clips(path, ClipSettings(length=8, clips=40)).pixels
    turned = read_clips(path, ClipSettings(length=8, clips=40, mirror=True)).pixels
    same = [np.array_equal(a, b) for a, b in zip(plain, turned)]
    mirrored = [np.array_equal(a, b[..., ::-1]) for a, b in zip(plain, turned)]
    assert all(s != m for s, m in zip(same, mirrored))
    assert 10 < sum(mirrored) < 30


def test_crops_follow_the_longer_side(make_video):
    for width, height in ((200, 120), (120, 200)):
        path = make_video(8, width=width, height=height)
        kind = {'length': 8, 'video_res_type': 'short_edge', 'short_edge': 120}
        crops = read_clips(path, ClipSettings(crops=3, **kind)).pixels
        centre = read_clips(path, ClipSettings(**kind)).pixels
        assert crops.shape == (3, 3, 8, 112, 112)
        np.testing.assert_array_equal(crops[1], centre[0])  # offsets 0, 44, 88 and (200-112)//2
        axis = 3 if width > height else 2
        left, middle = crops[0, :, 0], crops[1, :, 0]
        shifted = np.roll(left, -44, axis=axis - 1)
        keep = (slice(None), slice(None), slice(0, 60))
        keep = keep if axis == 3 else (slice(None), slice(0, 60))
        np.testing.assert_array_equal(shifted[keep], middle[keep])


def test_original_resolution_enlarges_only_what_is_too_small(make_video):
    settings = ClipSettings(length=8, video_res_type='original')
    path = make_video(8, width=200, height=140)
    with Video(path) as video:
        unscaled = [picture.pixels for picture in video.frames_at(set(range(8)), (200, 140))]
    expected = np.stack([unscaled[i][14:126, 44:156] for i in range(8)]).transpose(3, 0, 1, 2)
    np.testing.assert_array_equal(read_clips(path, settings).pixels[0], expected)
    path = make_video(8, width=100, height=80)
    with Video(path) as video:
        (enlarged,) = video.frames_at({0}, (140, 112))
    small = read_clips(path, settings).pixels
    np.testing.assert_array_equal(small[0, :, 0], enlarged.pixels[:, 14:126].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'decode_type': 'start', 'clips': 2}, 'clip_per_video is 2'),
        ({'decode_type': 'random', 'clip_starts': (1,)}, 'clip_start_positions need'),
        ({'random_crop': True, 'crops': 3}, 'crop_per_clip is 3'),
        ({'crop_size': 224}, 'crop_size is 224, larger than frames resized to 128'),
        ({'video_res_type': 'short_edge', 'short_edge': 100}, 'crop_size is 112, larger .* 100'),
    ],
)
def test_settings_that_exclude_each_other(settings, message):
    with pytest.raises(InputError, match=message):
        ClipSettings(**settings)


def test_more_or_fewer_frames_than_packets(make_video, monkeypatch):
    """What the packets promise is checked against what decodes, and the clips chosen again."""
    path = make_video(40)
    expected = read_clips(path, ClipSettings(length=8, clips=5))
    for promised in (30, 47, 3):
        monkeypatch.setattr(Video, 'count_packets', lambda self, n=promised: n)
        again = read_clips(path, ClipSettings(length=8, clips=5))
        np.testing.assert_array_equal(again.pixels, expected.pixels)
    monkeypatch.setattr(Video, 'count_packets', lambda self: 4000)
    clips = read_clips(path, ClipSettings(length=8, decode_type='random', clips=5))
    assert clips.starts.max() <= 32


def test_flow_of_a_known_motion():
    """A texture that moves 2 pixels to the right and 1 down a frame."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 255, (30, 30), np.uint8).repeat(6, 0).repeat(6, 1)
    frames = np.stack([np.roll(ground, (i, 2 * i), (0, 1))[:112, :112] for i in range(5)])
    frames = np.repeat(frames[..., None], 3, axis=-1)
    for aggregate in (False, True):
        what = FlowSettings(gap=2, aggregate=aggregate)
        settings = ClipSettings(length=2, rate=2, flow=what)
        assert settings.offsets == [0, 1, 2, 3, 4]
        data = flow.Flows(settings).clip(frames, range(5))
        assert data.shape == (2, 2, 112, 112)
        mean, std = (np.array(n).reshape(2, 1, 1) for n in XY)
        inner = (data[:, 0] * std + mean)[:, 30:-30, 30:-30]
        np.testing.assert_allclose(np.median(inner, axis=(1, 2)), [4, 2], atol=0.1)


@pytest.mark.parametrize(
    ('data_type', 'channels'), [('xy', 2), ('xy_magnitude', 3), ('xy_gray', 3), ('xy_rgb', 5)]
)
def test_channels_of_flow(make_video, data_type, channels):
    what = FlowSettings(data_type=data_type)
    settings = ClipSettings(length=8, rate=1, flow=what, clips=2)
    data = read_clips(make_video(40), settings).pixels
    assert settings.channels == channels
    assert data.shape == (2, channels, 8, 112, 112)
    if data_type == 'xy_magnitude':
        total = np.abs(data[:, 0]) + np.abs(data[:, 1])
        np.testing.assert_allclose(data[:, 2], (total - 0.963986) / 1.43588, atol=1e-5)
    if data_type == 'xy_rgb':
        plain = ClipSettings(length=8, clip_starts=tuple(range(0, 1)))
        rgb = normalize(read_clips(make_video(40), plain).pixels, plain)
        np.testing.assert_array_equal(data[0, 2:], rgb[0])
