"""Records in an order in which those of one video follow each other, and each one once."""

import pathlib
import random
import shutil
import types

import lmdb
import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.sources import grouped
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.file_source import Stride, VideoFiles
from r2plus1d.sources.file_state import look_at
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.clip import Work
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.read_clips import read_clips

START = ClipSettings(length=8, decode_type='start')
PATHS = RecordNeeds(num_labels=None, use_local_file=True)
START_BY_COUNT = ClipSettings(length=8, decode_type='frame')
INSIDE = RecordNeeds(num_labels=None)


@pytest.fixture
def clips(make_video):
    """30 clips of three videos, shuffled: (path, label, start frame, video id)."""
    videos = [make_video(40), make_video(33, 'mkv', seed=1), make_video(36, 'avi', seed=2)]
    made = [(videos[i % 3], i % 5, 7 * i % 25, i % 3) for i in range(30)]
    random.Random(0).shuffle(made)
    return made


def read(database, settings=START, needs=PATHS, *, limit=None, **options):
    with DatabaseSource(database, settings, needs, limit=limit, by_video=True) as reader:
        samples = list(reader.samples(**options))
        assert len(reader) == len(samples) + options.get('first', 0)
    return samples


@pytest.mark.parametrize('inside', [False, True])
def test_each_record_once_by_video_and_start(clips, make_database, inside):
    stored = [(c[0].read_bytes(), *c[1:]) for c in clips] if inside else clips
    samples = read(make_database(stored), needs=INSIDE if inside else PATHS)
    assert sorted(sample.index for sample in samples) == list(range(30))
    videos = list(dict.fromkeys(clip[3] for clip in clips))  # as they are first met
    order = [(videos.index(s.video_id), s.start_frame) for s in samples]
    assert order == sorted(order)
    for sample in samples:
        path, label, start, video_id = clips[sample.index]
        assert (sample.key, sample.labels) == (f'{sample.index:02}', (label,))
        assert (sample.start_frame, sample.video_id) == (start, video_id)
        assert sample.path == (None if inside else str(path))
        alone = read_clips(path, START, start_frame=start)
        np.testing.assert_array_equal(sample.clips.pixels, alone.pixels)
    assert sum((s.clips.work for s in samples), Work()).decoded <= 40 + 33 + 36


@pytest.mark.parametrize('options', [{'threads': 1}, {'threads': 7, 'batch': 9}, {'batch': 100}])
def test_the_order_is_always_the_same(clips, make_database, options):
    database = make_database(clips)
    expected = [sample.index for sample in read(database)]
    assert [sample.index for sample in read(database, **options)] == expected
    for first in (1, 11, 29, 30):
        rest = read(database, first=first, **options)
        assert [sample.index for sample in rest] == expected[first:]
        for sample in rest:
            alone = read_clips(sample.path, START, start_frame=sample.start_frame)
            np.testing.assert_array_equal(sample.clips.pixels, alone.pixels)


def test_failures_stay_beside_their_own_record(clips, make_database, tmp_path):
    bad = {
        0: (*clips[0][:2], None, 5),
        3: (tmp_path / 'none.mp4', 0, 2, 9),
        8: (*clips[8][:2], 90, 5),
        9: (*clips[9][:2], None, 5),
    }
    mixed = [bad.get(index, clip) for index, clip in enumerate(clips)]
    samples = sorted(read(make_database(mixed)), key=lambda sample: sample.index)
    failures = {s.index: s.failure.split(':')[0] for s in samples if s.failure}
    assert failures == {
        0: 'no start frame, which decode_type start needs',
        3: 'missing file',
        8: 'too few frames',
        9: 'no start frame, which decode_type start needs',
    }
    for sample in samples:
        if sample.failure is None:
            path, _, start, _ = mixed[sample.index]
            alone = read_clips(path, START, start_frame=start)
            np.testing.assert_array_equal(sample.clips.pixels, alone.pixels)


def test_a_record_that_is_none_is_one_failure(clips, make_database):
    database = make_database(clips)
    with lmdb.open(str(database)) as environment, environment.begin(write=True) as transaction:
        transaction.put(b'04', b'no record')
        transaction.put(b'17', b'\x0a')
    samples = read(database)
    assert {s.index for s in samples if s.failure} == {4, 17}
    assert len(samples) == 30


def test_uniform_clips_come_in_the_order_of_the_database(clips, make_database):
    settings = ClipSettings(length=8, clips=2)
    samples = read(make_database(clips), settings)
    assert [sample.index for sample in samples] == list(range(30))
    assert all(sample.clips.pixels.shape == (2, 3, 8, 112, 112) for sample in samples)


def test_a_limit_takes_the_first_records(clips, make_database):
    samples = read(make_database(clips), limit=7)
    assert sorted(sample.index for sample in samples) == list(range(7))
    assert len(read(make_database(clips, 'again'), limit=99)) == 30


def identity(database, settings=START, needs=PATHS, limit=None):
    with DatabaseSource(database, settings, needs, limit=limit, by_video=True) as reader:
        return reader.identity


def test_what_the_identity_tells(clips, make_database):
    first = make_database(clips, 'a')
    assert identity(first) == identity(make_database(clips, 'same'))
    changed = {
        'order': clips[1:] + clips[:1],
        'label': [(*clips[0][:1], 9, *clips[0][2:]), *clips[1:]],
        'start': [(*clips[0][:2], 3, 0), *clips[1:]],
        'fewer': clips[:-1],
    }
    known = {identity(make_database(records, name)) for name, records in changed.items()}
    known |= {identity(first), identity(first, limit=5)}
    assert len(known) == 6


def test_the_identity_of_the_videos_that_paths_lead_to(make_video, make_database, tmp_path):
    video = tmp_path / 'video.mp4'
    shutil.copy(make_video(30), video)
    database = make_database([(video, 0, start, 1) for start in (0, 8)])
    before = identity(database)
    assert identity(database) == before
    shutil.copy(make_video(40), video)
    assert identity(database) != before
    video.unlink()
    assert identity(database) != before


def test_the_identity_of_videos_in_a_database(make_video, make_database):
    uniform = ClipSettings(length=8)
    one, two = (
        make_database([(make_video(20, seed=seed).read_bytes(), 0)], str(seed)) for seed in (0, 1)
    )
    assert identity(one, uniform, INSIDE) == identity(one, uniform, INSIDE)
    assert identity(one, uniform, INSIDE) != identity(two, uniform, INSIDE)


@pytest.mark.parametrize(
    ('record', 'needs', 'message'),
    [
        ((b'/x.mp4', 0, 1), INSIDE, 'holds paths of videos, not videos: add --use_local_file=1'),
        ((b'\0\1', 0, 1), PATHS, 'holds videos, not paths of videos: leave out'),
        ((b'/x.mp4', 0), PATHS, 'has no start frames; --decode_type=1 takes clips'),
    ],
)
def test_databases_that_do_not_fit(make_database, record, needs, message):
    with pytest.raises(InputError, match=message):
        DatabaseSource(make_database([record]), START, needs, by_video=True)


def test_clips_that_wait_are_bounded(clips, make_database, monkeypatch):
    """Of a video with many clips no more are made than there is room for."""
    made = []
    with_clips = grouped.with_clips

    def watch(sample, its_clips):
        made.append(sample.index)
        return with_clips(sample, its_clips)

    monkeypatch.setattr(grouped, 'with_clips', watch)
    monkeypatch.setattr(grouped, 'READY_BYTES', 1)
    with DatabaseSource(make_database(clips), START, PATHS, by_video=True) as reader:
        samples = reader.samples(threads=2, batch=8)
        next(samples)
        threads_hold = 2 * (1 + 1)  # one in the queue and one in the hand of each
        assert len(made) <= 1 + threads_hold
        samples.close()


def test_video_files_are_the_same_clips(make_video):
    settings = ClipSettings(length=8, decode_type='frame')
    path = make_video(30)
    source = VideoFiles([path], settings, Stride(5))
    for sample in source.samples():
        alone = read_clips(path, settings, start_frame=sample.start_frame)
        np.testing.assert_array_equal(sample.clips.pixels, alone.pixels)
        np.testing.assert_array_equal(sample.clips.seconds, alone.seconds)


@pytest.mark.parametrize('damage', ['cut', 'exchanged'])
def test_a_damaged_listing_of_files_is_made_anew(make_video, tmp_path, damage):
    paths, kept = [make_video(20 + 4 * n, seed=n) for n in range(3)], tmp_path / 'seen.jsonl'

    def listed():
        return VideoFiles(paths, START_BY_COUNT, Stride(frames=4), kept=kept)

    whole, text = len(listed()), kept.read_text()
    first, *lines = text.splitlines(keepends=True)
    lines = lines[:-1] if damage == 'cut' else [*lines[1:], lines[0]]
    kept.write_text(''.join([first, *lines]))
    assert len(listed()) == whole
    assert kept.read_text() == text


def test_a_file_of_a_time_beyond_64_bits(tmp_path, monkeypatch):
    path = tmp_path / 'video.mp4'
    path.touch()
    real = pathlib.Path.stat

    def late(self, **options):
        found = real(self, **options)
        late = types.SimpleNamespace(st_size=found.st_size, st_mtime_ns=2**64)
        return late if self == path else found

    monkeypatch.setattr(pathlib.Path, 'stat', late)
    state = look_at(path)
    assert state.time == 2**63 - 1
    assert str(state).startswith('0 bytes of 2262-')
