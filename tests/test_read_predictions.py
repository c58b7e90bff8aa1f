"""CSVs of predictions, read back; what is none is refused in one line."""

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.evaluation.evaluate import EvaluationSettings
from r2plus1d.evaluation.outcomes import Outcome, outcomes_of
from r2plus1d.evaluation.predictions import VideoScores, write_predictions
from r2plus1d.evaluation.read_predictions import Predictions, read_failures
from r2plus1d.results.failures import FailureList
from r2plus1d.results.hold import HeldError, holding
from r2plus1d.sources.sample import Sample

HEADER = 'key,video,label,top1,probability1,top2,probability2,clips_right,clips'


def write(folder, *rows, header=HEADER, name='p.csv'):
    path = folder / name
    path.write_bytes('\n'.join([header, *rows, '']).encode('utf-8', 'surrogateescape'))
    return path


def test_numbers_and_names(tmp_path):
    path = write(tmp_path, '00,a.mp4,2,1,0.5,2,0.25,3,10', '01,b.mp4,0,0,0.9,2,0.05,10,10')
    found = Predictions(path)
    assert (len(found), found.num_labels, found.class_names, found.top_k) == (2, 3, None, 2)
    assert list(found) == [
        Outcome('00', 'a.mp4', 2, (1, 2), (0.5, 0.25), 3, 10),
        Outcome('01', 'b.mp4', 0, (0, 2), (0.9, 0.05), 10, 10),
    ]
    assert Predictions(path, 'abcd').num_labels == 4
    named = write(tmp_path, '00,,c,b,0.5,c,0.25,3,10', '01,,a,a,0.9,c,0.05,10,10')
    for names, expected in ((None, 'abc'), ('xcba', 'xcba')):
        found = Predictions(named, names)
        assert found.class_names == tuple(expected)
        assert [expected[o.label] for o in found] == ['c', 'a']
        assert [[expected[c] for c in o.ranking] for o in found] == [['b', 'c'], ['a', 'c']]


@pytest.mark.parametrize('names', [None, ['x', 'y, "z"', '<b>', 'w']])
def test_what_dense_prediction_writes_is_read_back(tmp_path, names):
    rng = np.random.default_rng(0)
    counts = {'clips_right': np.arange(9), 'clips': np.full(9, 12)}
    videos = VideoScores(
        np.arange(9) - 4, rng.integers(0, 4, 9), rng.random((9, 4)), np.full(9, 12.0), counts
    )
    write_predictions(tmp_path / 'p.csv', videos, top_k=5, class_names=names)
    assert list(Predictions(tmp_path / 'p.csv', names)) == list(outcomes_of(videos))
    before = (tmp_path / 'p.csv').read_bytes()
    with pytest.raises(InputError, match="'x' is that of classes 0 and 3"):
        write_predictions(tmp_path / 'p.csv', videos, top_k=5, class_names=['x', 'y', 'z', 'x'])
    with holding(tmp_path / 'p.csv'), pytest.raises(HeldError, match='is being written by'):
        write_predictions(tmp_path / 'p.csv', videos, top_k=5)
    assert (tmp_path / 'p.csv').read_bytes() == before


def test_what_fusion_writes_has_no_counts_of_clips(tmp_path):
    path = write(
        tmp_path, '7,1,1,0.5,10,20', header='video_id,label,top1,probability1,clips1,clips2'
    )
    assert list(Predictions(path)) == [Outcome('', '7', 1, (1,), (0.5,), None, None)]


@pytest.mark.parametrize(
    ('rows', 'has_keys', 'has_videos'),
    [
        (['0,a,0,0,1,1,0,1,1', '1,b,0,0,1,1,0,1,1'], True, True),
        (['0,a,0,0,1,1,0,1,1', '1,a,0,0,1,1,0,1,1'], True, False),
        (['0,a,0,0,1,1,0,1,1', '1,,0,0,1,1,0,1,1'], True, False),
        (['0,a,0,0,1,1,0,1,1', '0,b,0,0,1,1,0,1,1'], False, True),
        ([',a,0,0,1,1,0,1,1', ',b,0,0,1,1,0,1,1'], False, True),
    ],
)
def test_whether_each_row_has_a_name_of_its_own(tmp_path, rows, has_keys, has_videos):
    found = Predictions(write(tmp_path, *rows))
    assert (found.has_keys, found.has_videos) == (has_keys, has_videos)


def test_paths_of_any_bytes_are_kept(tmp_path):
    path = write(tmp_path, '0,caf\udce9.mp4,0,0,1,1,0,1,1')
    assert next(iter(Predictions(path))).video == 'caf\udce9.mp4'


@pytest.mark.parametrize(
    ('rows', 'header', 'names', 'message'),
    [
        ([], HEADER, None, 'has no predictions'),
        (['0,1'], 'a,b', None, "is not the predictions that .* its header is 'a,b'"),
        ([], '', None, 'is not the predictions'),
        (['0,a,1'], 'key,video,label', None, 'is not the predictions'),
        (['0,1,1'], 'label,top1,probability1', None, 'is not the predictions'),
        (['0,1,1,1'], 'video,label,top1,top1', None, 'is not the predictions'),
        (['0,a,0,0,1'], HEADER, None, 'line 2 has 5 cells, its header 9'),
        (['0,a,0,0,x,1,0,1,1'], HEADER, None, 'line 2: a probability or count is none'),
        (['0,a,0,0,1,1,0,1,y'], HEADER, None, 'line 2: a probability or count is none'),
        (['0,a,0,0,nan,1,0,1,1'], HEADER, None, 'line 2: a probability or count is none'),
        (['0,a,0,0,1,1,0,-1,1'], HEADER, None, 'line 2: a probability or count is none'),
        (['0,a,0,0,1,1,0,2,1'], HEADER, None, 'line 2: a probability or count is none'),
        (['0,a,0,0,1,1,0,1,1', '1,b,3 7,0,1,1,0,1,1'], HEADER, None, "line 3: label '3 7'; videos"),
        (['0,a,,0,1,1,0,1,1'], HEADER, None, 'line 2: a class is empty'),
        ([f'0,a,{"9" * 5000},0,1,1,0,1,1'], HEADER, None, 'class 9{20} is out of range'),
        ([], 'x' * 200_000, None, 'line 1: field larger than field limit'),
        (['0,a,"0,0,1,1,0,1,1'], HEADER, None, 'line 2: unexpected end of data'),
        (['0,a,0,0,1,1,0,1,1', '1,b,0,9,1,1,0,1,1'], HEADER, 'abc', 'line 3: class 9 is out of'),
        (['0,a,0,999999,1,1,0,1,1'], HEADER, None, 'class 999999 is out of range: 0 to 131071'),
        (['0,a,x,a,1,b,0,1,1'], HEADER, 'ab', "line 2: 'x' is none of the class names"),
        (['0,a,2,1,1,2,0,1,1'], HEADER, '123', 'whether 1 is the name or the number of a class'),
    ],
)
def test_what_is_no_csv_of_predictions(tmp_path, rows, header, names, message):
    path = write(tmp_path, *rows, header=header)
    with pytest.raises(InputError, match=message) as error:
        list(Predictions(path, names))
    assert str(path) in str(error.value)


def test_names_that_two_classes_share_tell_nothing(tmp_path):
    path = write(tmp_path, '0,a,x,x,1,y,0,1,1')
    with pytest.raises(InputError, match="'x' is that of classes 0 and 2, whose predictions"):
        Predictions(path, ['x', 'y', 'x'])
    with pytest.raises(InputError, match="'x' is that of classes 0 and 2"):
        EvaluationSettings(output=tmp_path / 'o.csv', class_names=['x', 'y', 'x'])


def test_a_csv_that_is_replaced_meanwhile(tmp_path):
    found = Predictions(write(tmp_path, '0,a,0,0,1,1,0,1,1'))
    write(tmp_path, '0,a,5,0,1,1,0,1,1')
    with pytest.raises(InputError, match='was changed while it was read'):
        list(found)


def test_failures_are_read_back(tmp_path):
    with FailureList(tmp_path / 'f.csv') as failures:
        failures.add(Sample(3, '03', 'a, b.mp4', failure='no "video" data'))
        failures.add(Sample(4, '04', None, (), 7, failure='truncated'))
        failures.add(Sample(5, '05', failure='no label'))
    assert list(read_failures(tmp_path / 'f.csv')) == [
        ('record 03 (a, b.mp4)', 'no "video" data'),
        ('record 04 (video 7)', 'truncated'),
        ('record 05', 'no label'),
    ]
    with pytest.raises(InputError, match='p.csv is no list of failures: record,path,video_id,r'):
        list(read_failures(write(tmp_path, header='a,b,c,d')))
