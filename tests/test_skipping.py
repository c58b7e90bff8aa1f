"""Decoding without the pictures that nothing needs: the same pixels, or everything is decoded."""

import dataclasses

import av
import numpy as np
import pytest

import test_video_input
from conftest import golden_cases, numbered_frames
from r2plus1d import from_options, options
from r2plus1d.errors import InputError
from r2plus1d.video import clips, h264, skipping
from r2plus1d.video.clips import read_clips
from r2plus1d.video.decode import Video
from r2plus1d.video.encode import write_video
from r2plus1d.video.flow import FlowSettings
from r2plus1d.video.settings import ClipSettings
from r2plus1d.video.skipping import SkippingVideo, Unsound, order_of

SIZE, FRAMES = (64, 48), 60
START = 2  # decode_type of clips with start frames
B_FRAMES = {'bf': 3, 'b_strategy': 0, 'g': 250, 'sc_threshold': 0}
SETTINGS = {
    '10 clips': ClipSettings(length=8, clips=10),
    'apart': ClipSettings(length=2, rate=3, clips=4),
    'single frames': ClipSettings(length=1, clips=7),
    'given starts': ClipSettings(length=4, clip_starts=(40, 3)),
    'random': ClipSettings(length=5, decode_type='random', clips=3, random_crop=True, mirror=True),
    'flow': ClipSettings(length=2, rate=2, clips=3, flow=FlowSettings(gap=2)),
}


@pytest.fixture(scope='module')
def encode(tmp_path_factory):
    """Return a function that encodes noise over numbered frames, once for each set of options."""
    folder, made = tmp_path_factory.mktemp('skipping'), {}
    rng = np.random.default_rng(0)
    frames = [
        np.clip(frame + rng.integers(-20, 20, frame.shape), 0, 255).astype(np.uint8)
        for frame in numbered_frames(FRAMES, 128, 96)
    ]

    def encode(suffix='mp4', x264='', codec='libx264', pixel_format='yuv420p', **changes):
        given = {**B_FRAMES, 'preset': 'veryfast', 'x264-params': x264, **changes}
        if codec != 'libx264':
            given = changes
        key = (suffix, codec, pixel_format, tuple(given.items()))
        if key not in made:
            path = folder / f'{len(made)}.{suffix}'
            kind = {'mkv': 'matroska', 'ts': 'mpegts'}.get(suffix, suffix)
            how = {'codec': codec, 'container': kind, 'pixel_format': pixel_format}
            write_video(path, frames, fps=25, options=given, **how)
            made[key] = path
        return made[key]

    return encode


def skipped(source, settings):
    """Clips with and without skipping, found equal; returns how many frames were not decoded."""
    whole = read_clips(source, settings)
    found = read_clips(source, dataclasses.replace(settings, skip_pictures=True))
    np.testing.assert_array_equal(found.pixels, whole.pixels)
    np.testing.assert_array_equal(found.starts, whole.starts)
    np.testing.assert_array_equal(found.seconds, whole.seconds)
    assert found.num_undecodable == whole.num_undecodable
    assert found.work.converted == whole.work.converted
    return whole.work.decoded - found.work.decoded


def why_not(source):
    """Why the Order of a video is not certain."""
    with SkippingVideo(source) as video:
        assert video._order() is None
        with pytest.raises(ValueError) as error:
            order_of(video._packets(), video._stream.codec_context.extradata)
    return str(error.value)


X264 = [
    ('mp4', 'b-pyramid=none', {}),
    ('mkv', 'b-pyramid=normal', {'bf': 5}),
    ('mp4', 'b-pyramid=strict', {'bf': 5}),
    ('mkv', 'b-pyramid=none', {'bf': 1, 'refs': 1}),
    ('mp4', 'b-pyramid=normal:open-gop=1', {'g': 12}),
    ('mkv', 'b-pyramid=none:open-gop=1', {'g': 7, 'bf': 2}),
    ('mp4', 'b-pyramid=normal', {'g': 12, 'refs': 4}),
    ('mkv', 'cabac=0:weightp=2:weightb=1', {}),
    ('mp4', 'direct=temporal:ref=6:b-pyramid=strict', {'bf': 4}),
    ('mkv', 'slices=4', {}),
    ('mp4', 'intra-refresh=1', {'g': 20}),
    ('mkv', 'repeat-headers=1:aud=1', {'g': 12}),
    ('mp4', 'nal-hrd=cbr', {'b': 100000, 'maxrate': 100000, 'bufsize': 50000}),
    ('mkv', '', {'b_strategy': 1, 'sc_threshold': 40, 'profile': 'main'}),
]


@pytest.mark.parametrize(('suffix', 'x264', 'changes'), X264, ids=str)
def test_every_frame_is_the_same_alone(encode, suffix, x264, changes):
    path = encode(suffix, x264, **changes)
    with Video(path) as video:
        whole = list(video.frames_at(set(range(FRAMES)), SIZE))
    with SkippingVideo(path) as video:
        optional = sum(video._order().optional)
        for index in range(FRAMES):
            before = video.total_decoded
            (picture,) = video.frames_at({index}, SIZE, to_end=True)
            assert picture.index == index
            np.testing.assert_array_equal(picture.pixels, whole[index].pixels)
            assert picture.seconds == whole[index].seconds
            assert (video.num_decoded, video.num_undecodable) == (FRAMES, 0)
            # those that are optional, but wanted or among the first
            kept = video.total_decoded - before - (FRAMES - optional)
            assert 0 <= kept <= 3
    assert optional > FRAMES / 8


@pytest.mark.parametrize('kind', SETTINGS)
@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'mov', 'flv'])
def test_clips_are_the_same_of_fewer_pictures(encode, suffix, kind):
    settings = SETTINGS[kind]
    num_saved = skipped(encode(suffix), settings)
    assert num_saved > 0 or kind in ('10 clips', 'random')  # which use nearly every frame
    assert skipped(encode(suffix).read_bytes(), settings) == num_saved


def test_decoding_stops_at_the_last_wanted_frame_unless_told(encode):
    with SkippingVideo(encode()) as video:
        list(video.frames_at({9, 4}, SIZE))
        assert video.num_decoded == 10
        assert video.total_decoded < 10
        assert video.count_frames() == FRAMES  # decodes them all
        assert video.total_decoded > FRAMES


GOLDEN_RGB = [case for case in golden_cases(0) if case['args']['decode_type'] != START]


@pytest.mark.parametrize('case', GOLDEN_RGB, ids=lambda case: case['name'])
def test_golden_rgb(case, golden, make_database):
    case = {**case, 'args': {**case['args'], 'skip_pictures': 1}}
    pixels, settings = test_video_input.read_case(case, golden, make_database, threads=2)
    assert settings.skip_pictures
    expected = np.load(golden / 'video_input' / f'{case["name"]}.npz')['rgb_u8']
    np.testing.assert_array_equal(pixels, expected)


def test_a_golden_video_has_pictures_that_are_left_out(golden):
    path = golden / 'videos' / 'mm_demo.mp4'
    assert skipped(path, ClipSettings(length=8, clips=10)) > 70


def test_the_flag():
    def settings(*argv):
        groups = (options.NETWORK, options.CLIPS)
        return from_options.clip_settings(options.parse('', *groups, argv=argv))

    assert not settings().skip_pictures
    assert settings('--skip_pictures=1').skip_pictures


def test_nothing_happens_unless_asked_for(encode, monkeypatch):
    monkeypatch.delattr(clips, 'SkippingVideo')
    monkeypatch.delattr(skipping, 'order_of')
    assert read_clips(encode(), SETTINGS['apart']).work.decoded == FRAMES


def test_headers_are_not_read_where_that_saves_little(encode, monkeypatch):
    monkeypatch.delattr(skipping, 'order_of')
    assert skipped(encode(), ClipSettings(length=30, clips=2)) == 0
    assert skipped(encode(), ClipSettings(length=8)) == 0


@pytest.mark.parametrize('decode_type', ['start', 'frame'])
def test_clips_with_start_frames_refuse_it(decode_type):
    with pytest.raises(InputError, match='skip_pictures is for clips spread over a video'):
        ClipSettings(decode_type=decode_type, skip_pictures=True)


@pytest.mark.parametrize(
    ('suffix', 'codec', 'changes'),
    [
        ('avi', 'mpeg4', {'bf': 2}),
        ('mp4', 'mpeg4', {'bf': 2}),
        ('mkv', 'mpeg2video', {'bf': 2}),
        ('webm', 'libvpx-vp9', {'deadline': 'realtime', 'cpu-used': 8}),
        ('mkv', 'ffv1', {}),
    ],
)
def test_other_codecs_are_decoded_whole(encode, suffix, codec, changes):
    path = encode(suffix, codec=codec, **changes)
    with SkippingVideo(path) as video:
        assert video._order() is None
    assert skipped(path, SETTINGS['apart']) == 0


@pytest.mark.parametrize(
    ('how', 'why'),
    [
        ({'suffix': 'avi'}, 'units without their lengths'),
        ({'suffix': 'ts'}, 'units without their lengths'),
        ({'x264': 'tff=1'}, 'fields'),
        ({'x264': 'fake-interlaced=1'}, 'fields'),
        ({'bf': 0}, 'picture order counts that are not stored'),
        ({'profile': 'baseline', 'bf': 0}, 'profile 66'),
        ({'pixel_format': 'yuv444p'}, 'profile 244'),
        ({'pixel_format': 'yuv420p10le'}, 'profile 110'),
    ],
)
def test_other_h264_is_decoded_whole(encode, how, why):
    path = encode(**how)
    assert why_not(path) == why
    assert skipped(path, SETTINGS['apart']) == 0


def test_a_video_without_optional_pictures_is_decoded_whole(encode, monkeypatch):
    path = encode()
    order = skipping.order_of
    monkeypatch.setattr(
        skipping, 'order_of', lambda *what: order(*what)._replace(optional=[False] * FRAMES)
    )
    assert skipped(path, SETTINGS['apart']) == 0


class Packet(bytes):
    """A packet as order_of takes it."""

    pts, is_discard, is_corrupt = None, False, False


@pytest.fixture
def stream(encode):
    """(packets, extradata) of a video whose first group is I b B b P."""
    packets = []
    with av.open(str(encode(x264='b-pyramid=strict'))) as container:
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            packets.append(Packet(bytes(packet)))
            packets[number].pts = packet.pts
        return packets, container.streams.video[0].codec_context.extradata


def changed(packet, content):
    new = Packet(content)
    new.pts = packet.pts
    return new


def unit(content):
    return len(content).to_bytes(4, 'big') + content


def test_the_order_of_packets(stream):
    packets, extradata = stream
    order = order_of(packets, extradata)
    assert order.places[:5] == [0, 4, 2, 1, 3]
    assert order.optional[:5] == [False, False, False, True, True]
    assert (order.delay, order.times) == (2, sorted(packet.pts for packet in packets))
    assert order.needed(set())[:5] == [0, 1, 2, 5, 6]
    assert order.needed({3})[:5] == [0, 1, 2, 4, 5]
    assert order._replace(delay=3).needed(set())[:5] == [0, 1, 2, 3, 5]


def changing(attribute, number, value):
    def change(packets):
        setattr(packets[number], attribute, value)

    return change


def rewriting(number, rewrite):
    def change(packets):
        packets[number] = changed(packets[number], rewrite(packets[number]))

    return change


def swap_times(packets):
    packets[3].pts, packets[4].pts = packets[4].pts, packets[3].pts


def without(number):
    return lambda packets: packets.pop(number)


def equal_times(packets):
    packets[3].pts = packets[4].pts


SECOND_SLICE = unit(b'\x41\x10\x20\x30')  # of a reference picture, not its first
OPEN_START = unit(b'\x61\x88\x80\x00\x00\x00')  # numbers and counts of 0, but no IDR picture


@pytest.mark.parametrize(
    ('change', 'why'),
    [
        (changing('pts', 7, None), 'without a time of their own'),
        (equal_times, 'without a time of their own'),
        (swap_times, 'times in another order'),
        (changing('is_discard', 5, True), 'not shown, or are damaged'),
        (changing('is_corrupt', 5, True), 'not shown, or are damaged'),
        (without(0), 'frame number 1 in the turn of 0'),
        (rewriting(0, lambda p: OPEN_START), 'what is shown first refers to other pictures'),
        (without(1), 'frame number 2 in the turn of 1'),
        (rewriting(3, lambda p: p + unit(b'\x67\x64')), 'parameters that change'),
        (rewriting(3, lambda p: p + unit(b'\x0a\x00')), 'a unit of type 10'),
        (rewriting(3, lambda p: p + SECOND_SLICE), 'slices of several kinds'),
        (
            rewriting(3, lambda p: unit(b'\x06\x00')),
            'slices of several kinds in a picture, or none',
        ),
        (rewriting(3, lambda p: p + p), '2 pictures in a packet'),
        (rewriting(1, lambda p: SECOND_SLICE), '0 pictures in a packet'),
        (rewriting(3, lambda p: p[:-1]), 'lengths that do not add up'),
        (rewriting(3, lambda p: p + unit(b'')), 'lengths that do not add up'),
        (rewriting(1, lambda p: unit(p[4:7])), 'a header that ends too early'),
    ],
)
def test_packets_that_leave_a_doubt(stream, change, why):
    packets, extradata = stream
    change(packets)
    with pytest.raises(ValueError, match=why):
        order_of(packets, extradata)


def test_pictures_shown_before_the_first_packet(stream, monkeypatch):
    packets, extradata = stream
    for number, packet in enumerate(packets):
        packet.pts = -number
    counts = [(1, -number) for number in range(FRAMES)]
    monkeypatch.setattr(h264, 'order_counts', lambda pictures, known: counts)
    with pytest.raises(ValueError, match='what is shown first refers to other pictures'):
        order_of(packets, extradata)


def test_more_packets_than_frames_are_read(stream, monkeypatch):
    monkeypatch.setattr(skipping, 'MAX_FRAMES', FRAMES - 1)
    with pytest.raises(ValueError, match='more than 59 packets'):
        order_of(*stream)


def golomb(value):
    bits = f'{value + 1:b}'
    return '0' * (len(bits) - 1) + bits


def sequence_set(*, profile=77, usual='', poc_type=0, gaps=0, frames=1):
    """A sequence parameter set with 8 bits of frame_num and 6 of counts.

    `usual` is what the High profile adds.
    """
    bits = '01100111' + f'{profile:08b}' + '0' * 8 + f'{30:08b}' + golomb(0) + usual + golomb(4)
    bits += golomb(poc_type) + (golomb(2) if poc_type == 0 else '')
    bits += golomb(4) + str(gaps) + golomb(7) + golomb(5) + str(frames) + '1000'
    bits += '1' + '0' * (-len(bits) - 1 & 7)
    return int(bits, 2).to_bytes(len(bits) // 8, 'big')


def configuration(*sequences):
    sets = b''.join(len(s).to_bytes(2, 'big') + s for s in sequences)
    return b'\x01\x4d\x00\x1e\xff' + bytes([0xE0 | len(sequences)]) + sets + b'\x01\0\2\x68\xee'


UNUSUAL = [
    golomb(0) + golomb(0) + golomb(0) + '00',  # monochrome
    golomb(1) + golomb(2) + golomb(0) + '00',  # 10 bits
    golomb(1) + golomb(0) + golomb(2) + '00',
    golomb(1) + golomb(0) + golomb(0) + '01',  # scaling lists
    golomb(1) + golomb(0) + golomb(0) + '10',  # lossless
]


def test_parameters():
    plain = sequence_set()
    assert h264.parameters(configuration(plain)) == (4, 8, 6, (plain, b'\x68\xee'))
    high = sequence_set(profile=100, usual=golomb(1) + golomb(0) + golomb(0) + '00')
    assert h264.parameters(configuration(high)) == (4, 8, 6, (high, b'\x68\xee'))
    for extradata, why in [
        (None, 'units without their lengths'),
        (b'\0\0\0\1\x67', 'units without their lengths'),
        (configuration(), '0 sequence parameter sets'),
        (configuration(plain, plain), '2 sequence parameter sets'),
        (configuration(plain[:5]), 'too early|not found'),
        (configuration(sequence_set(profile=66)), 'profile 66'),
        *((configuration(sequence_set(profile=100, usual=bits)), '4:2:0') for bits in UNUSUAL),
        (configuration(sequence_set(poc_type=2)), 'counts that are not stored'),
        (configuration(sequence_set(gaps=1)), 'gaps'),
        (configuration(sequence_set(frames=0)), 'fields'),
    ]:
        with pytest.raises(ValueError, match=why):
            h264.parameters(extradata)


def test_extradata_that_is_cut_short(encode, monkeypatch):
    monkeypatch.setattr(h264, 'parameters', lambda extradata: extradata[1000])
    assert skipped(encode(), SETTINGS['apart']) == 0


def test_order_counts_wrap_around():
    known = h264.Parameters(4, 4, 4, ())
    lows = [0, 8, 4, 0, 12, 8, 4, 0]  # I P b P b P b, then a new I
    pictures = [
        h264.CodedPicture(number not in (2, 4, 6), number in (0, 7), frame_num, low)
        for number, (frame_num, low) in enumerate(zip([0, 1, 2, 2, 3, 3, 4, 0], lows))
    ]
    found = list(h264.order_counts(pictures, known))
    assert found == [(1, 0), (1, 8), (1, 4), (1, 16), (1, 12), (1, 24), (1, 20), (2, 0)]


def damaged(path, number, damage):
    """Bytes of a video whose packet `number` is `damage(of its bytes)`, of the same length."""
    content = path.read_bytes()
    with av.open(str(path)) as container:
        packet = [p for p in container.demux(video=0) if p.size][number]
    begin, end = packet.pos, packet.pos + packet.size
    new = damage(content[begin:end])
    assert len(new) == end - begin
    return content[:begin] + new + content[end:]


def numbers_of(path, *, optional):
    """Those packets of a video, by number, that are optional or not."""
    with SkippingVideo(path) as video:
        return [n for n, value in enumerate(video._order().optional) if value is optional]


def give_up(source, wanted=frozenset({30})):
    """What makes decoding without the unneeded pictures give up."""
    with SkippingVideo(source) as video, pytest.raises(Unsound) as error:
        list(video.frames_at(wanted, SIZE, to_end=True))
    return str(error.value)


def half_zero(packet):
    """A picture that can be decoded in part."""
    half = len(packet) // 2
    return packet[:half] + bytes(len(packet) - half)


def only_ones(packet):
    """All ones after what order_of reads: a picture that does not decode."""
    return packet[:7] + b'\xff' * (len(packet) - 7)


def test_counting_again_does_not_go_on_for_ever(tmp_path):
    """Whole, a damaged picture is missing and others are wanted, for which it can be left out."""
    path, settings = tmp_path / 'short.mp4', ClipSettings(length=8, rate=2, clips=4)
    given = {**B_FRAMES, 'x264-params': 'b-pyramid=none'}
    write_video(path, list(numbered_frames(24, 128, 96)), fps=25, options=given)
    for number in numbers_of(path, optional=True):
        content = damaged(path, number, only_ones)
        assert skipped(content, settings) == 0


def test_a_damaged_reference_picture(encode):
    path = encode()
    content = damaged(path, numbers_of(path, optional=False)[9], half_zero)
    assert 'is damaged' in give_up(content)
    assert skipped(content, SETTINGS['apart']) == 0


def test_a_reference_picture_that_does_not_decode(encode):
    path = encode()
    number = numbers_of(path, optional=False)[9]
    content = damaged(path, number, only_ones)
    assert give_up(content) == f'packet {number} does not decode'
    assert skipped(content, SETTINGS['apart']) == 0
    assert read_clips(content, SETTINGS['apart']).num_undecodable == 1


def test_a_packet_whose_units_are_lost(encode):
    path = encode()
    content = damaged(path, numbers_of(path, optional=True)[9], lambda p: b'\xff' * len(p))
    assert why_not(content) == 'lengths that do not add up'
    assert skipped(content, SETTINGS['apart']) == 0


@pytest.mark.parametrize('lost', [0, 20])
def test_a_frame_that_does_not_come(encode, monkeypatch, lost):
    def decode(self, packets):
        frames = list(original(self, packets))
        yield from frames[:lost] + frames[lost + 1 :]

    path, original = encode(), Video._decode
    monkeypatch.setattr(SkippingVideo, '_decode', decode)
    assert 'does not come in its turn' in give_up(path)
    assert skipped(path, SETTINGS['apart']) == 0


@pytest.mark.parametrize('change', [lambda frames: frames[:-1], lambda frames: frames * 2])
def test_too_few_or_too_many_frames(encode, monkeypatch, change):
    original = Video._decode
    monkeypatch.setattr(
        SkippingVideo, '_decode', lambda self, packets: change(list(original(self, packets)))
    )
    assert 'does not come in its turn' in give_up(encode())


def hurried(path):
    """Bytes of a video that says that its pictures come in their order, which they do not.

    It says so in num_reorder_frames, the second number from the end of its parameters.
    """
    content = path.read_bytes()
    with av.open(str(path)) as container:
        known = h264.parameters(container.streams.video[0].codec_context.extradata)
    bits = f'{int.from_bytes(known.sets[0], "big"):b}'.rstrip('0')
    (last,) = (golomb(n) + '1' for n in range(16) if bits.endswith(golomb(2) + golomb(n) + '1'))
    bits = '0' + bits.removesuffix(golomb(2) + last) + golomb(0) + last
    size = len(known.sets[0])
    new = int(bits.ljust(8 * size, '0'), 2).to_bytes(size, 'big')
    assert content.count(known.sets[0]) == 1
    return content.replace(known.sets[0], new)


def test_a_decoder_that_loses_frames_because_it_does_not_hold_them_back(encode):
    content = hurried(encode('mkv', x264='b-pyramid=strict', bf=5))
    with Video(content) as video:
        assert video.count_packets() == FRAMES
        assert video.count_frames() < FRAMES
    assert give_up(content) == 'the decoder holds back fewer than 2 pictures'
    assert skipped(content, SETTINGS['apart']) == 0


def test_what_is_not_seen(encode):
    """The price: a picture that is left out and would not have decoded."""
    path, settings = encode(x264='b-pyramid=none'), SETTINGS['apart']
    skipping_settings = dataclasses.replace(settings, skip_pictures=True)
    intact = read_clips(path, settings)
    wanted = {start + offset for start in intact.starts for offset in settings.offsets}
    with SkippingVideo(path) as video:
        order = video._order()
    left_out = sorted(set(range(FRAMES)) - set(order.needed(wanted)))
    content = damaged(path, left_out[3], only_ones)
    whole, found = read_clips(content, settings), read_clips(content, skipping_settings)
    assert (whole.num_undecodable, found.num_undecodable) == (1, 0)
    assert not np.array_equal(whole.pixels, intact.pixels)
    np.testing.assert_array_equal(found.pixels, intact.pixels)
