"""Clips of video files at a stride: by frames, by timestamps, and of all that there is."""

from fractions import Fraction

import av
import numpy as np
import pytest

from conftest import ROOT, number_of, numbered_frames
from r2plus1d.errors import InputError, RecordError
from r2plus1d.sources.file_source import Stride, VideoFiles
from r2plus1d.sources.stride import starts_by_time
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.timestamps import order_stamps

CASES = ROOT.parent / 'shared' / 'cases' / 'video'
COUNTED = ClipSettings(length=8, decode_type='frame')
FAST = [i * 50 for i in range(15)]  # in thousandths: 20 frames a second, then 5
VARIABLE = [*FAST, *(750 + i * 200 for i in range(30))]


def thousandths(*times):
    return [Fraction(time, 1000) for time in times]


@pytest.mark.parametrize(
    ('times', 'seconds', 'expected'),
    [
        (range(0, 400, 40), 0.1, [0, 2, 5, 8]),  # in the middle, the even one
        (range(0, 400, 40), 0.04, [*range(10)]),
        (range(0, 4000, 500), 1, [0, 2, 4, 6]),
        ([0, 10, 20, 1000, 1010, 1020], 0.5, [0, 2, 3]),
        ([0, 10, 5000], 0.5, [0, 1, 2]),  # a frame begins one clip at most
        ([700, 800, 900, 1000], 0.5, [0, 3]),  # the first frame is late
        ([0], 0.5, [0]),
    ],
)
def test_starts_by_time(times, seconds, expected):
    found = starts_by_time(thousandths(*times), required=1, seconds=seconds, frame_seconds=0.01)
    assert found == expected


def test_as_rounding_where_the_rate_is_constant():
    for rate in (10, 24, 25, Fraction(30000, 1001), 60):
        times = [number / Fraction(rate) for number in range(200)]
        for seconds in (0.2, 0.25, 0.5, 1.0):
            step = Fraction(str(seconds)) * rate
            expected = [round(i * step) for i in range(200) if round(i * step) <= 192]
            found = starts_by_time(
                times, required=8, seconds=seconds, frame_seconds=float(1 / Fraction(rate))
            )
            assert found == expected


def test_a_clip_ends_within_the_video():
    times = thousandths(*range(0, 1000, 100))
    assert starts_by_time(times, required=4, seconds=0.3, frame_seconds=0.1) == [0, 3, 6]
    with pytest.raises(RecordError, match='too few frames: 10, and a clip needs 11'):
        starts_by_time(times, required=11, seconds=0.3, frame_seconds=0.1)


def test_less_than_a_frame():
    with pytest.raises(RecordError, match='stride is 0.03 seconds, and one frame of it is 0.04'):
        starts_by_time(thousandths(0, 40, 80), required=1, seconds=0.03, frame_seconds=0.04)
    for stride in (Stride(0), Stride(-1), Stride(seconds=0), Stride(seconds=float('nan'))):
        with pytest.raises(InputError, match='stride is .*; (at least 1|more than 0)'):
            VideoFiles([], COUNTED, stride)


@pytest.mark.parametrize(
    ('stamps', 'expected'),
    [
        ([(3, 0), (1, 1), (2, 2)], [1, 2, 3]),
        ([(None, 0), (1, 1), (2, 2)], [0, 1, 2]),
        ([(5, 0), (5, 1)], [0, 1]),
        ([(None, 0), (1, None)], None),
        ([], []),
    ],
)
def test_order_of_stamps(stamps, expected):
    assert order_stamps(stamps) == expected


@pytest.fixture
def variable(tmp_path):
    """A video of 20 frames a second, then of 5."""
    path = tmp_path / 'x.mp4'
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=25, options={'bf': '2'})
        stream.width, stream.height, stream.pix_fmt = 160, 120, 'yuv420p'
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, pixels in zip(VARIABLE, numbered_frames(len(VARIABLE))):
            frame = av.VideoFrame.from_ndarray(pixels, 'rgb24').reformat(format='yuv420p')
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    return path


def test_a_stride_in_seconds_goes_by_timestamps(variable):
    source = VideoFiles([variable], COUNTED, Stride(seconds=0.5))
    samples = list(source.samples())
    assert [sample.failure for sample in samples] == [None] * len(samples)
    assert len(samples) == 11
    for number, sample in enumerate(samples):
        ((begin, _),) = sample.clips.seconds
        assert abs(begin - 0.5 * number) <= 0.101
        first = sample.clips.pixels[0].transpose(1, 2, 3, 0)[0]
        assert number_of(first, scaled_height=128) == sample.start_frame


def test_case_a_variable_frame_rate():
    path = CASES / 'vfr.mp4'
    if not path.is_file():
        pytest.skip(f'no file {path}')
    source = VideoFiles([path], COUNTED, Stride(seconds=0.5))
    begins = [sample.clips.seconds[0][0] for sample in source.samples()]
    np.testing.assert_allclose(begins, np.arange(12) * 0.5, atol=0.101)


def test_case_clips_that_do_not_exist():
    names = ('vp9_hidden_frames_80_packets_72_frames.webm', 'ts_starts_between_keyframes.ts')
    for name, frames in zip(names, (72, 50)):
        path = CASES / name
        if not path.is_file():
            pytest.skip(f'no file {path}')
        samples = list(VideoFiles([path], COUNTED, Stride(8)).samples())
        assert [sample.start_frame for sample in samples] == [*range(0, frames - 7, 8)]
        assert [sample.failure for sample in samples] == [None] * len(samples)


def test_all_frames_are_used(make_video, decode_here, monkeypatch, caplog):
    monkeypatch.setattr('r2plus1d.video.decode.MAX_FRAMES', 20)
    path = make_video(40)
    for stride in (Stride(8), Stride(seconds=0.32)):
        samples = list(VideoFiles([path], COUNTED, stride).samples())
        assert [sample.start_frame for sample in samples] == [0, 8, 16, 24, 32]
        assert [sample.failure for sample in samples] == [None] * 5
    assert caplog.messages == []
    monkeypatch.setattr(Video, 'affordable_frames', 30)
    for stride in (Stride(8), Stride(seconds=0.32)):
        caplog.clear()
        assert len(VideoFiles([path], COUNTED, stride)) == 3
        assert caplog.messages == [f'{path}: clips are of its first 30 frames; it has more']


def test_what_the_budget_is_enough_for(make_video, monkeypatch):
    with Video(make_video(40)) as video:
        assert video.affordable_frames == 10**11 // (160 * 120) - 1
        monkeypatch.setattr('r2plus1d.video.decode.MAX_FRAMES', 10**8)
        assert video.affordable_frames == 10**8


def test_videos_without_times(make_video, decode_here, monkeypatch):
    monkeypatch.setattr(Video, '_stamps', lambda self, most: [(None, None)] * 40)
    (sample,) = VideoFiles([make_video(40)], COUNTED, Stride(seconds=1)).samples()
    assert sample.failure == 'it does not say when its frames are shown: give stride in frames'


def test_interlaced_pictures_are_counted_by_decoding(tmp_path):
    path = tmp_path / 'x.mp4'
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=25, options={'x264-params': 'tff=1'})
        stream.width, stream.height, stream.pix_fmt = 160, 128, 'yuv420p'
        for number, pixels in enumerate(numbered_frames(40, height=128)):
            frame = av.VideoFrame.from_ndarray(pixels, 'rgb24').reformat(format='yuv420p')
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    with Video(path) as video:
        assert video.count_frames_exactly() == 40
        assert video.total_decoded == 16 + 40
