"""Values that the Python API cannot take are one line that names the setting."""

import pytest

import r2plus1d
from r2plus1d.devices import Devices
from r2plus1d.errors import InputError
from r2plus1d.model import Model
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.sources.stride import Stride, stride_of

NETWORK = Network('r2d', 10, clip_length=8, num_labels=3, width=0.0625)
MODEL = Model(NETWORK, Input(length=8), random_parameters(NETWORK, 0))


@pytest.fixture
def calls(make_video, make_database, tmp_path):
    """{name: function of keyword arguments} of what the API does with one video or record."""
    video, database = make_video(12), make_database([(make_video(12).read_bytes(), 1, 0)])
    return {
        'predict': lambda **given: r2plus1d.predict(MODEL, video, **given),
        'dense': lambda **given: r2plus1d.predict(MODEL, video, clips='dense', **given),
        'evaluate': lambda **given: r2plus1d.evaluate(MODEL, database, **given),
        'extract': lambda **given: r2plus1d.extract(MODEL, video, tmp_path / 'f.pkl', **given),
        'records': lambda **given: r2plus1d.extract(MODEL, database, tmp_path / 'f.pkl', **given),
    }


CLIPS = [
    ({'decode_type': 'foo'}, 'decode_type is foo; known: random, uniform, start, frame'),
    ({'crops': 0}, 'crops is 0; at least 1'),
    ({'crops': -1}, 'crops is -1; at least 1'),
    ({'clips': 0}, 'clips is 0; at least 1'),
    ({'clips': 2.0}, 'clips is 2.0; an integer is right'),
    ({'threads': -1}, 'threads is -1; at least 0'),
    ({'decode_threads': 0}, 'decode_threads is 0; at least 1'),
    ({'batch_size': 0}, 'batch_size is 0; at least 1'),
    ({'devices': 'cpu'}, "devices is 'cpu'; r2plus1d.Devices"),
    ({'budget': 9}, 'budget is 9; a video.budget.Budget is right'),
]
LIMITS = [({'limit': 0}, 'limit is 0; at least 1'), ({'limit': -1}, 'limit is -1; at least 1')]
CASES = [
    *[(name, *case) for name in ('predict', 'evaluate', 'extract') for case in CLIPS],
    *[(name, *case) for name in ('evaluate', 'extract') for case in LIMITS],
    ('dense', {'decode_type': 'uniform'}, 'decode_type is not for clips=dense'),
    (
        'dense',
        {'stride': 'often'},
        "stride is 'often'; frames, such as 8, or seconds",
    ),
    ('dense', {'stride': 4.5}, 'stride is 4.5; an integer is right'),
    ('extract', {'stride': 0}, 'stride is 0; at least 1'),
    ('extract', {'decode_type': 'uniform', 'clips': 10}, 'decode_type is uniform; videos give'),
    ('extract', {'clips': 2}, 'decode_type frame takes one clip a record'),
    ('extract', {'features': 'final_avg,label'}, 'features asks for label, and videos have none'),
    ('extract', {'use_local_file': True}, 'use_local_file is for databases'),
    ('records', {'stride': 8}, 'stride is for videos'),
    ('evaluate', {'display_iter': 0}, 'display_iter is 0; at least 1'),
    ('evaluate', {'aggregation': 'foo'}, 'aggregation is foo; known: mean, max'),
    ('evaluate', {'class_names': ['a']}, 'class_names has 1 names; num_labels is 3'),
    ('evaluate', {'class_names': {'a', 'b', 'c'}}, 'no list of texts and no file of them'),
    ('evaluate', {'class_names': 'abc'}, 'labels is abc, no file and none of kinetics400'),
    ('predict', {'top_k': 2.5}, 'top_k is 2.5; an integer is right'),
]


@pytest.mark.parametrize(('name', 'given', 'message'), CASES)
def test_a_value_that_cannot_be_is_one_line(calls, tmp_path, name, given, message):
    with pytest.raises(InputError) as raised:
        calls[name](**given)
    assert message in str(raised.value)
    assert '\n' not in str(raised.value)
    assert not (tmp_path / 'f.pkl').exists()


@pytest.mark.parametrize('videos', ['', [], ['']])
def test_no_path_is_not_the_current_folder(videos):
    with pytest.raises(InputError, match='no path is given'):
        r2plus1d.predict(MODEL, videos)


@pytest.mark.parametrize('videos', [None, [3]])
def test_what_is_no_path(videos):
    with pytest.raises(InputError, match='is no path, and no list of paths'):
        r2plus1d.predict(MODEL, videos)


def test_a_stride_is_what_the_tools_take(calls):
    assert stride_of(8) == stride_of('8') == Stride(8)
    assert stride_of('0.5s') == Stride(seconds=0.5)
    starts = [[clip.start_frame for clip in calls['dense'](stride=s)[0].clips] for s in (2, '2')]
    assert starts == [[0, 2, 4], [0, 2, 4]]


@pytest.mark.parametrize(
    'class_names', [range(3), [None] * 3, {'a', 'b', 'c'}, {'a': 1, 'b': 2, 'c': 3}, 3]
)
def test_class_names_are_texts_in_an_order(class_names, tmp_path):
    MODEL.save(tmp_path / 'w.pkl')
    with pytest.raises(InputError, match='no list of texts and no file'):
        r2plus1d.load(tmp_path / 'w.pkl', class_names=class_names)


def test_class_names_are_plain_and_found(tmp_path):
    MODEL.save(tmp_path / 'w.pkl')
    model = r2plus1d.load(tmp_path / 'w.pkl', class_names=(c for c in 'abc'))
    assert model.class_names == ('a', 'b', 'c')
    with pytest.raises(InputError, match='which is not plain text'):
        r2plus1d.load(tmp_path / 'w.pkl', class_names=['a', 'b\n', 'c'])
    with pytest.raises(InputError, match='ucf10, no file and none of kinetics400, hmdb51'):
        r2plus1d.load(tmp_path / 'w.pkl', class_names='ucf10')


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (('tpu',), 'kind of devices is tpu; known: cpu, gpu'),
        (('gpu', 0), r'ids of devices are 0; a tuple of different numbers from 0, such as \('),
        (('gpu', ()), r'ids of devices are \(\); a tuple'),
        (('gpu', (0, 0)), r'ids of devices are \(0, 0\); a tuple of different'),
        (('gpu', (-1,)), r'ids of devices are \(-1,\); a tuple'),
        (('cpu', ('0',)), r"ids of devices are \('0',\); a tuple"),
    ],
)
def test_devices_that_cannot_be(given, message):
    with pytest.raises(InputError, match=message):
        Devices(*given)


def test_threads_and_budgets_do_not_keep_an_output_from_being_the_same(calls):
    from r2plus1d.video.budget import Budget

    first = calls['extract'](engine='auto')
    again = calls['extract'](threads=1, budget=Budget(seconds=999))
    assert first == again
