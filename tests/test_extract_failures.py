"""tools/extract_features.py: records that cannot be used, and requests that cannot be met."""

import pickle
import re

import numpy as np
import pytest

from extraction import FLAGS, TOOL, by_hand, load_folder, rows_of, run_here, save_weights
from r2plus1d.features import extract as feature_extraction

FEATURES = '--features=softmax,label,video_id,start_frame'
GOOD = [0, 4, 6, 9, 11]


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp('model'))


@pytest.fixture
def records(make_video, tmp_path):
    """Twelve clips of three good videos and three bad ones, in between each other."""
    one, two, short = make_video(30), make_video(30, 'avi', seed=1), make_video(6)
    (tmp_path / 'text.mp4').write_text('no video')
    return [
        (one, 0, 9, 50),
        (tmp_path / 'none.mp4', 1, 0, 51),
        (short, 1, 0, 52),
        (one, 0, 23, 50),
        (two, 2, 4, 53),
        (tmp_path / 'none.mp4', 1, 3, 51),
        (one, 5, 0, 50),
        (two, 8, 0, 53),
        (one, 0, None, 50),
        (two, 2, 0, 53),
        (tmp_path / 'text.mp4', 1, 0, 54),
        (one, 7, 22, 50),
    ]


REASONS = {
    1: 'missing file',
    2: 'too few frames: 6 from frame 0 on, and the clip needs 8',
    3: 'too few frames: 7 from frame 23 on, and the clip needs 8',
    5: 'missing file',
    7: 'label 8 is out of range: 0 to 7',
    8: 'no start frame, which decode_type start needs',
    10: 'not a video, or truncated (8 bytes',
}


@pytest.fixture
def extract(make_database, records, model, tmp_path):
    database = make_database(records)

    def run(*arguments, name='f.pkl'):
        place = [f'--test_data={database}', f'--output_path={tmp_path / name}', model]
        return run_here(*place, *FLAGS, '--use_local_file=1', FEATURES, *arguments)

    return run


def pickle_of(folder):
    return (folder / 'f.pkl').read_bytes()


def test_what_fails_is_listed_and_has_no_row(extract, records, tmp_path):
    result = extract('--sanity_check=1', '--batch_size=2')
    assert result.returncode == 3
    assert result.stdout.startswith('records: 12, extracted: 5, failed: 7\n')
    assert f'7 failed, listed in {tmp_path / "f.failures.csv"}' in result.stderr
    failures = rows_of(tmp_path / 'f.failures.csv')
    assert [int(row['record']) for row in failures] == list(REASONS)
    for row, reason in zip(failures, REASONS.values()):
        assert row['reason'].startswith(reason)
        assert row['path'] == str(records[int(row['record'])][0])
        assert int(row['video_id']) == records[int(row['record'])][3]
        assert f'record {row["record"]} ({row["path"]}) failed: {reason}' in result.stderr
    good = [records[i] for i in GOOD]
    found = pickle.loads(pickle_of(tmp_path))
    assert found['label'].tolist() == [label for _, label, _, _ in good]
    assert found['video_id'].tolist() == [video_id for *_, video_id in good]
    assert found['start_frame'].tolist() == [start for _, _, start, _ in good]
    expected = by_hand([(path, 0, start) for path, _, start, _ in good], ['softmax'])
    np.testing.assert_array_equal(found['softmax'], expected['softmax'])
    rows = rows_of(tmp_path / 'f.rows.csv')
    assert [(int(row['row']), int(row['record'])) for row in rows] == list(enumerate(GOOD))
    assert [row['file'] for row in rows] == [str(path) for path, *_ in good]


def test_nan_is_no_feature(extract, monkeypatch, tmp_path):
    assert extract('--sanity_check=1', name='all.pkl').returncode == 3
    rows = pickle.loads((tmp_path / 'all.pkl').read_bytes())['softmax']
    plain, done = feature_extraction.run_each, []

    def poisoned(*args):
        for outputs in plain(*args):
            if outputs and len(outputs['softmax']) == 2 and not done:
                done.append(outputs['softmax'].copy())
                outputs['softmax'][1, 3] = np.nan
            yield outputs

    monkeypatch.setattr(feature_extraction, 'run_each', poisoned)
    result = extract('--sanity_check=1', '--batch_size=4')
    assert result.stdout.startswith('records: 12, extracted: 4, failed: 8\n')
    assert 'softmax of the network has NaN or infinite numbers' in result.stderr
    (lost,) = [k for k, row in enumerate(rows) if (row == done[0][1]).all()]
    found = pickle.loads(pickle_of(tmp_path))
    np.testing.assert_array_equal(found['softmax'], np.delete(rows, lost, 0))
    listed = [int(row['record']) for row in rows_of(tmp_path / 'f.rows.csv')]
    assert listed == GOOD[:lost] + GOOD[lost + 1 :]


def test_a_log_names_the_first_failures(extract, monkeypatch):
    monkeypatch.setattr(feature_extraction, 'LOGGED_FAILURES', 2)
    lines = [line for line in extract().stderr.splitlines() if 'fail' in line]
    assert all(line.startswith('record ') for line in lines[:2])
    assert lines[2] == 'more records fail; they will be listed with the reasons'
    assert len(lines) == 4  # the last one counts them


def test_folders_have_the_same_rows(extract, tmp_path):
    flags = ['--sanity_check=1', '--max_failures=6']
    assert extract(*flags).returncode == 3
    assert extract(*flags).returncode == 3  # complete already, and still so
    flags = ['--sanity_check=1', '--max_failures=7', '--output_format=npy', '--batch_size=5']
    assert extract(*flags, name='folder').returncode == 0
    found, expected = load_folder(tmp_path / 'folder'), pickle.loads(pickle_of(tmp_path))
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    for name in ('rows.csv', 'failures.csv'):
        assert (tmp_path / 'folder' / name).read_bytes() == (tmp_path / f'f.{name}').read_bytes()


def test_without_a_check_labels_may_be_of_other_classes(extract, tmp_path):
    """Features are often wanted of videos that are not of the weights' classes."""
    assert extract('--max_failures=6').returncode == 0
    found = pickle.loads(pickle_of(tmp_path))
    assert found['label'].tolist() == [0, 2, 5, 8, 2, 7]


def test_failures_of_all_can_be_put_right(make_database, make_video, model, tmp_path):
    database = make_database([(tmp_path / 'late.mp4', 0, 0), (tmp_path / 'late.mp4', 0, 4)])
    flags = [f'--test_data={database}', f'--output_path={tmp_path / "f.pkl"}', model, *FLAGS]
    flags.append('--use_local_file=1')
    result = run_here(*flags)
    assert result.returncode == 1
    listed = tmp_path / 'f.pkl.partial' / 'failures.csv'
    assert result.stderr.splitlines()[-1] == (
        'extract_features.py: none of 2 records can be used; record 0: missing file. '
        f'All are listed in {listed}'
    )
    failures = [(row['record'], row['path'], row['reason']) for row in rows_of(listed)]
    assert failures == [(key, str(tmp_path / 'late.mp4'), 'missing file') for key in '01']
    (tmp_path / 'late.mp4').write_bytes(make_video(30).read_bytes())
    assert run_here(*flags).returncode == 0
    assert not listed.parent.exists()
    assert not (tmp_path / 'f.failures.csv').exists()


@pytest.fixture
def dense(make_video, make_database):
    return make_database([(make_video(30), 0, start) for start in (3, 9)], 'dense')


@pytest.mark.parametrize(
    ('arguments', 'message', 'status'),
    [
        (['--features=softmax,comp_9'], 'features asks for comp_9, which r2plus1d_10_8_w0.125', 1),
        (['--features='], 'features asks for nothing', 1),
        (['--features=label,label'], 'features names a blob twice: label,label', 1),
        (['--sanity_check=1'], 'needs softmax and label among features, which is final_avg', 1),
        (['--num_iterations=0'], 'num_iterations is 0; at least 1, or -1', 1),
        (['--num_iterations=-2'], '-2 is less than -1', 2),
        (['--stride=4'], 'stride is for videos; the records of a database have start frames', 1),
        (['--videos', 'x.mp4'], 'give --test_data=LMDB, or --videos with files or folders', 1),
        (['--clip_per_video=2'], 'takes one clip a record; clip_per_video is 2', 1),
        (['--clip_start_positions=3'], 'clip_start_positions need decode_type uniform', 1),
        (['--use_local_file=0'], 'holds paths of videos, not videos: add --use_local_file=1', 1),
        (['--test_data=none'], 'none does not exist', 1),
        (['--load_model_path=none.pkl'], 'none.pkl: no such weight file', 1),
        (['--num_labels=9'], 'is of 8; leave the flag out', 1),
        (['--output_path={weights}/f.pkl'], 'weights.pkl is a file, and no folder for f.pkl', 1),
        (['--output_path=.'], 'output_path . is no name of a file or folder', 1),
        (['--output_path={tmp}'], 'is a folder; output_format pickle writes a file', 1),
        (['--output_path={other}', '--output_format=npy'], 'is a file; output_format npy', 1),
        (['--output_path={other}'], 'other.pkl is there already, and not known to be', 1),
        (['--gpus=97'], 'gpus is 97; ', 1),
        (['--num_gpus=1', '--cpu_replicas=2'], 'cpu_replicas is for the CPU', 1),
        (['--output_format=csv'], "'csv' is unknown; known: pickle, npy", 2),
        (['--stride=2m'], "'2m' is neither frames, such as 8, nor seconds, such as 0.5s", 2),
        (['--stride=0s'], "'0s' is neither frames", 2),
        (['--max_failures=-1'], '-1 is less than 0', 2),
    ],
)
def test_mistakes_get_one_line(dense, model, tmp_path, arguments, message, status):
    other = tmp_path / 'other.pkl'
    other.write_bytes(b'of another')
    places = {'tmp': tmp_path, 'weights': model.partition('=')[2], 'other': other}
    flags = [f'--test_data={dense}', model, f'--output_path={tmp_path / "f.pkl"}', *FLAGS]
    given = [argument.format(**places) for argument in arguments]
    result = run_here(*flags, '--use_local_file=1', *given)
    assert result.returncode == status
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr
    assert result.stdout == ''
    assert not (tmp_path / 'f.pkl').exists()


def test_what_has_to_be_given(dense, tmp_path):
    result = run_here(*FLAGS)
    assert 'give --test_data=LMDB, or --videos' in result.stderr
    result = run_here(*FLAGS, f'--test_data={dense}', '--features=softmax,label')
    assert 'load_model_path is not given; the network needs its weights' in result.stderr


def test_needs_of_records_are_named(make_video, make_database, tmp_path):
    """A uniform database has no start frames, and records without an id have no video_id."""
    database = make_database([(make_video(30).read_bytes(), 0)] * 2)
    flags = [f'--test_data={database}', f'--output_path={tmp_path / "f.pkl"}', *FLAGS]
    result = run_here(*flags, '--features=data')
    assert re.search('database has no start frames; --decode_type=1 takes clips', result.stderr)
    result = run_here(*flags, '--features=video_id', '--decode_type=1')
    assert 'none of 2 records can be used; record 0: no video id' in result.stderr


def test_an_array_too_large_for_a_pickle(make_video, make_database, tmp_path):
    database = make_database([(make_video(30).read_bytes(), 0, 0)])
    flags = [f'--test_data={database}', f'--output_path={tmp_path / "f.pkl"}']
    flags += ['--decode_type=1', '--clip_per_video=500', '--features=label,data', '--num_labels=8']
    result = run_here(*flags, '--clip_length_rgb=16')
    assert 'data of 500 clips has 1.2 GB; a pickle takes arrays of 1.1 GB' in result.stderr
    assert not (tmp_path / 'f.pkl.partial').exists()


def test_a_mistake_is_no_traceback_in_a_process_of_its_own(run_tool, dense, model):
    result = run_tool(TOOL, f'--test_data={dense}', model, *FLAGS)
    assert result.returncode == 1
    assert result.stderr.startswith('extract_features.py: ')
    assert len(result.stderr.splitlines()) == 1
