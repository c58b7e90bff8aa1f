"""Every record once, in order, as clips or as a failure that says why."""

import threading
import time

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.sources import database_source as reader_module
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds, label_rows
from r2plus1d.sources.whole_videos import WholeVideos
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.read_clips import read_clips

SETTINGS = ClipSettings(length=8, clips=2)
NEEDS = RecordNeeds(num_labels=10)


def read(database, needs=NEEDS, settings=SETTINGS, **options):
    with DatabaseSource(database, settings, needs, **options) as reader:
        return list(reader)


@pytest.mark.parametrize('threads', [1, 3])
@pytest.mark.parametrize('records', [1, 2, 11])
def test_every_record_once_in_the_order_of_keys(make_video, make_database, threads, records):
    videos = [make_video(20 + i % 3).read_bytes() for i in range(records)]
    database = make_database([(video, i % 10, None, 100 + i) for i, video in enumerate(videos)])
    samples = read(database, threads=threads, ahead=2)
    assert [sample.index for sample in samples] == list(range(records))
    assert [sample.video_id for sample in samples] == [100 + i for i in range(records)]
    assert all(sample.clips.pixels.shape == (2, 3, 8, 112, 112) for sample in samples)


def test_random_clips_do_not_depend_on_threads(make_video, make_database):
    database = make_database([(make_video(40).read_bytes(), 0)] * 6)
    settings = ClipSettings(length=8, decode_type='random', random_crop=True, mirror=True, seed=3)
    one, four = (read(database, settings=settings, threads=n) for n in (1, 4))
    for a, b in zip(one, four):
        np.testing.assert_array_equal(a.clips.pixels, b.clips.pixels)
    assert len({sample.clips.pixels.tobytes() for sample in one}) == 6


def test_what_is_wrong_with_a_record_is_its_failure(make_video, make_database, audio_only):
    good = make_video(40).read_bytes()
    truncated = make_video(40, movflags='faststart').read_bytes()[:-3000]
    expected = [
        ((good, 1), None),
        ((b'\0not a video', 1), 'not a video, or truncated (12 bytes'),
        ((truncated, 1), 'truncated: the file ends after'),
        ((make_video(5).read_bytes(), 1), 'too few frames: 5, and the clips need 8'),
        ((audio_only, 1), 'no video stream'),
        ((good, 10), 'label 10 is out of range: 0 to 9'),
        ((good, -1), 'label -1 is out of range'),
        ((good, (1, 2)), '2 labels; --multi_label=1 takes several'),
        ((b'some/path.mp4', 1), '--use_local_file=1'),
        ((good, 1), None),
    ]
    samples = read(make_database([record for record, _ in expected]))
    assert len(samples) == len(expected)
    for sample, (_, reason) in zip(samples, expected):
        if reason is None:
            assert sample.failure is None
            assert sample.clips is not None
        else:
            assert reason in sample.failure
            assert sample.clips is None


def test_failures_of_a_database_of_paths(make_video, make_database, tmp_path):
    good = make_video(40)
    text = tmp_path / 'text.mp4'
    text.write_text('text')
    content = good.read_bytes()
    database = make_database([(good, 1), (tmp_path / 'gone.mp4', 1), (text, 1), (content, 1)])
    samples = read(database, RecordNeeds(10, use_local_file=True))
    assert samples[0].failure is None
    assert samples[0].path == str(good)
    assert samples[1].failure == 'missing file'
    assert 'gone.mp4' in samples[1].name
    assert 'not a video' in samples[2].failure
    assert samples[3].failure == 'holds a video, not the path of one, which use_local_file is for'


def test_a_database_of_the_other_kind_is_refused(make_video, make_database):
    paths = make_database([(make_video(40), 1)], name='paths')
    videos = make_database([(make_video(40).read_bytes(), 1)], name='videos')
    with pytest.raises(InputError, match='paths holds paths of videos.*--use_local_file=1'):
        read(paths)
    with pytest.raises(InputError, match='videos holds videos, not paths.*leave out'):
        read(videos, RecordNeeds(10, use_local_file=True))


def test_a_needed_video_id_and_start_frame(make_video, make_database):
    database = make_database([(make_video(40).read_bytes(), 1)])
    assert 'no video id' in read(database, RecordNeeds(10, video_id=True))[0].failure
    settings = ClipSettings(length=8, decode_type='start')
    assert 'no start frame' in read(database, settings=settings)[0].failure


def test_labels_are_not_checked_without_their_number(make_video, make_database):
    database = make_database([(make_video(40).read_bytes(), 399)])
    assert read(database, RecordNeeds(None))[0].labels == (399,)


def test_limit(make_video, make_database):
    database = make_database([(make_video(20).read_bytes(), 0)] * 5)
    assert len(read(database, limit=3)) == 3
    assert len(read(database, limit=9)) == 5


def test_going_on_after_the_first_records(make_video, make_database):
    database = make_database([(make_video(20).read_bytes(), i) for i in range(5)])
    for options in ({}, {'limit': 4}, {'spread': 3}):
        with DatabaseSource(database, SETTINGS, NEEDS, **options) as source:
            whole = [sample.index for sample in source.samples()]
            assert len(source) == len(whole)
            for first in range(len(whole) + 1):
                rest = source.samples(first, threads=2, batch=3)
                assert [sample.index for sample in rest] == whole[first:]


@pytest.mark.parametrize(
    ('spread', 'expected'), [(1, [0]), (3, [0, 3, 6]), (10, list(range(10))), (11, list(range(10)))]
)
def test_records_in_equal_distances(make_video, make_database, spread, expected):
    database = make_database([(make_video(20).read_bytes(), i, None, i) for i in range(10)])
    samples = read(database, spread=spread)
    assert [sample.index for sample in samples] == expected
    assert [sample.video_id for sample in samples] == expected
    assert [sample.failure for sample in samples] == [None] * len(expected)


def test_no_more_than_the_bound_is_ahead(make_video, make_database, monkeypatch):
    started, lock = [], threading.Lock()
    original = reader_module.read_sample

    def counting(*args, **how):
        with lock:
            started.append(args[0])
        return original(*args, **how)

    monkeypatch.setattr(reader_module, 'read_sample', counting)
    database = make_database([(make_video(20).read_bytes(), 0)] * 30)
    with DatabaseSource(database, SETTINGS, NEEDS, threads=2, ahead=3) as reader:
        for consumed, _ in enumerate(reader, 1):
            time.sleep(0.02)  # slower than decoding: readers that may run ahead do
            assert len(started) <= consumed + 2 + 3
    assert len(started) == 30


def test_leaving_early_stops_the_threads(make_video, make_database):
    database = make_database([(make_video(20).read_bytes(), 0)] * 30)
    before = threading.active_count()
    with DatabaseSource(database, SETTINGS, NEEDS, threads=3) as reader:
        for _ in reader:
            break
    assert threading.active_count() == before


def test_labels_are_repeated_for_each_row(make_video, make_database):
    video = make_video(20).read_bytes()
    samples = read(make_database([(video, 3), (video, 5)]))
    assert label_rows(samples, 2, NEEDS).tolist() == [3, 3, 5, 5]
    needs = RecordNeeds(4, multi_label=True)
    samples = read(make_database([(video, (0, 2)), (video, 3)], name='several'), needs)
    several, one = [1, 0, 1, 0], [0, 0, 0, 1]
    assert label_rows(samples, 1, needs).tolist() == [several, one]
    assert label_rows(samples, 2, needs).tolist() == [several, several, one, one]


def test_whole_videos_are_samples_in_the_order_of_their_paths(make_video):
    videos = [make_video(40), make_video(5), make_video(41), make_video(40)]
    settings = ClipSettings(length=8, decode_type='random', seed=3)
    source = WholeVideos(videos, settings, threads=2, ahead=1)
    samples = list(source)
    assert len(source) == 4
    assert [(s.index, s.key, s.path) for s in samples] == [
        (i, str(i), str(path)) for i, path in enumerate(videos)
    ]
    assert [s.failure for s in samples] == [
        None, 'too few frames: 5, and the clips need 8', None, None,
    ]  # fmt: skip
    for sample in (samples[0], samples[2], samples[3]):
        alone = read_clips(sample.path, settings, draw=sample.index)
        np.testing.assert_array_equal(sample.clips.pixels, alone.pixels)
    assert samples[0].clips.starts.tolist() != samples[3].clips.starts.tolist()
    with pytest.raises(InputError, match='decode_type is start; files have no start frames'):
        WholeVideos(videos, ClipSettings(length=8, decode_type='start'))
