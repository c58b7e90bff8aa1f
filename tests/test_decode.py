"""Decoding: the frames asked for, the pixels of one swscale call, and every way that it fails."""

import io
import itertools

import av
import numpy as np
import pytest
from av.stream import Disposition

from conftest import number_of
from r2plus1d.errors import RecordError
from r2plus1d.video import decode
from r2plus1d.video.container import TITLES, video_stream
from r2plus1d.video.decode import Video
from r2plus1d.video.keyframes import from_keyframe

SIZE = (171, 128)


def numbers(pictures):
    return {picture.index: number_of(picture.pixels) for picture in pictures}


def numbers_from(video, start, count, **how):
    """The numbers of the first `count` frames of a clip that begins at frame `start`."""
    convert = video.converter(SIZE)
    frames = itertools.islice(video.positions(video.begin_of(start, **how), **how), count)
    return [number_of(convert(frame)) for _, frame in frames]


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'avi', 'mov', 'webm'])
@pytest.mark.parametrize('in_memory', [False, True])
def test_frames_are_the_ones_asked_for(make_video, suffix, in_memory):
    path = make_video(40, suffix)
    with Video(path.read_bytes() if in_memory else path) as video:
        assert (video.width, video.height) == (160, 120)
        assert video.count_packets() == video.count_frames() == 40
        assert numbers(video.frames_at({0, 7, 39}, SIZE)) == {0: 0, 7: 7, 39: 39}
        assert numbers(video.frames_at({12}, SIZE)) == {12: 12}  # the same video once more


def test_order_is_that_of_presentation(make_video):
    path = make_video(40, 'mp4', bf=3, g=12)
    with av.open(str(path)) as container:
        pts = [packet.pts for packet in container.demux() if packet.size]
    assert pts != sorted(pts), 'no B-frames: this test shows nothing'
    with Video(path) as video:
        assert list(numbers(video.frames_at(set(range(40)), SIZE)).values()) == list(range(40))


@pytest.mark.parametrize('size', [SIZE, (160, 120), (255, 191)])
def test_pixels_are_those_of_one_conversion(make_video, size):
    path = make_video(10)
    with av.open(str(path)) as container:
        # Without labels of chroma and colours, which PyAV from 17 on reads
        plain = [
            av.VideoFrame.from_ndarray(f.to_ndarray(), 'yuv420p') for f in container.decode(video=0)
        ]
        expected = [
            frame.to_ndarray(
                format='rgb24', width=size[0], height=size[1], interpolation='FAST_BILINEAR'
            )
            for frame in plain
        ]
    with Video(path) as video:
        for index, pixels, seconds in video.frames_at(set(range(10)), size):
            assert pixels.dtype == np.uint8
            np.testing.assert_array_equal(pixels, expected[index])
            assert seconds == pytest.approx(index / 25)


def test_only_wanted_frames_are_converted(make_video):
    with Video(make_video(40)) as video:
        list(video.frames_at({3, 30}, SIZE, to_end=True))
        assert (video.total_converted, video.total_decoded, video.num_decoded) == (2, 40, 40)


def test_decoding_stops_at_the_last_wanted_frame_unless_told(make_video):
    with Video(make_video(40)) as video:
        list(video.frames_at({3}, SIZE))
        assert video.num_decoded == 4


@pytest.mark.parametrize('suffix', ['mp4', 'avi', 'mkv', 'mov'])
@pytest.mark.parametrize('start', [0, 1, 13, 25, 36])
def test_a_clip_begins_at_its_start_frame(make_video, suffix, start):
    b_frames = 0 if suffix == 'avi' else 2
    with Video(make_video(40, suffix, g=12, bf=b_frames)) as video:
        assert numbers_from(video, start, 4) == list(range(start, start + 4))
        assert numbers_from(video, start, 4, counted=True) == list(range(start, start + 4))


def test_an_avi_with_b_frames_begins_one_frame_early_as_in_video_input(make_video):
    with Video(make_video(40, 'avi', g=12, bf=2)) as video:  # its timestamps begin at 1, not 0
        assert numbers_from(video, 13, 2) == [12, 13]
        assert numbers_from(video, 13, 2, counted=True) == [13, 14]


def test_a_late_start_decodes_from_the_keyframe_before_it(make_video):
    path = make_video(60, g=12, bf=0, sc_threshold=0)
    with Video(path) as video:
        assert numbers_from(video, 50, 1) == [50]
    with Video(path) as video:
        ticks = video._stream.duration // 60
        fed = list(from_keyframe(video._packets.from_first(), 50 * ticks))
        assert [packet.pts // ticks for packet in fed] == list(range(48, 60))


def test_a_clip_that_runs_past_the_end_is_short(make_video):
    with Video(make_video(40)) as video:
        assert numbers_from(video, 38, 3) == [38, 39]


def test_at_most_max_frames_are_decoded(make_video, monkeypatch):
    monkeypatch.setattr(decode, 'MAX_FRAMES', 25)
    with Video(make_video(40)) as video:
        assert video.count_packets() == video.count_frames() == 25


def test_rotation_is_ignored(golden):
    with Video(golden / 'videos' / 'video_90.mov') as video:
        assert (video.width, video.height) == (568, 320)


def test_missing_file(tmp_path):
    with pytest.raises(RecordError, match='missing file'):
        Video(tmp_path / 'none.mp4')


@pytest.mark.parametrize('content', [b'', b'no video at all', bytes(5000)])
def test_not_a_video(tmp_path, content):
    path = tmp_path / 'x.mp4'
    path.write_bytes(content)
    for source in (content, path):
        with pytest.raises(RecordError, match=rf'not a video.*\b{len(content)} bytes'):
            Video(source)


def test_no_video_stream(audio_only):
    with pytest.raises(RecordError, match='no video stream'):
        Video(audio_only)


def test_no_decoder(make_video):
    content = make_video(40, 'avi').read_bytes()
    assert b'FMP4' in content
    with pytest.raises(RecordError, match='no decoder'):
        Video(content.replace(b'FMP4', b'ZZZZ').replace(b'fmp4', b'ZZZZ'))


def test_no_frame_size():
    known = {'codec_context': object(), 'width': 0, 'height': 120, 'disposition': Disposition(0)}
    stream = type('Stream', (), known)()
    container = type('Container', (), {'streams': type('Streams', (), {'video': [stream]})})
    with pytest.raises(RecordError, match='how large its frames are'):
        video_stream(container)


def test_frames_that_do_not_convert(make_video):
    with (
        Video(make_video(12)) as video,
        pytest.raises(RecordError, match='frames of yuv420p do not convert'),
    ):
        video.converter((10**6, 10**6))(av.VideoFrame(16, 16, 'yuv420p'))


def test_metadata_in_old_encodings_is_no_obstacle(make_video):
    titled = io.BytesIO()
    with av.open(str(make_video(40))) as source, av.open(titled, 'w', format='mov') as target:
        target.metadata['title'] = 'a title'
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    odd = titled.getvalue().replace(b'a title', b'\xe9 title')
    assert odd != titled.getvalue()
    if TITLES:
        with pytest.raises(UnicodeDecodeError):
            av.open(io.BytesIO(odd))
    with Video(odd) as video:
        assert video.count_frames() == 40


@pytest.mark.parametrize(
    ('suffix', 'options', 'message'),
    [
        ('mp4', {}, 'not a video, or truncated'),
        ('mp4', {'movflags': 'faststart'}, r'truncated: the file ends after \d+ frames'),
        ('avi', {}, r'truncated: the file ends after \d+ frames'),
        ('mkv', {}, r'truncated: its data ends at [\d.]+ s of 4.00 s'),
        ('webm', {}, r'truncated: its data ends at [\d.]+ s of 4.00 s'),
    ],
)
@pytest.mark.parametrize('kept', [0.5, 0.8])
def test_truncated(make_video, suffix, options, message, kept):
    whole = make_video(100, suffix, **options).read_bytes()
    with pytest.raises(RecordError, match=message), Video(whole[: int(kept * len(whole))]) as video:
        video.count_packets()


def with_sound(video, container, codec, path):
    """Bytes of a video file with a sound track, the two interleaved."""
    rng = np.random.default_rng(0)
    options = {'movflags': 'faststart'} if container == 'mp4' else {}
    with (
        av.open(str(video)) as source,
        av.open(str(path), 'w', format=container, options=options) as target,
    ):
        pictures = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream(codec, rate=44100, layout='mono')
        packets = []
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = pictures
                packets.append(packet)
        seconds = len(packets) / 25
        for start in range(0, int(44100 * seconds), 1024):
            noise = rng.standard_normal((1, 1024)).astype(np.float32) / 8
            frame = av.AudioFrame.from_ndarray(noise, 'fltp', 'mono')
            frame.sample_rate, frame.pts = 44100, start
            packets += sound.encode(frame)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            target.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize(('suffix', 'codec'), [('mp4', 'aac'), ('avi', 'mp3'), ('mkv', 'aac')])
def test_truncated_anywhere_among_sound(make_video, tmp_path, suffix, codec):
    video = make_video(100, 'avi' if suffix == 'avi' else 'mp4')
    container = {'mkv': 'matroska'}.get(suffix, suffix)
    whole = with_sound(video, container, codec, tmp_path / f'x.{suffix}')
    with Video(whole) as opened:
        assert opened.count_packets() == opened.count_frames() == 100
    for cut in np.linspace(0.1, 0.9, 60):
        with (
            pytest.raises(RecordError, match='truncated'),
            Video(whole[: int(cut * len(whole))]) as opened,
        ):
            opened.count_packets()


def test_damaged_packets_are_counted_and_the_others_used(make_video):
    content = bytearray(make_video(40, bf=0).read_bytes())
    with av.open(io.BytesIO(bytes(content))) as container:
        packet = [p for p in container.demux() if p.size][20]
        place, size = packet.pos, packet.size
    content[place : place + size] = b'\xff' * size
    with Video(bytes(content)) as video:
        found = numbers(video.frames_at(set(range(40)), SIZE))
        assert video.num_undecodable == 1
    assert video.num_decoded == len(found) == 39
    assert (found[0], found[19]) == (0, 19)
