"""tools/show_clips.py, run as a user runs it."""

import csv

import cv2
import numpy as np
import pytest

from conftest import golden_cases
from r2plus1d.model import Model
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import RGB_MEAN, RGB_STD, Input, normalize
from r2plus1d.networks.network import Network
from r2plus1d.pictures.captions import HEIGHT
from video_input_cases import NOT_FLAGS, RENAMED, records_of

FLAGS = ('--clip_length_rgb=8', '--clip_per_video=2')


@pytest.fixture
def database(make_video, make_database):
    return make_database(
        [(make_video(20 + i).read_bytes(), 390 + i, None, 7 * i) for i in range(3)]
    )


@pytest.fixture
def show(run_tool, database):
    def run(*arguments, test_data=database):
        return run_tool('tools/show_clips.py', f'--test_data={test_data}', *FLAGS, *arguments)

    return run


def test_arrays(show, tmp_path):
    result = show('--output=x.npz')
    assert result.returncode == 0, result.stderr
    assert result.stdout == 'videos: 3, clips: 6, failed: 0\n'
    with np.load(tmp_path / 'x.npz') as arrays:
        assert sorted(arrays) == ['data', 'key', 'label', 'start', 'video_id']
        assert arrays['data'].dtype == np.float32
        assert arrays['data'].shape == (6, 3, 8, 112, 112)
        assert arrays['label'].tolist() == [390, 390, 391, 391, 392, 392]
        assert arrays['video_id'].tolist() == [0, 0, 7, 7, 14, 14]
        assert arrays['key'].tolist() == list('001122')
        assert arrays['start'].tolist() == [0, 12, 0, 13, 0, 14]


def test_raw_is_the_same_before_normalization(show, tmp_path):
    show('--output=x.npz')
    show('--output=raw.npz', '--raw')
    with np.load(tmp_path / 'x.npz') as x, np.load(tmp_path / 'raw.npz') as raw:
        assert raw['rgb_u8'].dtype == np.uint8
        np.testing.assert_array_equal(normalize(raw['rgb_u8'], RGB_MEAN, RGB_STD), x['data'])


@pytest.mark.parametrize('kind', [(), ('--input_type=flow', '--clip_length_of=8')])
def test_sheet_has_a_row_a_clip(show, tmp_path, kind):
    result = show('--sheet=new/x.png', '--num_records=2', '--clip_per_video=1', *kind)
    assert result.stdout == 'videos: 2, clips: 2, failed: 0\n', result.stderr
    sheet = cv2.imread(str(tmp_path / 'new' / 'x.png'))
    assert sheet.shape == (2 * (112 + HEIGHT), 8 * 112, 3)
    assert sheet[HEIGHT : HEIGHT + 112].std() > 5
    assert sheet[:HEIGHT].max() > 200  # the caption


@pytest.fixture
def weights(tmp_path):
    """Return a function that writes weights of 3 classes that always predict the same one."""

    def write(best):
        network = Network('r2d', 10, clip_length=8, num_labels=3, width=0.0625)
        parameters = random_parameters(network, seed=1)
        parameters['last_out_L3_b'][best] = 50
        path = tmp_path / f'always_{best}.pkl'
        Model(network, Input(length=8), parameters, ('left', 'right', 'up')).save(path)
        return path

    return write


@pytest.fixture
def of_three(make_video, make_database):
    return make_database([(make_video(20 + i).read_bytes(), i) for i in range(3)], name='three')


def test_weights_predict_each_clip(show, weights, of_three, tmp_path):
    for best in (0, 2):
        flags = (
            f'--load_model_path={weights(best)}',
            f'--sheet={best}.png',
            f'--output={best}.npz',
        )
        result = show(*flags, test_data=of_three)
        assert (result.returncode, result.stdout) == (0, 'videos: 3, clips: 6, failed: 0\n')
        with np.load(tmp_path / f'{best}.npz') as arrays:
            assert arrays['probabilities'].shape == (6, 3)
            assert arrays['probabilities'].argmax(axis=1).tolist() == [best] * 6
        sheet = cv2.imread(str(tmp_path / f'{best}.png'))
        grounds = [tuple(sheet[row * (112 + HEIGHT), 0]) for row in range(6)]
        is_right = [label == best for label in (0, 0, 1, 1, 2, 2)]
        right = {ground for ground, is_so in zip(grounds, is_right) if is_so}
        wrong = {ground for ground, is_so in zip(grounds, is_right) if not is_so}
        assert len(right) == len(wrong) == 1
        assert right != wrong


def test_predictions_are_those_of_test_net(show, run_tool, weights, of_three, tmp_path):
    flags = (f'--load_model_path={weights(1)}', '--clip_per_video=2', f'--test_data={of_three}')
    run_tool('tools/test_net.py', *flags, '--output=x.csv')
    show(*flags, '--output=x.npz', '--batch_size=2')
    with np.load(tmp_path / 'x.npz') as arrays:
        means = arrays['probabilities'].reshape(3, 2, 3).mean(axis=1)
    with (tmp_path / 'x.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    found = [float(row['probability1']) for row in rows]
    np.testing.assert_allclose(found, means.max(axis=1), atol=1e-5)


def test_a_failed_record_moves_no_prediction(show, weights, make_video, make_database, tmp_path):
    good = make_video(20).read_bytes()
    database = make_database([(good, 0), (b'\0bad', 1), (good, 2)], name='mixed')
    result = show(f'--load_model_path={weights(2)}', '--output=x.npz', test_data=database)
    assert result.returncode == 3
    with np.load(tmp_path / 'x.npz') as arrays:
        assert arrays['key'].tolist() == list('0022')
        assert arrays['probabilities'].shape == (4, 3)


def test_labels_name_the_classes(show, of_three, tmp_path):
    (tmp_path / 'names.txt').write_text('a\nb\nc\n')
    flags = ('--sheet=x.png', '--labels=names.txt')
    result = show(*flags, '--num_labels=3', test_data=of_three)
    assert result.returncode == 0, result.stderr
    named = cv2.imread(str(tmp_path / 'x.png'))
    show('--sheet=x.png', test_data=of_three)
    assert (named != cv2.imread(str(tmp_path / 'x.png'))).any()
    result = show(*flags, test_data=of_three)
    assert result.stderr == (
        'show_clips.py: labels needs num_labels=N, the number of its lines, or load_model_path\n'
    )


def test_failures_are_named_and_the_others_shown(show, make_video, make_database, tmp_path):
    records = [(make_video(20).read_bytes(), 1), (b'\0bad', 1), (make_video(5).read_bytes(), 1)]
    result = show('--output=x.npz', test_data=make_database(records, name='mixed'))
    assert result.returncode == 3
    assert result.stdout == 'videos: 3, clips: 2, failed: 2\n'
    assert 'record 1 failed: not a video' in result.stderr
    assert 'record 2 failed: too few frames: 5, and the clips need 8' in result.stderr
    with np.load(tmp_path / 'x.npz') as arrays:
        assert arrays['key'].tolist() == ['0', '0']
    result = show('--output=y.npz', test_data=make_database(records[1:], name='bad'))
    assert result.returncode == 1
    assert result.stderr.startswith('show_clips.py: none of 2 records can be used: record 0: not')
    assert not (tmp_path / 'y.npz').exists()


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ((), 'nothing to write: give --output=x.npz, --sheet=x.png or both'),
        (('--output=x.npy',), 'output is x.npy; its name has to end in .npz'),
        (('--sheet=x.jpg',), 'sheet is x.jpg; its name has to end in .png'),
        (('--sheet=x.png', '--clip_per_video=300'), 'rows; at most 500: use --num_records'),
        (('--output=x.npz', '--raw', '--input_type=1'), 'raw=1 shows RGB pixels'),
        (('--output=x.npz', '--num_labels=5', '--multi_label=2'), "'2' is not 0 or 1"),
        (('--output=x.npz', '--multi_label=1'), 'multi_label=1 needs num_labels'),
        (('--output=/dev/null/x.npz',), '/dev/null is a file, and no folder for x.npz'),
    ],
)
def test_mistakes_get_one_line(show, arguments, message):
    result = show(*arguments)
    assert result.returncode in (1, 2)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr


@pytest.mark.parametrize('case', golden_cases(0), ids=lambda case: case['name'])
def test_it_shows_what_video_input_gave(case, golden, make_database, run_tool, tmp_path):
    database = make_database(list(records_of(case, golden)))
    flags = [
        f'--{RENAMED.get(name, name)}={int(value)}'
        for name, value in case['args'].items()
        if name not in NOT_FLAGS
    ]
    run_tool('tools/show_clips.py', f'--test_data={database}', '--raw', '--output=x.npz', *flags)
    with np.load(tmp_path / 'x.npz') as shown:
        order = np.argsort(shown['video_id'], kind='stable')
        expected = np.load(golden / 'video_input' / f'{case["name"]}.npz')
        np.testing.assert_array_equal(shown['rgb_u8'][order], expected['rgb_u8'])
        np.testing.assert_array_equal(shown['video_id'][order], expected['video_id'])
