"""Clips of videos whose packets are not as many as their frames."""

import pytest

from conftest import number_of
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.read_clips import read_clips
from r2plus1d.video.start_clips import Start, starting_clips


@pytest.fixture
def packets(monkeypatch):
    """Return a function that makes every video state so many packets."""
    return lambda count: monkeypatch.setattr(Video, 'count_packets', lambda video: count)


@pytest.mark.parametrize(('clips', 'starts'), [(2, [0, 32]), (3, [0, 16, 32])])
def test_clips_are_spread_over_the_frames_that_there_are(packets, make_video, clips, starts):
    packets(30)
    found = read_clips(make_video(40), ClipSettings(length=8, clips=clips))
    assert found.starts.tolist() == starts


def test_for_one_clip_nothing_after_it_is_decoded(packets, make_video):
    packets(30)
    found = read_clips(make_video(40), ClipSettings(length=8, clips=1))
    assert (found.starts.tolist(), found.work.decoded) == ([0], 8)


@pytest.mark.parametrize('count', [5, 7])
def test_too_few_packets_may_hold_enough_frames(packets, make_video, count):
    packets(count)
    found = read_clips(make_video(12), ClipSettings(length=8, clips=1))
    assert found.starts.tolist() == [0]


@pytest.mark.parametrize('count', [8, 12])
def test_with_enough_packets_frames_are_not_counted_first(packets, make_video, monkeypatch, count):
    packets(count)
    monkeypatch.delattr(Video, 'count_frames')
    assert len(read_clips(make_video(12), ClipSettings(length=8, clips=1)).pixels) == 1


@pytest.mark.parametrize('crops', [1, 2])
def test_seconds_are_from_the_first_frame_to_the_end_of_the_last(make_video, crops):
    settings = ClipSettings(length=4, rate=3, clips=3, crops=crops, decode_type='uniform')
    found = read_clips(make_video(40), settings)
    assert found.starts.tolist() == [start for start in (0, 15, 30) for _ in range(crops)]
    begins, ends = found.seconds.T
    assert begins == pytest.approx(found.starts / 25)
    assert ends == pytest.approx((found.starts + 10) / 25)


@pytest.mark.parametrize('decode_type', ['start', 'frame'])
def test_frames_and_seconds_of_a_clip_at_a_start_frame(make_video, decode_type):
    settings = ClipSettings(length=4, rate=3, decode_type=decode_type)
    found = read_clips(make_video(40), settings, start_frame=5)
    assert found.starts.tolist() == [5]
    assert found.seconds[0] == pytest.approx([5 / 25, 15 / 25])
    pictures = found.pixels[0].transpose(1, 2, 3, 0)
    numbers = [number_of(picture, scaled_height=settings.scale_h) for picture in pictures]
    assert numbers == [5, 8, 11, 14]


@pytest.mark.parametrize('decode_type', ['start', 'frame'])
def test_starts_may_come_in_any_order(make_video, decode_type):
    settings = ClipSettings(length=4, decode_type=decode_type)
    starts = [Start(i, frame) for i, frame in enumerate([2, 1, None, 0, 99, 1])]
    made = list(starting_clips(make_video(20), settings, starts))
    assert [(start.index, start.frame) for start, _, _ in made] == [
        (2, None), (3, 0), (1, 1), (5, 1), (0, 2), (4, 99),
    ]  # fmt: skip
    assert [clips is None for _, clips, _ in made] == [True, False, False, False, False, True]
    for start, clips, _ in made[1:-1]:
        pictures = clips.pixels[0].transpose(1, 2, 3, 0)
        numbers = [number_of(picture, scaled_height=settings.scale_h) for picture in pictures]
        assert numbers == [start.frame + i for i in range(4)]
