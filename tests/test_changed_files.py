"""Files that change between listing and reading, or were cut short and are used nevertheless."""

import dataclasses
import os

import numpy as np
import pytest

from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.file_source import Stride, VideoFiles
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.sources.whole_videos import WholeVideos
from r2plus1d.video.clip_settings import ClipSettings

COUNTED = ClipSettings(length=8, decode_type='frame')
START = ClipSettings(length=8, decode_type='start')
UNIFORM = ClipSettings(length=8, clips=2)
PATHS = RecordNeeds(num_labels=None, use_local_file=True)


@pytest.fixture
def files(make_video, tmp_path):
    """Two copies of videos, which a test may change."""
    paths = [tmp_path / name for name in ('a.mp4', 'b.mp4')]
    for path, seed in zip(paths, (1, 2)):
        path.write_bytes(make_video(20, seed=seed).read_bytes())
    return paths


def grow(path):
    with path.open('ab') as file:
        file.write(b'more')


def touch(path):
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


CHANGES = {'size': grow, 'time': touch, 'removed': os.remove}


def failures(samples):
    return [sample.failure for sample in samples]


@pytest.mark.parametrize('change', CHANGES)
def test_every_source_names_a_file_that_changed(files, make_database, change):
    database = make_database([(path, 0, 3) for path in files])
    with (
        DatabaseSource(database, START, PATHS, by_video=True) as by_video,
        DatabaseSource(database, UNIFORM, PATHS) as in_order,
    ):
        assert in_order.identity
        sources = (
            VideoFiles(files, COUNTED, Stride(20)).samples(),
            WholeVideos(files, UNIFORM),
            by_video.samples(),
            in_order.samples(),
        )
        CHANGES[change](files[1])
        for source in sources:
            first, second = failures(source)
            assert first is None
            assert second.startswith('changed since it was listed: it was ')


def test_a_file_that_changed_without_a_list_is_read(files, make_database):
    database = make_database([(path, 0) for path in files])
    with DatabaseSource(database, UNIFORM, PATHS) as source:
        touch(files[1])
        assert failures(source) == [None, None]


def test_what_is_said_of_a_file(files):
    source = VideoFiles(files[:1], COUNTED, Stride(20))
    size = files[0].stat().st_size
    grow(files[0])
    (failure,) = failures(source.samples())
    assert f'it was {size} bytes of ' in failure
    assert f'and is {size + 4} bytes of ' in failure


@pytest.fixture
def cut(make_video, tmp_path):
    """A video of 40 frames that ends after some of them."""
    content = make_video(40, 'avi').read_bytes()
    path = tmp_path / 'cut.avi'
    path.write_bytes(content[: 6 * len(content) // 10])
    return path


def used(kind):
    return dataclasses.replace(kind, use_truncated=True)


def test_a_truncated_file_is_used_and_named(cut, make_database, caplog):
    database = make_database([(cut, 0)])
    with DatabaseSource(database, UNIFORM, PATHS) as source:
        (failure,) = failures(source)
    assert failure.startswith('truncated: ')
    with DatabaseSource(database, used(UNIFORM), PATHS) as source:
        (sample,) = source
    assert sample.failure is None
    assert 0 < sample.clips.starts[-1] < 32
    (message,) = (m for m in caplog.messages if 'what is there' in m)
    assert message == f'record 0 ({cut}): {failure}; clips are of what is there'


def test_a_truncated_file_of_many_clips_is_named_once(cut, caplog):
    (refused,) = VideoFiles([cut], COUNTED, Stride(4)).samples()
    assert refused.failure.startswith('truncated: ')
    samples = list(VideoFiles([cut], used(COUNTED), Stride(4)).samples())
    assert len(samples) >= 2
    assert failures(samples) == [None] * len(samples)
    assert sum('what is there' in message for message in caplog.messages) == 1


def test_whole_videos_warn_too(cut, caplog):
    (sample,) = WholeVideos([cut], used(UNIFORM))
    assert sample.failure is None
    assert sum('what is there' in message for message in caplog.messages) == 1


def test_a_whole_file_is_the_same_either_way(files, caplog):
    (first,), (second,) = (WholeVideos(files[:1], kind) for kind in (UNIFORM, used(UNIFORM)))
    np.testing.assert_array_equal(first.clips.pixels, second.clips.pixels)
    assert caplog.messages == []
