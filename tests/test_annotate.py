"""Annotated videos: their frames, times, sound and size, and words that can be read."""

import pathlib

import av
import cv2
import numpy as np
import pytest

import r2plus1d
from conftest import ROOT, number_of
from r2plus1d.errors import InputError, RecordError
from r2plus1d.pictures import lettering
from r2plus1d.pictures.annotate import annotated_paths
from r2plus1d.pictures.drawing import (
    LETTERS,
    NAME_SHARE,
    SMALLEST_WIDTH,
    Layout,
    Panel,
    blend,
    turn,
)
from r2plus1d.pictures.tracks import Tracks
from r2plus1d.results.known_classes import COUNTS, known_names
from r2plus1d.video.budget import DEFAULT_BUDGET
from r2plus1d.video.encode import TICKS, TimedFrame, write_video
from r2plus1d.video.shown import ShownFrame, shown_frames
from sounding_videos import pictures_of, sound_of, turn_in_header, write_sounding

WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
UNEVEN = [round(TICKS * i / 25) + (i % 3) * 900 for i in range(50)]


@pytest.fixture(scope='module')
def model():
    return r2plus1d.load(WEIGHTS)


@pytest.fixture
def annotated(model, tmp_path):
    """Return a function from a video to its annotated one."""

    def make(path, name='out.mp4', **options):
        (prediction,) = r2plus1d.predict(model, path, clips=2)
        return r2plus1d.annotate(model, prediction, tmp_path / name, **options)

    return make


@pytest.mark.parametrize(
    ('name', 'options', 'copied'),
    [
        ('aac.mp4', {}, True),
        ('opus.mkv', {'codec': 'libopus'}, True),
        ('adpcm.avi', {'codec': 'adpcm_ima_wav', 'video_codec': 'mpeg4'}, False),
        ('late.ts', {'begin': 0.5}, True),
        ('uneven.mp4', {'ticks': UNEVEN}, True),
    ],
)
def test_frames_and_sound_keep_their_times(annotated, tmp_path, name, options, copied):
    source = write_sounding(tmp_path / name, **options)
    output = annotated(source)
    before, after = pictures_of(source), pictures_of(output)
    assert len(after) == len(before) == 50
    assert after[0][0] == 0
    shift = before[0][0]
    np.testing.assert_allclose([t for t, _ in after], [t - shift for t, _ in before], atol=2e-5)
    for number, (_, pixels) in enumerate(after[::7]):
        shown = pixels[: round(SMALLEST_WIDTH * 120 / 160)]
        assert number_of(shown) == 7 * number
    (codec, packets), (its_codec, its_packets) = sound_of(source), sound_of(output)
    begin = packets[0][0] - shift
    if copied:
        assert its_codec == codec
        # MPEG-TS has a header before each packet, which MP4 has once for all
        assert len(its_packets) == len(packets)
        assert all(p.endswith(q) and q for (_, p), (_, q) in zip(packets, its_packets))
        assert its_packets[0][0] == pytest.approx(begin, abs=1e-3)
    else:
        assert its_codec == 'aac'
        assert len(its_packets) >= 2 * 16000 // 1024
        assert its_packets[0][0] == pytest.approx(begin, abs=0.07)  # the encoder's own beginning


def test_a_silent_video_has_no_sound(annotated, make_video):
    output = annotated(make_video(40))
    assert sound_of(output) is None
    assert len(pictures_of(output)) == 40


def test_sound_that_cannot_be_read_costs_the_sound_only(
    annotated, tmp_path, decode_here, monkeypatch, caplog
):
    def fail(*arguments):
        raise RecordError('it is broken')

    monkeypatch.setattr('r2plus1d.pictures.annotate.add_sound', fail)
    output = annotated(write_sounding(tmp_path / 'a.mp4'))
    assert len(pictures_of(output)) == 50
    assert 'the annotated video has no sound: it is broken' in caplog.text


def test_a_turned_video_stands_upright(annotated, tmp_path):
    source = turn_in_header(write_sounding(tmp_path / 'a.mp4'), tmp_path / 'turned.mp4')
    (first, *_) = shown_frames(source, DEFAULT_BUDGET)
    assert first.turned == 270
    assert first.pixels.shape == (120, 160, 3)  # as stored, which is what the network sees
    pixels = pictures_of(annotated(source))[17][1]
    assert pixels.shape[1] == SMALLEST_WIDTH
    upright = cv2.resize(pixels[:640], (120, 160), interpolation=cv2.INTER_AREA)
    assert number_of(np.rot90(upright)) == 17


def frame(width, height, *, aspect=1, turned=0):
    return ShownFrame(np.zeros((height, width, 3), np.uint8), None, turned, aspect, None)


@pytest.mark.parametrize(
    ('shown', 'size'),
    [
        (frame(160, 120), (480, 360)),
        (frame(1920, 1080), (1920, 1080)),
        (frame(641, 481), (640, 480)),
        (frame(720, 576, aspect=16 / 15), (768, 576)),
        (frame(720, 480, turned=90), (480, 720)),
        (frame(720, 576, aspect=10**6), (720, 576)),  # not believed
        (frame(2, 4000), (480, 4000)),
        (frame(16, 16), (480, 128)),
        (frame(3840, 2160), (3840, 2160)),
    ],
)
def test_the_size_of_the_picture(shown, size):
    layout = Layout.of(shown)
    assert (layout.width, layout.height) == size
    assert layout.fitted(turn(shown.pixels, shown.turned)).shape == (*size[::-1], 3)
    panel = Panel(layout, ['one', 'two']).drawn([0.5, 0.25])
    assert panel.shape[1] == layout.width
    assert panel.shape[0] % 2 == 0


@pytest.mark.parametrize('width', [160, 480, 1920, 3840])
@pytest.mark.parametrize('name', ['left', 'passing American football (not in game)', 'yağlı güreş'])
def test_a_name_is_drawn_whole_and_high_enough(width, name):
    layout = Layout.of(frame(width, width * 9 // 16))
    drawn = Panel(layout, [name]).drawn([0.5])
    bar = np.flatnonzero((drawn == (255, 176, 0)).all(axis=2).any(axis=0))
    words = drawn[:, : bar[0] - 1].max(axis=2) > 128
    assert words.any(axis=0)[: layout.letters].any()
    assert words.any(axis=1).sum() >= 0.5 * lettering.SMALLEST
    whole = lettering.letters(name, layout.letters, 10**4)
    assert words.any(axis=0).sum() >= 0.55 * (whole > 0.5).any(axis=0).sum()


@pytest.mark.parametrize('classes', COUNTS)
def test_every_known_name_fits_into_the_smallest_panel(classes):
    room = round(NAME_SHARE * SMALLEST_WIDTH) - 2 * (LETTERS[0] // 2)
    widths = {name: lettering._width(name, lettering.SMALLEST) for name in known_names(classes)}
    assert [name for name, width in widths.items() if width > room] == []


def test_a_name_that_is_too_long_is_shortened():
    room = 100
    drawn = lettering.letters('a very long name ' * 10**5, 14, room)
    assert drawn.shape[0] == 28
    assert room / 2 < drawn.shape[1] <= room
    assert (drawn > 0.5).any()
    assert lettering._width('a very long name ' * 20, lettering.SMALLEST) > room
    np.testing.assert_array_equal(lettering.letters('', 14, room), np.zeros((28, 1)))


def test_a_dollar_is_no_formula_and_an_unknown_letter_a_box(recwarn):
    assert (lettering.letters('$x$ \u4f60', 20, 400) > 0.5).any()
    assert not recwarn.list


def test_bars_are_as_long_as_the_probabilities():
    layout = Layout.of(frame(1000, 500))
    panel = Panel(layout, ['one', 'two'])
    for values in ((0, 1), (0.5, 0.25), (1, 0)):
        drawn = panel.drawn(values)
        lengths = [
            (drawn == colour).all(axis=2).any(axis=0).sum()
            for colour in ((255, 176, 0), (100, 143, 255))
        ]
        full = panel._bar[1] - panel._bar[0]
        assert lengths == [round(value * full) for value in values]


def test_the_nearest_clip_speaks():
    clips = [
        r2plus1d.ClipPrediction(start, (None, None), (), np.array([start / 100], np.float32))
        for start in (40, 0, 80)
    ]
    failed = r2plus1d.ClipPrediction(20, (None, None), (), np.empty(0), 'broken')
    prediction = r2plus1d.Prediction('a', ((0, 1.0),), np.ones(1), None, (*clips, failed))
    tracks = Tracks(prediction, [0], required=9)
    shown = [round(100 * float(tracks.at(index)[0])) for index in (0, 23, 25, 63, 65, 1000)]
    assert shown == [0, 0, 40, 40, 80, 80]
    with pytest.raises(InputError, match='the prediction of a has no clips'):
        Tracks(r2plus1d.Prediction('a', (), np.empty(0), None, (failed,)), [0], required=9)


def test_the_colours_follow_the_heat():
    pixels = np.full((4, 4, 3), 100, np.uint8)
    heat = np.zeros((4, 4), np.float32)
    np.testing.assert_array_equal(blend(pixels, heat), pixels)
    heat[1, 2] = 1
    changed = (blend(pixels, heat) != pixels).any(axis=2)
    assert changed.sum() == 1
    assert changed[1, 2]


def test_times_that_do_not_ascend_are_a_tick_apart(tmp_path):
    ground = np.zeros((16, 16, 3), np.uint8)
    frames = (TimedFrame(ground, seconds) for seconds in (0, 0.04, 0.04, 0.02, 1))
    write_video(tmp_path / 'a.mp4', frames, fps=25)
    with av.open(str(tmp_path / 'a.mp4')) as container:
        times = [frame.pts * frame.time_base * TICKS for frame in container.decode(video=0)]
    assert times == [0, 3600, 3601, 3602, 90000]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('out.avi', 'annotate is .*out.avi; its name has to end in .mp4, .mkv, .mov'),
        ('video.mp4', 'the video itself; name another file'),
        ('there.mp4', 'there.mp4 is there already; --overwrite=1 replaces it'),
        ('there.mp4/out.mp4', 'there.mp4 is a file, and no folder for out.mp4'),
    ],
)
def test_an_output_that_cannot_be_written(annotated, make_video, tmp_path, name, message):
    source = tmp_path / 'video.mp4'
    source.write_bytes(make_video(40).read_bytes())
    (tmp_path / 'there.mp4').write_bytes(b'other')
    with pytest.raises(InputError, match=message):
        annotated(source, name)
    assert (tmp_path / 'there.mp4').read_bytes() == b'other'
    assert {path.name for path in tmp_path.iterdir()} == {'video.mp4', 'there.mp4'}
    assert len(pictures_of(annotated(source, 'there.mp4', overwrite=True))) == 40


def test_a_prediction_that_failed_or_has_no_maps(model, make_video, tmp_path):
    (tmp_path / 'bad.mp4').write_bytes(b'no video')
    bad, good = r2plus1d.predict(model, [tmp_path / 'bad.mp4', make_video(40)], clips=1)
    with pytest.raises(InputError, match='bad.mp4 has no prediction: not a video'):
        r2plus1d.annotate(model, bad, tmp_path / 'a.mp4')
    with pytest.raises(InputError, match=r'has no maps: predict\(maps=True\)'):
        r2plus1d.annotate(model, good, tmp_path / 'a.mp4', heatmap=True)
    (tmp_path / 'gone.mp4').write_bytes(make_video(40).read_bytes())
    (gone,) = r2plus1d.predict(model, tmp_path / 'gone.mp4', clips=1)
    (tmp_path / 'gone.mp4').write_bytes(b'no video')
    with pytest.raises(RecordError, match='not a video'):
        r2plus1d.annotate(model, gone, tmp_path / 'a.mp4')
    assert {path.name for path in tmp_path.iterdir()} == {'bad.mp4', 'gone.mp4'}


def test_where_annotated_videos_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    videos = [pathlib.Path(name) for name in ('a.mp4', 'b/a.avi', 'b.mkv')]
    paths = annotated_paths('out', videos)
    assert [str(path) for path in paths] == ['out/a.mp4', 'out/a_2.mp4', 'out/b.mp4']
    assert annotated_paths('x.MKV', videos[:1]) == [pathlib.Path('x.MKV')]
    with pytest.raises(InputError, match='one file, and there are 3 videos: name a folder'):
        annotated_paths('x.mp4', videos)
    pathlib.Path('a.avi').touch()
    pathlib.Path('a.mp4').touch()
    for video in ('a.avi', 'a.mp4'):  # another video, or its own
        with pytest.raises(InputError, match='a.mp4, the video itself'):
            annotated_paths('.', [pathlib.Path(video), pathlib.Path('a.mp4')], overwrite=True)


def test_without_matplotlib_it_says_so(monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'matplotlib.textpath', None)
    with pytest.raises(InputError, match='plots and captions need matplotlib'):
        lettering.require_matplotlib()
