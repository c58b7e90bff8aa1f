"""Clips that begin at given frames: decoded together they are what they are alone."""

import random

import numpy as np
import pytest

from conftest import golden_cases, number_of
from r2plus1d.errors import RecordError
from r2plus1d.networks.input import FlowSettings
from r2plus1d.video import start_clips
from r2plus1d.video.clip import Work
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.read_clips import read_clips
from r2plus1d.video.start_clips import Start, starting_clips
from video_input_cases import settings_of

RGB = ClipSettings(length=8, rate=2, decode_type='start')
FLOW = ClipSettings(length=8, decode_type='start', flow=FlowSettings(gap=1))


def together(path, settings, frames):
    """{start frame: Clips} of clips in a random order, decoded together."""
    starts = [Start(index, frame) for index, frame in enumerate(frames)]
    random.Random(0).shuffle(starts)
    made = list(starting_clips(path, settings, starts))
    assert [start.frame for start, _, _ in made] == sorted(frames)
    assert [failure for _, _, failure in made] == [None] * len(frames)
    return {start: clips for start, clips, _ in made}


def total_work(clips):
    return sum((c.work for c in clips), Work())


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'avi', 'webm'])
@pytest.mark.parametrize('settings', [RGB, FLOW])
def test_together_as_alone(make_video, suffix, settings):
    path = make_video(60, suffix, g=12)
    for start, clips in together(path, settings, [0, 1, 5, 5, 17, 40, 44]).items():
        alone = read_clips(path, settings, draw=start.index, start_frame=start.frame)
        np.testing.assert_array_equal(clips.pixels, alone.pixels)
        np.testing.assert_array_equal(clips.seconds, alone.seconds)
        np.testing.assert_array_equal(clips.starts, [start.frame])


@pytest.mark.parametrize(
    'case', [case for case in golden_cases(0) if case['starts']], ids=lambda case: case['name']
)
def test_golden_videos_together_as_alone(golden, case):
    """40 clips of each video in a random order; alone they are held to VideoInput elsewhere."""
    settings = settings_of(case['args'])
    for name in case['videos']:
        path = golden / 'videos' / name
        random_starts = random.Random(name).choices(range(case['starts'][-1] + 1), k=40)
        for start, clips in together(path, settings, random_starts).items():
            alone = read_clips(path, settings, draw=start.index, start_frame=start.frame)
            np.testing.assert_array_equal(clips.pixels, alone.pixels)


def test_each_record_has_its_own_random_crop(make_video):
    settings = ClipSettings(length=8, decode_type='start', random_crop=True, mirror=True, seed=3)
    made = together(make_video(40), settings, [0] * 6)
    for start, clips in made.items():
        alone = read_clips(make_video(40), settings, draw=start.index, start_frame=0)
        np.testing.assert_array_equal(clips.pixels, alone.pixels)
    assert len({clips.pixels.tobytes() for clips in made.values()}) == 6


def test_frames_are_decoded_and_converted_once(make_video):
    path = make_video(300, g=50)
    made = together(path, ClipSettings(length=32, decode_type='start'), range(0, 250))
    assert total_work(made.values()).decoded <= 300
    assert total_work(made.values()).converted == 281


@pytest.mark.parametrize('aggregate', [False, True])
def test_flow_between_two_frames_is_computed_once(make_video, aggregate):
    flow = FlowSettings(gap=2, aggregate=aggregate)
    settings = ClipSettings(length=8, flow=flow, decode_type='start')
    made = together(make_video(40), settings, range(0, 28, 4))
    assert total_work(made.values()).flows == (33 if aggregate else 32)
    uniform = ClipSettings(length=8, flow=flow, clips=7)
    clips = read_clips(make_video(40), uniform)
    assert list(clips.starts) == [0, 5, 10, 15, 20, 25, 30]
    assert clips.work.flows == (39 if aggregate else 38)


def test_crops_do_not_share_flow(make_video):
    settings = ClipSettings(
        length=8, flow=FlowSettings(gap=1), decode_type='start', crops=3, scale_w=200
    )
    made = together(make_video(40), settings, range(0, 24, 4))
    assert total_work(made.values()).flows == 3 * 28
    for start, clips in made.items():
        alone = read_clips(make_video(40), settings, draw=start.index, start_frame=start.frame)
        np.testing.assert_array_equal(clips.pixels, alone.pixels)


def test_frames_are_held_no_longer_than_needed(make_video, monkeypatch):
    held = []
    forget = start_clips.Frames.forget_before

    def watch(self, index):
        held.append(len(self._held))
        forget(self, index)

    monkeypatch.setattr(start_clips.Frames, 'forget_before', watch)
    together(make_video(120), ClipSettings(length=8, decode_type='start'), range(100))
    assert max(held) == 8


def test_a_gap_is_not_decoded(make_video, monkeypatch):
    monkeypatch.setattr(start_clips, 'MAX_GAP_FRAMES', 20)
    settings = ClipSettings(length=8, decode_type='start')
    path = make_video(200, g=10, bf=0, sc_threshold=0)
    made = together(path, settings, [0, 4, 150, 155, 190])
    assert total_work(made.values()).decoded <= 40
    for start, clips in made.items():
        pictures = clips.pixels[0].transpose(1, 2, 3, 0)
        shown = [number_of(picture, scaled_height=128) for picture in pictures]
        assert shown == list(range(start.frame, start.frame + 8))
    counted = ClipSettings(length=8, decode_type='frame')
    assert len(together(path, counted, [0, 190])) == 2
    assert len(together(make_video(200, 'mkv'), settings, [0, 190])) == 2


def test_clips_that_are_found_by_counting(make_video):
    """An AVI with B-frames begins a frame early by its timestamps, as in VideoInput."""
    path = make_video(40, 'avi', g=12, bf=2)
    for decode_type, expected in (('start', 12), ('frame', 13)):
        settings = ClipSettings(length=8, decode_type=decode_type)
        (clips,) = together(path, settings, [13]).values()
        assert number_of(clips.pixels[0, :, 0].transpose(1, 2, 0), scaled_height=128) == expected


def test_each_failure_is_its_own(make_video):
    starts = [Start(0, 30), Start(1, None), Start(2, 5), Start(3, 100)]
    made = list(starting_clips(make_video(40), RGB, starts))
    failures = {start.index: failure for start, _, failure in made}
    assert failures == {
        0: 'too few frames: 10 from frame 30 on, and the clip needs 15',
        1: 'no start frame, which decode_type start needs',
        2: None,
        3: 'too few frames: 0 from frame 100 on, and the clip needs 15',
    }


def test_a_video_that_fails_fails_all_its_clips(tmp_path):
    made = list(starting_clips(tmp_path / 'none.mp4', RGB, [Start(0, 3), Start(1, 1)]))
    assert [(s.index, clips, failure.split(':')[0]) for s, clips, failure in made] == [
        (1, None, 'missing file'),
        (0, None, 'missing file'),
    ]


def test_a_video_that_fails_on_the_way_keeps_the_clips_before(make_video, monkeypatch):
    calls = []

    def converter(self, size):
        def convert(frame):
            calls.append(1)
            if len(calls) > 12:
                raise RecordError('frames of x do not convert')
            return np.zeros((size[1], size[0], 3), np.uint8)

        return convert

    monkeypatch.setattr(start_clips.Video, 'converter', converter)
    settings = ClipSettings(length=8, decode_type='start')
    made = list(starting_clips(make_video(40), settings, [Start(i, 4 * i) for i in range(4)]))
    assert [failure for _, _, failure in made] == [None, None] + ['frames of x do not convert'] * 2


def test_clips_know_when_they_are_shown(make_video):
    for suffix in ('mp4', 'mkv', 'avi'):
        path = make_video(40, suffix, fps=20)
        (clips,) = together(path, RGB, [10]).values()
        np.testing.assert_allclose(clips.seconds, [[0.5, 1.25]], atol=0.051)
        uniform = read_clips(path, ClipSettings(length=8, clips=2, crops=2))
        expected = [[0, 0.4], [0, 0.4], [1.6, 2], [1.6, 2]]
        np.testing.assert_allclose(uniform.seconds, expected, atol=0.051)
