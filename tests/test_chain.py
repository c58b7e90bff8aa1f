"""Parts of a file that do not follow each other, and packets without frames, are told."""

import re

import pytest

from conftest import numbered_frames
from r2plus1d.errors import RecordError
from r2plus1d.video import frame_count, parts
from r2plus1d.video.chain import find_break
from r2plus1d.video.decode import Video
from r2plus1d.video.encode import write_video
from r2plus1d.video.whole import Ends
from sounding_videos import write_sounding

NUM_FRAMES = 60
RM_HEAD = 12 + 7  # bytes of a packet of RealMedia before its frame, as FFmpeg writes it
# name: (container, codec, options)
KINDS = {
    'avi': ('avi', 'mpeg4', {'bf': 2}),
    'avi, odd sizes': ('avi', 'mjpeg', {}),
    'mpeg': ('mpeg', 'mpeg2video', {'bf': 2, 'g': 12}),
    'mpeg1': ('mpeg', 'mpeg1video', {}),
    'vob': ('vob', 'mpeg2video', {}),
    'rm': ('rm', 'rv20', {}),
    'nut': ('nut', 'ffv1', {}),
    'nut, B-frames': ('nut', 'libx264', {'bf': 2}),
    'nut, without the begin of each frame': ('nut', 'mpeg4', {'bf': 2}),
    'y4m': ('yuv4mpegpipe', 'rawvideo', {}),
    'h264': ('h264', 'libx264', {'bf': 2, 'g': 12}),
    'h264, interlaced': ('h264', 'libx264', {'x264-params': 'tff=1'}),
    'h264, filled up': (
        'h264', 'libx264',
        {'x264-params': 'nal-hrd=cbr:bitrate=900:vbv-maxrate=900:vbv-bufsize=900:filler=1'},
    ),
    'hevc': ('hevc', 'libx265', {'x265-params': 'log-level=none:pools=1'}),
    'ts': ('mpegts', 'libx264', {'bf': 2}),
    'ts, mpeg2': ('mpegts', 'mpeg2video', {'bf': 2}),
}  # fmt: skip
SOUNDS = [('avi', 'aac'), ('mpg', 'mp2'), ('nut', 'mp2'), ('nut', 'flac'), ('ts', 'aac')]


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    """Return a function that gives the bytes of one of KINDS."""
    folder, made = tmp_path_factory.mktemp('chain'), {}

    def encode(kind):
        if kind not in made:
            container, codec, options = KINDS[kind]
            pixel_format = 'yuvj420p' if codec == 'mjpeg' else 'yuv420p'
            write_video(
                folder / 'x', numbered_frames(NUM_FRAMES), fps=25, codec=codec,
                container=container, options=options, pixel_format=pixel_format,
            )  # fmt: skip
            made[kind] = (folder / 'x').read_bytes()
        return made[kind]

    return encode


def complaint_of(content):
    """What is said of a video after all of it is decoded, and how many frames it gave."""
    with Video(content) as video:
        number = video.count_frames()
        return video.complaint, number


def packets_of(content):
    with Video(content) as video:
        return [(packet.pos, packet.size) for packet in video._packets.read_all()]


@pytest.mark.parametrize('kind', KINDS)
def test_nothing_is_said_of_a_sound_file(videos, kind):
    assert complaint_of(videos(kind)) == (None, NUM_FRAMES)


@pytest.mark.parametrize(('suffix', 'sound'), SOUNDS)
def test_nothing_is_said_of_a_sound_file_with_sound(tmp_path, suffix, sound):
    codec = 'mpeg2video' if suffix == 'mpg' else 'libx264'
    path = write_sounding(tmp_path / f'x.{suffix}', codec=sound, video_codec=codec)
    assert complaint_of(path) == (None, 50)


def test_a_frame_of_a_nut_that_ffmpeg_passes_over(videos):
    content = videos('nut')
    place = packets_of(content)[20][0]
    said, found = complaint_of(content[: place - 3] + content[place - 1 :])
    assert found < NUM_FRAMES
    assert re.fullmatch(r'\d+ bytes from byte \d+ on are no part of such a file', said)


def test_a_nut_whose_end_is_not_that_of_its_index(videos):
    content = videos('nut')
    place, size = packets_of(content)[-2]
    assert 'no index at its end' in complaint_of(content[: place + size])[0]
    said, found = complaint_of(content[: place + size] + content[content.rindex(b'NX\xdd\x67') :])
    assert found == NUM_FRAMES - 1
    assert said == 'its last frame is shown at 2.32 s, and at 2.36 s by its index'


def test_a_real_media_with_other_packets_than_it_states(videos):
    content = videos('rm')
    place, after = (pos - RM_HEAD for pos, _ in packets_of(content)[20:22])
    one_less = content[:place] + content[after:]
    assert complaint_of(one_less)[0] == 'its data has 59 packets where its header states 60'
    one_more = content[:after] + content[place:]
    assert complaint_of(one_more)[0] == 'its data has 61 packets where its header states 60'
    of_no_stream = bytearray(content)
    of_no_stream[place + 4 : place + 6] = b'\0\7'
    assert complaint_of(bytes(of_no_stream))[0] == complaint_of(one_less)[0]
    assert 'and more frames follow' in complaint_of(content + content[place:])[0]


def test_a_video_that_follows_another_in_one_avi(videos):
    content = videos('avi')
    said, found = complaint_of(content + content)
    assert found == 2 * NUM_FRAMES
    assert said == f'no part of such a file begins at byte {len(content)}, where one should'
    movi = content.index(b'movi')
    said, found = complaint_of(content + content[movi + 4 :])
    assert found == 2 * NUM_FRAMES
    assert said == f'its data ends at byte {len(content)}, and more frames follow'


@pytest.mark.parametrize(('kind', 'head'), [('avi', 8), ('mpeg', 0)])
def test_a_part_that_is_none(videos, kind, head):
    content = bytearray(videos(kind))
    place = next(place for place, _ in packets_of(videos(kind))[8:] if place) - head
    content[place : place + 8] = b'\xfe' * 8
    said, found = complaint_of(bytes(content))
    assert found < NUM_FRAMES
    assert said == f'no part of such a file begins at byte {place}, where one should'


def test_a_program_stream_that_ends_within_a_packet(videos):
    content = videos('mpeg')
    assert 'is longer than what is left of the file' in complaint_of(content[:-100])[0]
    assert 'begins at byte 0' in complaint_of(content[5:])[0]


def test_a_y4m_that_ends_within_a_frame(videos):
    content = videos('y4m')
    with pytest.raises(RecordError, match='truncated: the file ends after 30 frames, 10 bytes'):
        complaint_of(content[: packets_of(content)[30][0] + 4])
    with Video(content[:-1], use_truncated=True) as video:
        assert video.count_frames() == NUM_FRAMES - 1
        assert video.truncated


@pytest.mark.parametrize(
    ('kind', 'nonsense'),
    [
        ('h264', b'\0\0\0\0\xff'),
        ('h264', b'\0\0\2'),
        ('h264', b'\0\0\1\xff'),
        ('hevc', b'\0\0\0\0\xff'),
        ('mpeg', b'\0\0\0\0\xff'),
    ],
)
def test_bytes_that_no_encoder_writes(videos, kind, nonsense):
    content = bytearray(videos(kind))
    place = next(place + size // 2 for place, size in packets_of(videos(kind))[8:] if place)
    content[place : place + len(nonsense)] = nonsense
    assert complaint_of(bytes(content))[0] == '1 packets are damaged'


def test_packets_that_give_no_frame(videos):
    """The keyframe is lost, and the decoder says nothing until the next one."""
    content = videos('h264')
    begin, (second, _) = content.index(b'\0\0\1\x65'), packets_of(content)[1]
    said, found = complaint_of(content[:begin] + content[second:])
    assert said == f'{NUM_FRAMES - 1 - found} of {NUM_FRAMES - 1} packets gave no frame'
    assert found <= NUM_FRAMES - 12


def test_packets_without_a_frame_that_are_told_otherwise_or_are_fields(videos, monkeypatch):
    content = bytearray(videos('avi, odd sizes'))
    place, size = packets_of(videos('avi, odd sizes'))[20]
    content[place : place + size] = bytes(size)
    with Video(bytes(content)) as video:
        assert video.count_frames() == NUM_FRAMES - 1
        assert (video.complaint, video.num_undecodable) == (None, 1)
    monkeypatch.setattr(frame_count, 'count_lost', lambda *args: 1)
    assert complaint_of(videos('h264, interlaced'))[0] is None
    assert complaint_of(videos('h264'))[0] == '1 of 60 packets gave no frame'


def test_a_part_of_a_nut_after_a_frame_whose_begin_is_left_out():
    """FFmpeg adds what is left out, and so tells the frame's end a little late."""
    content = bytes(50) + b'NM' + bytes(6) + b'\x81\x00' + bytes(128) + b'\0\0'
    for late in range(5):
        assert found_in('nut', content, gaps=[(50 + late, len(content))]) is None
    said = '138 bytes from byte 55 on are no part of such a file'
    content += bytes(3)
    assert found_in('nut', content, gaps=[(55, len(content))]) == said
    of_wrong_size = content.replace(b'\x81\x00', b'\x01\x00')
    assert found_in('nut', of_wrong_size, gaps=[(50, len(content))]) is not None


@pytest.mark.parametrize(
    ('container', 'content', 'said'),
    [
        ('avi', b'RIFF\x0c\0\0\0AVI 00dc\0\0\0\0', None),
        ('avi', b'RIFF\x0c\0\0\0AVI 00dc\0\0\0\0' + b'text after it', None),
        ('avi', b'RIFF\0\0\0\0AVI 00dc\3\0\0\0abcd' + b'00dc', None),  # a live recording
        ('avi', b'RIFF\x10\0\0\0AVI 00dc\3\0\0\0abc', None),  # no byte fills it up
        ('avi', b'RIFF\x10\0\0\0AVI 00dc\5\0\0\0abc', 'byte 12 is longer'),
        ('avi', b'RIFF\x10\0\0\0AVI idx1\5\0\0\0abc', None),
        ('mpeg', b'\0\0\1\xba\x21' + bytes(7) + b'\0\0\1\xb9', None),
        ('mpeg', b'\0\0\1\xba\x44' + bytes(8) + b'\xf8\0\0\1\xe0\0\1a', None),
        ('mpeg', bytes(50) + b'\0\0\1\xe0\0\1a' + bytes(30), None),
        ('mpeg', b'\0\0\1\xe0\0\0abc', None),  # up to the end of the file
        ('mpeg', b'\0\0\1\xe0\0\1a\0\0\1\xb3\0\0', 'begins at byte 7'),
        ('mpeg', b'\0\0\1\xb9other text', 'begins at byte 4'),
        ('mpeg', b'RIFF and sectors', None),
        ('rm', b'.RMF\0\0\0\x12', None),
        ('nut', b'', None),
        ('mp4', b'text', None),
    ],
)  # fmt: skip
def test_what_parts_are(container, content, said):
    found = found_in(container, content)
    assert found is None if said is None else said in found


def test_more_parts_than_are_looked_at(monkeypatch):
    monkeypatch.setattr(parts, 'MAX_PARTS', 1)
    assert found_in('avi', b'RIFF\x18\0\0\0AVI 00dc\0\0\0\0\1\2\3\4') is None


def test_data_of_a_real_media_that_follow_other_data():
    chunk = b'DATA\0\0\0\x12' + bytes(10)
    assert found_in('rm', chunk + chunk, last_begin=30) is None
    said = 'its data ends at byte 18, and more frames follow'
    assert found_in('rm', chunk + b'text' + bytes(14), last_begin=18) == said
    assert found_in('rm', chunk + b'text' + bytes(14), last_begin=17) is None


def test_what_may_be_the_header_of_a_frame_of_a_nut():
    assert found_in('nut', bytes(64), gaps=[(0, 64)]) is None
    assert found_in('nut', bytes(65), gaps=[(0, 65)]) is not None


def test_sizes_of_parts():
    assert parts.rm_chunk_size(b'.RMF\0\0\0\0') is None
    assert parts.rm_chunk_size(b'.RMF\0\0\0\1') == 1
    assert parts.nut_part_size(b'NK' + bytes(6) + b'\x81\x80\x00') == 11 + 2**14 + 4
    assert parts.nut_part_size(b'NK' + bytes(6) + b'\xa0\x00') == 10 + 4096
    assert parts.nut_part_size(b'NK' + bytes(6) + b'\xa0\x01') == 10 + 4097 + 4


def found_in(container, content, gaps=(), last_begin=0):
    class Stream:
        index = 0

    def read_at(place, count):
        return content[place : place + count]

    ends = Ends(Stream)
    ends.gaps.extend(gaps)
    ends.last_begin = last_begin
    return find_break(container, read_at, len(content), ends)
