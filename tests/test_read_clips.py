"""Clips of videos whose packets are not as many as their frames."""

import pytest

from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.read_clips import read_clips


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
