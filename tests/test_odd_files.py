"""Files that are not what they seem: texts that name others, devices, bombs, cut and odd videos."""

import io
import os
import pathlib
import socket
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from conftest import ROOT, numbered_frames
from r2plus1d.errors import RecordError
from r2plus1d.video import budget, convert, frame_count
from r2plus1d.video.budget import Budget
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.container import open_container
from r2plus1d.video.convert import Converter
from r2plus1d.video.decode import Video
from r2plus1d.video.encode import write_video
from r2plus1d.video.read_clips import read_clips
from r2plus1d.video.start_clips import Start, starting_clips
from r2plus1d.video.timestamps import BestEffort

CASES = ROOT.parent / 'shared' / 'cases' / 'video'
FRAMES = ROOT.parent / 'shared' / 'golden' / 'start_frames' / 'h264_bframes.avi.npz'
UNIFORM = ClipSettings(length=8, clips=3)


def case(name):
    path = CASES / name
    if not path.is_file():
        pytest.skip(f'no file {path}')
    return path


def failure(source, settings=UNIFORM, **how):
    with pytest.raises(RecordError) as caught:
        read_clips(source, settings, **how)
    return caught.value.reason


SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=x
c=IN IP4 127.0.0.1
t=0 0
m=video 50004 RTP/AVP 96
a=rtpmap:96 H264/90000
"""
TEXTS = {
    'sdp': SDP,
    'ffconcat': 'ffconcat version 1.0\nfile {video}\n',
    'hls': '#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{video}\n#EXT-X-ENDLIST\n',
    'dash': '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>{video}</BaseURL>'
    '</Representation></AdaptationSet></Period></MPD>',
    'tty': '\x1b[31mtext of a terminal\x1b[0m\n' * 50,
}


def udp_ports():
    lines = pathlib.Path('/proc/net/udp').read_text().splitlines()[1:]
    return {int(line.split()[1].split(':')[1], 16) for line in lines}


@pytest.mark.parametrize('suffix', ['', '.mp4', '.ffconcat', '.m3u8', '.sdp', '.mpd', '.ans'])
@pytest.mark.parametrize('kind', TEXTS)
def test_a_text_that_names_something_else_is_not_a_video(make_video, tmp_path, kind, suffix):
    text = TEXTS[kind].format(video=make_video(12)).encode()
    path = tmp_path / f'x{suffix}'
    path.write_bytes(text)
    for source in (text, path):
        assert failure(source).startswith(f'not a video, or truncated ({len(text)} bytes')


@pytest.mark.skipif(not pathlib.Path('/proc/net/udp').exists(), reason='needs Linux')
def test_no_port_is_bound(monkeypatch):
    seen = []
    real_open = av.open

    def watched(*args, **kwargs):
        try:
            return real_open(*args, **kwargs)
        finally:
            seen.append(udp_ports())

    monkeypatch.setattr(av, 'open', watched)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(('127.0.0.1', 0))
        assert bound.getsockname()[1] in udp_ports(), 'this test would see nothing'
    assert failure(SDP.encode()).startswith('not a video')
    assert 50004 not in seen[0] | udp_ports()


def test_an_image_is_not_a_video(tmp_path):
    path = tmp_path / 'x%d.png'
    picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), 'rgb24')
    encoder = av.CodecContext.create('png', 'w')
    encoder.width, encoder.height, encoder.pix_fmt = 16, 16, 'rgb24'
    encoder.time_base = Fraction(1, 25)
    path.write_bytes(b''.join(bytes(p) for p in [*encoder.encode(picture), *encoder.encode(None)]))
    assert failure(path).startswith('not a video')


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / 'fifo')
    (tmp_path / 'dangling').symlink_to(tmp_path / 'gone')
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / 'socket'))
        assert failure(tmp_path / 'socket') == 'not a regular file but a socket'
    assert failure(tmp_path / 'fifo') == 'not a regular file but a FIFO'
    assert failure('/dev/zero') == 'not a regular file but a device'
    assert failure(tmp_path) == 'not a regular file but a folder'
    assert failure(tmp_path / 'dangling') == f'a link to a missing file, {tmp_path / "gone"}'
    assert failure(tmp_path / 'a\0b') == 'cannot be opened: has a NUL in its name'


def test_a_fifo_that_takes_a_files_place_is_refused(tmp_path, make_video, monkeypatch):
    fifo = tmp_path / 'fifo'
    os.mkfifo(fifo)
    regular = make_video(12).stat()
    monkeypatch.setattr(pathlib.Path, 'stat', lambda self, **how: regular)
    with pytest.raises(RecordError, match='not a regular file but a FIFO'):
        open_container(fifo)


def test_a_link_to_a_video_is_read(tmp_path, make_video):
    (tmp_path / 'link').symlink_to(make_video(12))
    with Video(tmp_path / 'link') as video:
        assert video.count_frames() == 12


def in_another_process(code):
    """Run code that may end its process; returns (exit status, what it printed)."""
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ('frame', 'size'),
    [
        ("1, 65000, 'yuv420p'", (171, 128)),
        ("5, 65000, 'bgra'", (340, 256)),
        ("2, 16384, 'gray'", (171, 128)),
        ("64, 48, 'rgbf32le'", (171, 128)),
        ("64, 48, 'uyyvyy411'", (171, 128)),
    ],
)
def test_what_swscale_refuses_does_not_end_the_process(frame, size):
    code = 'import av; from r2plus1d.video.convert import Converter\n'
    code += f'frame = av.VideoFrame({frame})\n'
    status, shown = in_another_process(
        code + f'try: Converter({size})(frame)\nexcept ValueError as error: print(error)'
    )
    assert status == 0
    assert 'do not convert' in shown
    without = f'Converter._require_convertible = lambda *a: None\nConverter({size})(frame)'
    status, _ = in_another_process(code + without)
    if av.__version__.startswith('15.'):  # later ones refuse less, and from 17 on by an exception
        assert status < 0, 'this guard is needed no longer'


@pytest.mark.parametrize('width', [1, 2, 3, 7, 8])
@pytest.mark.parametrize('height', [1, 2, 16000])
def test_narrow_frames_convert(width, height):
    frame = av.VideoFrame(width, height, 'yuv420p')
    for plane in frame.planes:
        plane.update(b'\x80' * plane.buffer_size)
    pixels = Converter((171, 128))(frame)
    assert (pixels == pixels[0, 0]).all()


def test_each_frame_is_looked_at(monkeypatch):
    converter = Converter((171, 128))
    converter(av.VideoFrame(64, 48, 'yuv420p'))
    with pytest.raises(RecordError, match='frames of 1 x 65000 do not convert to 171 x 128'):
        converter(av.VideoFrame(1, 65000, 'yuv420p'))
    monkeypatch.setattr(convert, 'UNREADABLE', {'yuv420p'})
    with pytest.raises(RecordError, match='frames of yuv420p do not convert'):
        converter(av.VideoFrame(64, 48, 'yuv420p'))


def test_case_one_pixel_wide():
    path = case('crash_gif_1x65000.mp4')
    assert failure(path).startswith('frames of 1 x 65000 do not convert')


def test_too_many_bytes_of_packets(make_video, monkeypatch):
    path = make_video(40)
    with pytest.raises(RecordError, match='over budget: more than 100 bytes of packets in a file'):
        Video(path, Budget(packet_bytes=100)).count_packets()
    monkeypatch.setattr(budget, 'SMALLEST_PACKET_BYTES', 0)
    with Video(path, Budget(growth=1)) as video:
        assert video.count_packets() == 40
    assert budget.Spending(Budget(growth=3), 7).packet_bytes == 21


def test_the_last_byte_of_packets_is_counted(make_video):
    path = make_video(40)
    with av.open(str(path)) as container:
        num_bytes = sum(packet.size for packet in container.demux(video=0))
    with Video(path, Budget(packet_bytes=num_bytes)) as video:
        assert video.count_packets() == 40
    with pytest.raises(RecordError, match=f'{num_bytes - 1:,} bytes of packets in a file of'):
        Video(path, Budget(packet_bytes=num_bytes - 1)).count_packets()


def test_too_many_pixels(make_video):
    path, pixels = make_video(40), 160 * 120
    with pytest.raises(RecordError, match='its frames of 160 x 120 have more than 19,199 pixels'):
        Video(path, Budget(frame_pixels=pixels - 1))
    with Video(path, Budget(pixels=40 * pixels)) as video:
        assert video.count_frames() == 40
    with Video(path, Budget(pixels=40 * pixels - 1)) as video:
        with pytest.raises(RecordError, match='over budget: 40 more frames of 160 x 120'):
            video.count_frames()
        assert video.total_decoded == 0
        assert len(list(video.frames_at({9}, (171, 128)))) == 1
        with pytest.raises(RecordError, match='over budget: 1 more frames of 160 x 120 make more'):
            list(video.positions(40, counted=True))


def test_too_much_time(make_video):
    with (
        Video(make_video(40), Budget(seconds=0)) as video,
        pytest.raises(RecordError, match='over budget: decoding takes more than 0 seconds'),
    ):
        video.count_packets()


@pytest.mark.parametrize('settings', [UNIFORM, ClipSettings(length=8, decode_type='start')])
def test_a_memory_error_is_the_records(make_video, monkeypatch, settings):
    def raise_memory_error(*args):
        raise MemoryError

    monkeypatch.setattr('r2plus1d.video.clip.np.stack', raise_memory_error)
    assert failure(make_video(40), settings, start_frame=3) == 'not enough memory to decode it'


def test_memory_errors_of_ffmpeg_are_not_damage(make_video, monkeypatch):
    class Stream:
        class codec_context:  # noqa: N801
            @staticmethod
            def decode(packet):
                raise av.error.MemoryError(12, 'Cannot allocate memory')

    with Video(make_video(40)) as video:
        monkeypatch.setattr(video, '_stream', Stream)
        with pytest.raises(RecordError, match='not enough memory'):
            video._frames_of(None)


def test_case_bombs():
    reason = failure(case('bomb_same_sample_40000_times.mp4'))
    assert reason.startswith('over budget: more than 67,108,864 bytes of packets')
    assert failure(case('bomb_gif_8k_2000.gif')).startswith('over budget: 2000 more frames of 8192')


@pytest.mark.parametrize(
    ('frames', 'expected'),
    [
        ([(0, 0), (1, 1), (2, 2)], [0, 1, 2]),
        ([(1, 2), (3, 3), (4, 4), (2, 5), (6, 6)], [1, 3, 4, 5, 6]),  # pts goes back
        ([(5, 0), (6, 0), (7, 0)], [5, 6, 7]),  # dts stands still
        ([(None, 3), (4, None), (None, None)], [3, 4, None]),
        ([(3, 1), (None, 2), (2, 3)], [3, 2, 3]),
        ([(1, None), (2, 1), (3, 2)], [1, 2, 3]),
    ],
)
def test_best_effort_timestamps(frames, expected):
    guess = BestEffort()
    assert [guess.timestamp(pts, dts) for pts, dts in frames] == expected


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4'])
def test_no_frame_is_missing_from_clips_of_an_avi_with_b_frames(tmp_path, codec):
    path = tmp_path / 'x.avi'
    write_video(path, numbered_frames(60), fps=25, codec=codec, options={'bf': 2, 'g': 12})
    settings = ClipSettings(length=8, decode_type='start')
    with Video(path) as video:
        frames = [
            picture.pixels[8:120, 29:141] for picture in video.frames_at(range(60), (171, 128))
        ]
    starts = [Start(i, i) for i in range(50)]
    for start, clips, reason in starting_clips(path, settings, starts):
        assert reason is None
        shown = clips.pixels[0].transpose(1, 2, 3, 0)
        first = next(i for i, frame in enumerate(frames) if (frame == shown[0]).all())
        assert start.frame - 2 <= first <= start.frame
        np.testing.assert_array_equal(shown, frames[first : first + 8])


@pytest.mark.parametrize('codec', ['libx264', 'mpeg4', 'mpeg2video'])
def test_clips_of_an_avi_with_b_frames_together_as_alone(tmp_path, codec):
    path = tmp_path / 'x.avi'
    write_video(path, numbered_frames(60), fps=25, codec=codec, options={'bf': 2, 'g': 12})
    settings = ClipSettings(length=4, decode_type='start')
    for start, clips, reason in starting_clips(path, settings, [Start(i, i) for i in range(50)]):
        assert reason is None
        alone = read_clips(path, settings, draw=start.index, start_frame=start.frame)
        np.testing.assert_array_equal(clips.pixels, alone.pixels)


def test_a_clip_that_has_begun_takes_all_frames_that_follow(make_video, monkeypatch):
    real = Video.positions

    def going_back(self, begin, **how):
        for index, (position, frame) in enumerate(real(self, begin, **how)):
            yield position if index != 3 else -1, frame

    path, settings = make_video(40), ClipSettings(length=8, decode_type='start')
    expected = read_clips(path, settings, start_frame=5).pixels
    monkeypatch.setattr(Video, 'positions', going_back)
    np.testing.assert_array_equal(read_clips(path, settings, start_frame=5).pixels, expected)


def test_case_start_frames_of_an_avi_with_b_frames():
    path = case('h264_bframes.avi')
    if not FRAMES.is_file():
        pytest.skip(f'no file {FRAMES}')
    with np.load(FRAMES) as golden:
        starts, expected = golden['starts'], golden['rgb_u8']
    settings = ClipSettings(length=8, decode_type='start')
    wanted = [Start(index, int(frame)) for index, frame in enumerate(starts)]
    for start, clips, _ in starting_clips(path, settings, wanted):
        alone = read_clips(path, settings, draw=start.index, start_frame=start.frame)
        np.testing.assert_array_equal(clips.pixels[0], expected[start.index])
        np.testing.assert_array_equal(alone.pixels[0], expected[start.index])


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'avi', 'mov', 'webm'])
def test_packets_decide_where_they_can(make_video, suffix):
    with Video(make_video(40, suffix)) as video:
        assert video.count_frames_exactly() == 40
        assert video.total_decoded == frame_count.TRIED_PACKETS


def test_a_transport_stream_that_begins_between_keyframes(tmp_path):
    content = io.BytesIO()
    options = {'g': 20, 'bf': 0, 'sc_threshold': 0}
    write_video(content, numbered_frames(60), fps=25, container='mpegts', options=options)
    packets = content.getvalue()
    with av.open(io.BytesIO(packets)) as container:
        fifth = [packet.pos for packet in container.demux() if packet.size][5]
    path = tmp_path / 'x.ts'
    path.write_bytes(packets[: 3 * 188] + packets[fifth:])
    with Video(path) as video:
        exact, promised = video.count_frames_exactly(), video.count_packets()
        assert exact == video.count_frames() < promised
    assert read_clips(path, UNIFORM).starts[-1] == exact - 8


def test_vp9_frames_that_are_not_shown(make_video):
    with av.open(str(make_video(40, 'webm'))) as container:
        packets = [packet for packet in container.demux() if packet.size]
    assert frame_count.packets_may_decide('matroska,webm', 'vp9', packets)
    header = bytes(packets[7])
    assert header[0] & 0x02, 'profile 0, and the frame is shown'
    packets[7] = av.Packet(bytes([header[0] & ~0x02]) + header[1:])
    assert not frame_count.packets_may_decide('matroska,webm', 'vp9', packets)


@pytest.mark.parametrize(
    ('header', 'shown'),
    [
        ('10000010', True),
        ('10000000', False),
        ('10001000', True),  # one that was decoded before
        ('10110001', True),  # profile 3 has one bit more
        ('10110000', False),
    ],
)
def test_header_of_vp9(header, shown):
    after = bytes([0x80 if header == '10110001' else 0, 0])
    assert frame_count._is_shown('vp9', av.Packet(bytes([int(header, 2)]) + after)) == shown


def test_a_superframe_of_vp9_has_one_frame_that_is_shown():
    assert frame_count._is_shown('vp9', av.Packet(bytes([0x80, 0, 0, 0xC1])))


def test_vp8_frames_that_are_not_shown():
    shown, hidden = (av.Packet(bytes([byte, 0, 0])) for byte in (0x10, 0x00))
    assert frame_count._is_shown('vp8', shown)
    assert not frame_count._is_shown('vp8', hidden)


def test_first_packets_that_give_no_frame_are_counted_by_decoding(make_video, monkeypatch):
    with Video(make_video(40)) as video:
        monkeypatch.setattr(frame_count, 'TRIED_PACKETS', 4)
        real, calls = video._decode, []

        def decode(packets):
            calls.append(len(packets))
            yield from list(real(packets))[1 if len(calls) == 1 else 0 :]

        monkeypatch.setattr(video, '_decode', decode)
        assert video.count_frames_exactly() == 40
        assert calls == [4, 40]


def test_empty_packets_of_an_avi_are_no_frames(tmp_path):
    path = tmp_path / 'x.avi'
    times = [0, 1, 2, 3, 8, 9, 15, 16, 17, 30, 31]  # AVI fills the gaps with empty packets
    with_times(path, times, bf='0')
    with Video(path) as video:
        assert video._stream.frames == 32
        assert video.count_frames_exactly() == video.count_frames() == len(times)


def test_case_frames_that_do_not_exist():
    for name, frames in (
        ('vp9_hidden_frames_80_packets_72_frames.webm', 72),
        ('ts_starts_between_keyframes.ts', 50),
    ):
        with Video(case(name)) as video:
            assert video.count_frames_exactly() == video.count_frames() == frames


def with_times(path, times, **options):
    """Encode a frame for each of `times`, in 25ths of a second."""
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('libx264', rate=25, options={'bf': '3', **options})
        stream.width, stream.height, stream.pix_fmt = 160, 120, 'yuv420p'
        for time, pixels in zip(times, numbered_frames(len(times))):
            frame = av.VideoFrame.from_ndarray(pixels, 'rgb24').reformat(format='yuv420p')
            frame.pts = time
            output.mux(stream.encode(frame))
        output.mux(stream.encode())


def test_a_variable_frame_rate_with_b_frames_is_whole(tmp_path):
    path = tmp_path / 'x.mkv'
    times = [*range(60), 160, 260, 261, 262, 263, 264, 500]
    with_times(path, times)
    with av.open(str(path)) as container:
        late = [packet for packet in container.demux() if packet.size][-1]
        assert container.duration / 1e6 - float(late.dts * late.time_base) > 1, 'shows nothing'
    with Video(path) as video:
        assert video.count_packets() == video.count_frames() == len(times)


def test_frames_that_are_marked_as_damaged_are_counted(make_video, monkeypatch):
    class Frame:
        width, height, is_corrupt = 160, 120, True

    with Video(make_video(40)) as video:
        monkeypatch.setattr(video, '_frames_of', lambda packet: [Frame] if packet else [])
        assert len(list(video._decode(video._packets.read_all()))) == 40
        assert video.num_undecodable == 40


def test_an_attached_picture_is_not_the_video(tmp_path):
    path = tmp_path / 'x.mp4'
    with_times(path, range(12))
    picture = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), 'rgb24')
    covered = io.BytesIO()
    with av.open(str(path)) as source, av.open(covered, 'w', format='mp4') as target:
        cover = target.add_stream('mjpeg', rate=25)
        cover.width, cover.height, cover.pix_fmt = 32, 32, 'yuvj420p'
        cover.disposition = Disposition.attached_pic.value
        video = target.add_stream_from_template(source.streams.video[0])
        target.mux(cover.encode(picture.reformat(format='yuvj420p')))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = video
                target.mux(packet)
    with Video(covered.getvalue()) as opened:
        assert (opened.width, opened.height) == (160, 120)
        assert opened.count_frames() == 12


def test_case_cover():
    with Video(case('cover_first_udta_before_trak.mp4')) as video:
        assert (video.width, video.height, video.count_frames()) == (320, 240, 100)


@pytest.mark.parametrize('container', ['flv', 'mpeg', 'mpegts', 'asf', 'ogg', 'nut', 'mxf'])
def test_streams_that_turn_up_late_do_not_end_the_process(container, tmp_path):
    """FFmpeg finds the streams of some containers, and of cut files, only while it reads."""
    codec = 'libtheora' if container == 'ogg' else 'mpeg2video'
    codec = 'flv' if container == 'flv' else codec
    if codec not in av.codecs_available:
        pytest.skip(f'no encoder {codec}')
    path = tmp_path / 'x'
    write_video(path, numbered_frames(30), fps=25, codec=codec, container=container)
    code = f"""
from r2plus1d.video.decode import Video
whole = open({str(path)!r}, 'rb').read()
for end in range(0, len(whole), max(1, len(whole) // 300)):
    try:
        with Video(whole[:end]) as video:
            video.count_frames_exactly()
    except ValueError:
        pass
"""
    assert in_another_process(code)[0] == 0
