"""Damage that FFmpeg passes over: the video is used, and a warning says what is wrong with it."""

import av
import av.logging
import numpy as np
import pytest

from conftest import CODECS
from r2plus1d.errors import RecordError
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decode import Video
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.encode import write_video
from r2plus1d.video.extent import extent_of
from r2plus1d.video.read_clips import read_clips

NEEDS = RecordNeeds(num_labels=None)
UNIFORM = ClipSettings(length=4, clips=3)
STARTS = ClipSettings(length=4, decode_type='start')
LINE = r'FFmpeg logs \d+ errors, the last is .*'


@pytest.fixture
def damaged(make_video):
    """Bytes of a Matroska in which nonsense lies between two pictures, so that one is lost."""
    path = make_video(40, 'mkv', bf=0, g=1)
    content = path.read_bytes()
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux() if packet.size][20]
    begin = content.rindex(b'\xa3', 0, place + 1)
    return content[:begin] + b'\x08' * 40 + content[begin:]


def read(function, *args, **keywords):
    return DECODERS.call(DEFAULT_BUDGET, function, *args, **keywords)


@pytest.mark.parametrize('suffix', CODECS)
def test_nothing_is_said_of_a_sound_video(make_video, suffix):
    content = make_video(40, suffix).read_bytes()
    assert read(read_clips, content, UNIFORM).complaint is None
    assert read(extent_of, content, DEFAULT_BUDGET).complaint is None


def test_what_ffmpeg_logs_is_said(damaged, make_video):
    assert read(extent_of, damaged, DEFAULT_BUDGET).num_frames < 40, 'nothing is lost'
    complaint = read(read_clips, damaged, UNIFORM).complaint
    assert complaint.startswith('FFmpeg logs ') and 'matroska' in complaint
    assert read(extent_of, damaged, DEFAULT_BUDGET).complaint.startswith('FFmpeg logs ')
    sound = make_video(40, 'mkv').read_bytes()
    assert read(read_clips, sound, UNIFORM).complaint is None, 'that was of another video'
    assert read(read_clips, damaged, UNIFORM).complaint == complaint, 'as the first time'


def test_a_record_is_named_in_a_warning_and_used(damaged, make_video, make_database, caplog):
    sound = make_video(40, 'mkv').read_bytes()
    path = make_database([(sound, 0, 0), (damaged, 0, 0), (damaged, 0, 4), (sound, 0, 0)])
    with DatabaseSource(path, UNIFORM, NEEDS) as source:
        assert [sample.failure for sample in source] == [None] * 4
    assert sorted(text.split(':')[0] for text in caplog.messages) == ['record 1', 'record 2']
    assert all('FFmpeg logs' in text for text in caplog.messages)
    caplog.clear()
    with DatabaseSource(path, STARTS, NEEDS, by_video=True) as source:
        assert [sample.failure for sample in source] == [None] * 4
    assert sum('record 1: FFmpeg logs' in text for text in caplog.messages) == 1
    assert len(caplog.messages) == 1, 'one line for each video'


def test_packets_that_are_marked_are_counted(tmp_path):
    content = transport_stream(tmp_path / 'x.ts')
    packets = len(content) // 188
    lost = packets // 2 * 188
    damaged = content[:lost] + content[lost + 2 * 188 :]
    with Video(content) as sound, Video(damaged) as video:
        sound.count_packets()
        video.count_packets()
        assert sound.complaint is None
        assert video.complaint.endswith(' packets are damaged')


def test_nothing_is_counted_where_nobody_listens(damaged):
    assert av.logging.get_level() is None
    before = av.logging.get_last_error()
    assert read_clips(damaged, UNIFORM).complaint is None
    assert av.logging.get_last_error() == before


def transport_stream(path):
    frames = np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), np.uint8)
    write_video(path, frames, fps=25, container='mpegts', options={'bf': 0, 'g': 8})
    return path.read_bytes()


def complaint_of(content):
    with Video(content) as video:
        video.count_packets()
        return video.complaint


@pytest.mark.parametrize('head', [0, 4])
def test_a_transport_stream_that_ends_within_a_packet(tmp_path, head):
    packets = transport_stream(tmp_path / 'x.ts')
    content = b''.join(
        bytes(head) + packets[place : place + 188] for place in range(0, len(packets), 188)
    )
    assert complaint_of(content) is None
    for odd in (1, 100, 187):
        cut = len(content) // 2 // (188 + head) * (188 + head) + odd
        assert complaint_of(content[:cut]) == f'its last {odd} bytes are no whole packet'
    shifted = content[10:]  # it does not begin with a whole one: nothing is known
    assert complaint_of(shifted[:cut]) is None


def test_an_mxf_that_lacks_frames(tmp_path):
    path = tmp_path / 'x.mxf'
    frames = np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), np.uint8)
    write_video(path, frames, fps=25, codec='mpeg2video', options={'bf': 0, 'g': 4})
    content = path.read_bytes()
    assert complaint_of(content) is None
    with Video(content) as video:
        place = [packet.pos for packet in video._packets.read_all()][20]
    key = content.rindex(b'\x06\x0e\x2b\x34', 0, place + 16)
    damaged = content[:key] + bytes(16) + content[key + 16 :]
    assert complaint_of(damaged) == 'it has 39 of 40 frames'


def test_an_swf_that_lacks_frames_or_its_end(tmp_path):
    path = tmp_path / 'x.swf'
    frames = np.random.default_rng(0).integers(0, 256, (40, 120, 160, 3), np.uint8)
    write_video(path, frames, fps=25, codec='flv')
    content = path.read_bytes()
    assert complaint_of(content) is None
    with Video(content) as video:
        place = [packet.pos for packet in video._packets.read_all()][20]
    assert complaint_of(content[:place] + b'\xff' + content[place + 1 :]) is not None
    count = content.index(b'\x00\x19\x28\x00') + 2  # 25 frames a second, 40 frames
    more = content[:count] + b'\x29' + content[count + 1 :]
    assert complaint_of(more) == 'it has 40 of 41 frames'
    with pytest.raises(RecordError, match='truncated: the file ends after 27 frames'):
        complaint_of(content[: len(content) * 3 // 4])


@pytest.mark.parametrize('suffix', ['h264', 'm4v', 'hevc', 'mpeg2video', 'h263', 'mjpeg'])
def test_a_bare_stream_that_does_not_begin_as_one(tmp_path, suffix):
    codec = {'h264': 'libx264', 'm4v': 'mpeg4', 'hevc': 'libx265'}.get(suffix, suffix)
    path, options = tmp_path / 'x', {'x265-params': 'log-level=none:pools=1'}
    frames = np.random.default_rng(0).integers(0, 256, (30, 144, 176, 3), np.uint8)
    settings = {
        'options': options if codec == 'libx265' else {'g': 4},
        'pixel_format': 'yuvj420p' if codec == 'mjpeg' else 'yuv420p',
    }
    write_video(path, frames, fps=25, codec=codec, container=suffix, **settings)
    assert complaint_of(path.read_bytes()) is None
    with Video(path) as video:
        name = video._container.format.name
    odd = f'it is read as bare {name}, and does not begin as such'
    assert complaint_of(b'JUNK' + path.read_bytes()) == odd


def test_an_avi_without_its_header(make_video):
    content = make_video(40, 'avi').read_bytes()
    assert complaint_of(content) is None
    damaged = bytes(64) + content[64:]
    assert complaint_of(damaged) == 'it is read as bare m4v, and does not begin as such'
