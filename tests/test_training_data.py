"""What is trained on: every record once before any again, dealt to machines, from one seed."""

import numpy as np
import pytest

from r2plus1d.datasets.database import Database
from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.sources.sample import RecordNeeds, read_sample
from r2plus1d.sources.shuffled import TrainingData
from r2plus1d.video.clip import normalize
from r2plus1d.video.clip_settings import ClipSettings

SETTINGS = ClipSettings(
    length=8, decode_type='random', clips=1, random_crop=True, mirror=True, seed=4
)
NEEDS = RecordNeeds(num_labels=20)


@pytest.fixture
def database(make_video, make_database):
    return make_database([(make_video(12, seed=i).read_bytes(), i) for i in range(10)])


def open_data(database, **how):
    return TrainingData(database, SETTINGS, NEEDS, **{'batch_size': 3, **how})


def test_every_record_comes_once_before_any_again(database):
    with open_data(database) as data:
        order = [data.record_of(draw) for draw in range(30)]
    for epoch in range(3):
        assert sorted(order[epoch * 10 : epoch * 10 + 10]) == list(range(10))
    assert order[:10] != order[10:20]
    assert order[:10] != sorted(order[:10])


def test_batches_are_the_draws(database):
    with open_data(database) as data:
        batches = list(data.batches(0, 4))
        labels = [int(label) for batch in batches for label in batch.label]
        assert labels == [data.record_of(draw) for draw in range(12)]
    assert all(batch.data.shape == (3, 3, 8, 112, 112) for batch in batches)
    assert all(batch.failed == () for batch in batches)


def test_clips_follow_from_the_seed_not_from_threads_or_where_one_begins(database):
    with open_data(database, threads=1) as one, open_data(database, threads=3) as three:
        whole = list(one.batches(0, 5))
        rest = list(three.batches(2, 5))
    for a, b in zip(whole[2:], rest):
        np.testing.assert_array_equal(a.data, b.data)
        np.testing.assert_array_equal(a.label, b.label)
    first, again = (
        whole[0].data[0],
        [
            clip
            for batch in whole[3:]
            for clip, label in zip(batch.data, batch.label)
            if label == whole[0].label[0]
        ],
    )
    assert all(not np.array_equal(first, clip) for clip in again), 'the same clip every time'


def test_random_choices_follow_from_the_draw(database):
    with open_data(database) as data:
        (batch,) = data.batches(4, 5)
        draws = list(data.draws(4))  # later than the first ten
        for clip, draw in zip(batch.data, draws):
            index = data.record_of(draw)
            value = Database(database).get(str(index))
            alone = read_sample(index, str(index), value, data.settings, data.needs, draw=draw)
            assert alone.index == index != draw
            pixels = normalize(alone.clips.pixels, data.settings)
            np.testing.assert_array_equal(pixels[0], clip)


def test_machines_share_the_draws(database):
    shards = [open_data(database, shard=Shard(i, 2)) for i in range(2)]
    for iteration in range(4):
        first, second = (list(data.draws(iteration)) for data in shards)
        assert first + second == list(range(6 * iteration, 6 * iteration + 6))
    with pytest.raises(InputError, match='shard_id is 2; with 2 shards 0 to 1'):
        Shard(2, 2)


def test_a_record_that_fails_is_replaced_and_named(make_video, make_database):
    records = [(make_video(12).read_bytes(), i) for i in range(4)]
    records[2] = (b'\0bad', 2)
    with open_data(make_database(records), batch_size=4) as data:
        (batch,) = data.batches(0, 1)
        assert sorted(batch.label) == [0, 1, 3, 3]  # the next one takes its place
        assert [(sample.index, sample.key) for sample in batch.failed] == [(2, '2')]
    with (
        open_data(make_database([(b'\0bad', 1)] * 2, name='bad')) as data,
        pytest.raises(InputError, match='no record of .*bad can be used: not a video'),
    ):
        list(data.batches(0, 1))
