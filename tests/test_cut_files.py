"""Files that were cut short are named; whole ones never are, however little they state."""

import io
import struct

import av
import pytest

from conftest import ROOT, numbered_frames
from r2plus1d.errors import RecordError
from r2plus1d.video import parts, stated
from r2plus1d.video.decode import Video
from r2plus1d.video.encode import write_video
from r2plus1d.video.stated import Stated, read_stated

CASES = ROOT.parent / 'shared' / 'cases' / 'video'
CUTS = 60
FRAGMENTS = 'frag_keyframe+empty_moov+default_base_moof'

# name: (container, codec, options); those whose headers state how much there is
STATED = {
    'mp4': ('mp4', 'libx264', {}),
    'mp4, index first': ('mp4', 'libx264', {'movflags': 'faststart'}),
    'mp4, fragments with an index': (
        'mp4', 'libx264', {'g': 12, 'movflags': 'frag_keyframe+dash+global_sidx'},
    ),
    'mov': ('mov', 'mpeg4', {}),
    'mkv': ('mkv', 'libx264', {'bf': 2}),
    'mkv, small clusters': ('mkv', 'libx264', {'cluster_size_limit': 2000}),
    'mkv, cues first': ('mkv', 'libx264', {'reserve_index_space': 5000}),
    'webm': ('webm', 'libvpx-vp9', {'cpu-used': 8}),
    'webm, hidden frames': (
        'webm', 'libvpx', {'cpu-used': 8, 'auto-alt-ref': 1, 'lag-in-frames': 16},
    ),
    'flv': ('flv', 'libx264', {}),
    'flv, no end of sequence': ('flv', 'flv', {'flvflags': 'no_sequence_end'}),
    'flv, with an index': ('flv', 'libx264', {'flvflags': 'add_keyframe_index'}),
    'avi': ('avi', 'mpeg4', {}),
    'avi, B-frames': ('avi', 'libx264', {'bf': 2}),
    'asf': ('asf', 'wmv2', {}),
}  # fmt: skip
# Those that leave out something: a file that was recorded live, without its end or its size.
SILENT = {
    'mp4, fragments': ('mp4', 'libx264', {'g': 12, 'movflags': FRAGMENTS}),
    'mp4, fragments without an end': (
        'mp4', 'libx264', {'g': 12, 'movflags': f'{FRAGMENTS}+skip_trailer'},
    ),
    'mp4, frames of the first fragment': ('mp4', 'libx264', {'g': 12, 'movflags': 'frag_keyframe'}),
    'flv without sizes': ('flv', 'libx264', {'flvflags': 'no_duration_filesize'}),
    'mp4, no edit list': ('mp4', 'libx264', {'use_editlist': 0}),
    'ts': ('mpegts', 'libx264', {}),
    'mpeg': ('mpeg', 'mpeg2video', {}),
}  # fmt: skip
PIPED = {'matroska': 'libx264', 'webm': 'libvpx', 'flv': 'flv', 'avi': 'mpeg4', 'mpegts': 'libx264'}


class Pipe(io.RawIOBase):
    """Takes bytes and cannot go back, as a live stream."""

    def __init__(self):
        self.content = bytearray()

    def writable(self):
        return True

    def write(self, content):
        self.content += bytes(content)
        return len(content)


@pytest.fixture(scope='module')
def encoded(tmp_path_factory):
    """Return a function that gives the bytes of a video of 50 frames."""
    folder = tmp_path_factory.mktemp('cut')

    def encode(container, codec, options):
        path = folder / 'x'
        write_video(
            path, numbered_frames(50), fps=25, codec=codec, container=container, options=options
        )
        return path.read_bytes()

    return encode


def packets_of(content):
    with av.open(io.BytesIO(content)) as container:
        return [(p.pos, p.size) for p in container.demux(video=0) if p.size]


def cuts_of(content):
    """Places to cut at: evenly over the file, at the end of packets, and just before the end."""
    even = {len(content) * part // (CUTS + 1) for part in range(1, CUTS + 1)}
    ends = [place for place, _ in packets_of(content) if place]
    return sorted(even | set(ends[1:]) | {len(content) - 1})


def unnoticed(content):
    """The cuts that take away a part of the video packets without being named."""
    with Video(content) as video:
        whole = [packet.size for packet in video._packets.read_all()]
    found = []
    for cut in cuts_of(content):
        try:
            with Video(content[:cut]) as video:
                if [packet.size for packet in video._packets.read_all()] != whole:
                    found.append(cut)
        except RecordError:
            pass
    return found


@pytest.mark.parametrize('name', STATED)
def test_no_cut_goes_unnoticed(encoded, name):
    content = encoded(*STATED[name])
    assert len(cuts_of(content)) >= CUTS
    assert unnoticed(content) == []


@pytest.mark.parametrize('name', [*STATED, *SILENT])
def test_a_whole_file_is_whole(encoded, name):
    container, codec, options = (STATED | SILENT)[name]
    with Video(encoded(container, codec, options)) as video:
        assert video.count_packets() >= 50
        assert video.count_frames() == 50


@pytest.mark.parametrize('name', [name for name in SILENT if name.startswith('mp4, frag')])
def test_only_the_boundaries_of_fragments_go_unnoticed(encoded, name):
    content = encoded(*SILENT[name])
    boundaries = {place for place in range(len(content)) if content[place + 4 :][:4] == b'moof'}
    assert set(unnoticed(content)) <= boundaries


@pytest.mark.parametrize('container', PIPED)
def test_a_live_recording_is_whole(container):
    pipe = Pipe()
    write_video(pipe, numbered_frames(50), fps=25, codec=PIPED[container], container=container)
    with Video(bytes(pipe.content)) as video:
        assert video.count_packets() == video.count_frames() == 50
    if container in ('matroska', 'webm'):
        assert unnoticed(bytes(pipe.content)) == []


def test_two_streams_of_different_length(tmp_path):
    """Sound that goes on after the picture, or ends long before it."""
    for suffix, (pictures, seconds) in {
        'mp4': (20, 3), 'mkv': (20, 3), 'flv': (20, 3), 'avi': (50, 0.2), 'mov': (50, 0.2),
    }.items():  # fmt: skip
        path = tmp_path / f'x.{suffix}'
        with_sound(path, pictures, seconds)
        with Video(path) as video:
            assert video.count_packets() == video.count_frames() == pictures


def with_sound(path, pictures, seconds):
    with av.open(str(path), 'w') as output:
        stream = output.add_stream('mpeg4' if path.suffix == '.avi' else 'libx264', rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, 'yuv420p'
        sound = output.add_stream('libmp3lame', rate=44100)
        sound.codec_context.layout = 'mono'
        packets = []
        for number, pixels in enumerate(numbered_frames(pictures)):
            frame = av.VideoFrame.from_ndarray(pixels, 'rgb24').reformat(format='yuv420p')
            frame.pts = number
            packets += stream.encode(frame)
        packets += stream.encode()
        for number in range(int(seconds * 44100) // 1152):
            silence = av.AudioFrame(format='fltp', layout='mono', samples=1152)
            silence.planes[0].update(bytes(silence.planes[0].buffer_size))
            silence.sample_rate, silence.pts = 44100, 1152 * number
            packets += sound.encode(silence)
        packets += sound.encode()
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            output.mux(packet)


def test_sound_that_is_cut_off_is_no_loss(tmp_path):
    path = tmp_path / 'x.mov'
    with_sound(path, 10, 3)
    front = tmp_path / 'front.mov'
    with (
        av.open(str(path)) as source,
        av.open(str(front), 'w', container_options={'movflags': 'faststart'}) as target,
    ):
        streams = {s.index: target.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    content = front.read_bytes()
    end = max(place + size for place, size in packets_of(content))
    with Video(content[:end]) as video:
        assert video.count_packets() == 10
    with pytest.raises(RecordError, match='truncated'), Video(content[: end - 1]) as video:
        video.count_packets()


def test_case_cut_files():
    for name in ('mp4_cut_at_packet_boundary_half.mp4', 'mkv_cut.mkv'):
        path = CASES / name
        if not path.is_file():
            pytest.skip(f'no file {path}')
        with pytest.raises(RecordError, match='truncated'), Video(path) as video:
            video.count_packets()


def box(kind, content):
    return struct.pack('>I', 8 + len(content)) + kind + content


EBML = b'\x1a\x45\xdf\xa3\x84' + bytes(4)  # the header of Matroska
SEGMENT, CLUSTER = b'\x18\x53\x80\x67', b'\x1f\x43\xb6\x75'
UNKNOWN = b'\x01' + b'\xff' * 7
FTYP = box(b'ftyp', b'')
SIDX_0 = box(b'sidx', bytes(4) + bytes(8) + bytes(4) + struct.pack('>III', 7, 2, 100) + bytes(8)
             + struct.pack('>I', 30 | 1 << 31) + bytes(8))  # fmt: skip
SIDX_1 = box(b'sidx', b'\1' + bytes(3) + bytes(8) + bytes(8) + struct.pack('>QII', 7, 1, 100)
             + bytes(8))  # fmt: skip
MVHD_0 = box(b'mvhd', bytes(4) + bytes(8) + struct.pack('>II', 1000, 0))
MVHD_1 = box(b'mvhd', b'\1' + bytes(3) + bytes(16) + struct.pack('>IQ', 1000, 0))
MEHD_0 = box(b'mvex', box(b'mehd', bytes(4) + struct.pack('>I', 2500)))
MEHD_1 = box(b'mvex', box(b'mehd', b'\1' + bytes(3) + struct.pack('>Q', 2500)))
MOOF = box(b'moof', b'')


def flv(name, value):
    script = b'\x02\x00\x0aonMetaData\x08\x00\x00\x00\x01' + struct.pack('>H', len(name)) + name
    script += b'\x00' + struct.pack('>d', value) + b'\x00\x00\x09'
    head = b'FLV\x01\x01\x00\x00\x00\x09' + bytes(4)
    return head + b'\x12' + len(script).to_bytes(3, 'big') + bytes(7) + script


ASF_HEADER = b'\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c'


@pytest.mark.parametrize(
    ('container', 'content', 'expected'),
    [
        ('mov,mp4', FTYP + b'\0\0\0\x0cmdat' + bytes(4), Stated()),
        ('mov,mp4', FTYP + b'\0\0\0\x0cmdat' + bytes(1), Stated(3)),
        ('mov,mp4', b'\0\0\0\x01mdat' + (20).to_bytes(8, 'big') + bytes(1), Stated(3)),
        ('mov,mp4', b'\0\0\0\0mdat' + bytes(1), Stated()),  # to the end
        ('mov,mp4', FTYP + MOOF + b'text after it', Stated(0, True)),
        ('mov,mp4', FTYP + b'\xff' * 20, Stated()),  # garbage
        ('mov,mp4', FTYP + MOOF, Stated(0, True)),
        ('mov,mp4', SIDX_0 + bytes(100), Stated(37, True)),
        ('mov,mp4', SIDX_1 + bytes(100), Stated(7, True)),
        ('mov,mp4', b'\0\0\0\x20sidx' + bytes(6), Stated(18, True)),
        ('mov,mp4', box(b'moov', MVHD_0 + MEHD_0) + MOOF, Stated(0, True, 2.5)),
        ('mov,mp4', box(b'moov', MVHD_1 + MEHD_1) + MOOF, Stated(0, True, 2.5)),
        ('mov,mp4', box(b'moov', MVHD_1 + MEHD_1), Stated()),  # no fragments
        ('mov,mp4', box(b'moov', MEHD_1) + MOOF, Stated(0, True)),
        ('matroska,webm', EBML + SEGMENT + b'\x8a' + bytes(7), Stated(3)),
        ('matroska,webm', EBML + SEGMENT + UNKNOWN + bytes(7), Stated()),
        ('matroska,webm', EBML + SEGMENT + UNKNOWN + CLUSTER + b'\x85' + bytes(3), Stated(2)),
        (
            'matroska,webm',
            EBML + SEGMENT + UNKNOWN + CLUSTER + UNKNOWN + b'\xa3\x84' + bytes(4) + b'\xa3\x84ab',
            Stated(2),
        ),
        ('matroska,webm', EBML + SEGMENT + UNKNOWN + b'\x1a', Stated()),  # an index
        ('matroska,webm', EBML + SEGMENT + UNKNOWN + b'\x1f', Stated(4)),
        ('matroska,webm', EBML + SEGMENT + UNKNOWN + b'\xa3', Stated(1)),
        ('matroska,webm', EBML + SEGMENT + UNKNOWN + b'\xa3\x40', Stated(1)),
        ('matroska,webm', EBML + SEGMENT + b'\x80' + b'text after it', Stated()),
        ('matroska,webm', EBML + b'\xa3' + UNKNOWN, Stated()),
        ('matroska,webm', bytes(30), Stated()),
        ('avi', b'RIFF' + struct.pack('<I', 12) + b'AVI ' + bytes(5), Stated(3)),
        ('avi', (b'RIFF' + struct.pack('<I', 4) + b'AVI ') * 2 + b'RIFF\x09\0\0\0AVIX', Stated(5)),
        ('avi', b'RIFF' + b'\xff' * 4 + b'AVI ', Stated()),
        ('avi', b'RIFF', Stated()),
        ('asf', ASF_HEADER + struct.pack('<Q', 40) + bytes(6), Stated(10)),
        ('asf', ASF_HEADER + bytes(14), Stated()),
        ('flv', flv(b'filesize', 100), Stated(100 - len(flv(b'filesize', 0)))),
        ('flv', flv(b'filesize', 10), Stated()),
        ('flv', flv(b'filesize', float('nan')), Stated()),
        ('flv', flv(b'duration', 100), Stated()),
        ('flv', flv(b'filesize', 100)[:-8], Stated()),
        ('flv', b'FLV\x01\x01\x00\x00\x00\x09' + bytes(4) + b'\x09', Stated()),
        ('mpegts', b'\x47' * 188, Stated()),
    ],
)  # fmt: skip
def test_what_a_header_states(container, content, expected):
    def read_at(place, count):
        return content[place : place + count]

    assert read_stated(container, read_at, len(content)) == expected


def test_fragments_that_end_before_their_duration(encoded):
    content = encoded('mp4', 'libx264', {'g': 12, 'movflags': FRAGMENTS})
    with_duration, place = bytearray(content), content.index(b'mvex') - 4
    mvex = int.from_bytes(content[place : place + 4], 'big')
    end = place + mvex
    for ticks, is_whole in ((2000, True), (4000, False)):
        mehd = box(b'mehd', bytes(4) + struct.pack('>I', ticks))
        with_duration = bytearray(content[:end] + mehd + content[end:])
        for kind in (b'moov', b'mvex'):
            at = with_duration.index(kind) - 4
            size = int.from_bytes(with_duration[at : at + 4], 'big') + len(mehd)
            with_duration[at : at + 4] = struct.pack('>I', size)
        with Video(bytes(with_duration)) as video:
            if is_whole:
                assert video.count_packets() == 50
            else:
                with pytest.raises(RecordError, match='truncated: its data ends at 2.08 s of 4.00'):
                    video.count_packets()


def test_a_segment_index_of_any_length_is_read_in_part():
    asked = []

    def read_at(place, count):
        asked.append(count)
        return (b'\xff\xff\xff\xffsidx' + bytes(30))[place : place + count]

    read_stated('mov,mp4', read_at, 38)
    assert max(asked) <= stated.LARGEST_PART


def test_the_number_of_parts_that_are_looked_at_is_limited(monkeypatch):
    content = box(b'free', b'') * 9 + box(b'mdat', bytes(20))[:-3]

    def read_at(place, count):
        return content[place : place + count]

    assert read_stated('mov,mp4', read_at, len(content)).missing == 3
    monkeypatch.setattr(parts, 'MAX_PARTS', 9)
    assert read_stated('mov,mp4', read_at, len(content)).missing == 0
