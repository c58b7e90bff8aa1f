"""tools/extract_features.py: the blobs of every clip, whatever the way to them."""

import os
import pickle
import random
import re

import numpy as np
import pytest

from conftest import golden_cases
from extraction import (
    FLAGS,
    NETWORK,
    TOOL,
    by_hand,
    files_of,
    load_folder,
    rows_of,
    run_here,
    save_weights,
)
from r2plus1d.features.read import read_features
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import FlowSettings
from r2plus1d.networks.network import Network
from r2plus1d.video.clip import normalize
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.read_clips import read_clips
from r2plus1d.weights import safe_pickle
from r2plus1d.weights.files import save_pickle
from video_input_cases import NOT_FLAGS, RENAMED, settings_of

EVERYTHING = '--features=softmax,final_avg,label,video_id,start_frame'


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp('model'))


@pytest.fixture
def extract(tmp_path, model):
    """Return a function that runs the tool into a pickle or folder, and gives its arrays."""

    def run(database, *arguments, name='f.pkl', status=0):
        flags = [f'--test_data={database}', model, *FLAGS, f'--output_path={tmp_path / name}']
        result = run_here(*flags, *arguments)
        assert result.returncode == status, result.stderr
        path = tmp_path / name
        return load_folder(path) if path.is_dir() else pickle.loads(path.read_bytes()), result

    return run


@pytest.fixture
def clips(make_video):
    """50 overlapping clips of three videos, shuffled: [(path, label, start frame, video id)]."""
    kinds = (40, 'mp4'), (33, 'mkv'), (50, 'avi')
    videos = [make_video(*kind, g=12, seed=i) for i, kind in enumerate(kinds)]
    made = [(videos[i % 3], i % 8, 7 * i % 25, 10**12 + i % 3) for i in range(50)]
    random.Random(0).shuffle(made)
    return made


@pytest.mark.parametrize(
    'case', [case for case in golden_cases(0) if case['starts']], ids=lambda case: case['name']
)
def test_golden_clips_extracted_together(golden, case, make_database, run_tool, tmp_path):
    """40 overlapping clips of each video, shuffled: those of VideoInput are bit for bit its own."""
    records = []
    for number, name in enumerate(case['videos']):
        starts = case['starts'] + random.Random(name).choices(range(case['starts'][-1]), k=36)
        records += [(golden / 'videos' / name, 0, s, 1000 * number + s) for s in starts]
    random.Random(1).shuffle(records)
    flags = [
        f'--{RENAMED.get(name, name)}={int(value)}'
        for name, value in case['args'].items()
        if name not in NOT_FLAGS
    ]
    result = run_tool(
        TOOL, f'--test_data={make_database(records)}', *flags, '--features=data,video_id',
        '--output_format=npy', '--output_path=out', '--batch_size=7', '--num_decode_threads=3',
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    data, ids = (np.load(tmp_path / 'out' / f'{name}.npy', 'r') for name in ('data', 'video_id'))
    assert ids.tolist() == [video_id for _, _, _, video_id in records]
    settings = settings_of(case['args'])
    with np.load(golden / 'video_input' / f'{case["name"]}.npz') as arrays:
        expected = dict(zip(arrays['video_id'].tolist(), normalize(arrays['rgb_u8'], settings)))
    assert len(expected) == len(case['videos']) * len(case['starts'])
    seen = set()
    for row, (path, _, start, video_id) in zip(data, records):
        if video_id in expected:
            assert row.tobytes() == expected[video_id].tobytes()
            seen.add(video_id)
        else:
            alone = read_clips(path, settings, start_frame=start).pixels
            np.testing.assert_array_equal(row, normalize(alone, settings)[0])
    assert seen == set(expected)
    (tmp_path / 'out' / 'data.npy').unlink()  # a quarter of a gigabyte


def test_rows_are_those_of_clips_alone_in_the_databases_order(clips, make_database, extract):
    database = make_database(clips)
    found, result = extract(database, '--use_local_file=1', EVERYTHING)
    expected = by_hand([(c[0], i, c[2]) for i, c in enumerate(clips)], ['softmax', 'final_avg'])
    expected['label'] = np.array([c[1] for c in clips], np.int32)
    expected['video_id'] = np.array([c[3] for c in clips], np.int64)
    expected['start_frame'] = np.array([c[2] for c in clips], np.int32)
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
    assert len(np.unique(found['softmax'].round(6), axis=0)) == 50, 'clips are not told apart'
    assert result.stdout.splitlines()[:3] == [
        'records: 50, extracted: 50, failed: 0', 'softmax: float32, 50x8',
        'final_avg: float32, 50x64x1x1x1',
    ]  # fmt: skip


def test_batches_threads_and_copies_change_nothing(clips, make_database, extract, tmp_path):
    database = make_database(clips)
    one, _ = extract(database, '--use_local_file=1', EVERYTHING, '--batch_size=1', name='0.pkl')
    expected = (tmp_path / '0.pkl').read_bytes()
    for number, flags in enumerate(
        (['--batch_size=7', '--num_decode_threads=1'], ['--num_decode_threads=9']), 1
    ):
        extract(database, '--use_local_file=1', EVERYTHING, *flags, name=f'{number}.pkl')
        assert (tmp_path / f'{number}.pkl').read_bytes() == expected
        rows = [(tmp_path / f'{i}.rows.csv').read_bytes() for i in (0, number)]
        assert rows[0] == rows[1]
    flags = ['--batch_size=3', '--cpu_replicas=2']
    copies, _ = extract(database, '--use_local_file=1', EVERYTHING, *flags, name='copies.pkl')
    for name, array in one.items():
        np.testing.assert_allclose(copies[name], array, rtol=1e-5, atol=1e-6)


def test_videos_in_the_database_are_grouped_too(clips, make_database, extract, tmp_path):
    extract(make_database(clips, 'paths'), '--use_local_file=1', EVERYTHING, '--stats', name='a')
    inside = [(path.read_bytes(), *rest) for path, *rest in clips]
    _, result = extract(make_database(inside, 'videos'), EVERYTHING, '--stats', name='b')
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()
    assert int(re.search(r'frames decoded: (\d+)', result.stdout).group(1)) <= 40 + 33 + 50


def test_250_dense_clips_decode_each_frame_once(make_video, make_database, extract):
    starts = list(range(250))
    random.Random(0).shuffle(starts)
    path = make_video(300, g=50)
    database = make_database([(path, 0, start) for start in starts])
    flags = ['--use_local_file=1', '--features=start_frame', '--stats=1']
    found, result = extract(database, *flags)
    assert found['start_frame'].tolist() == starts
    decoded = int(re.search(r'frames decoded: (\d+), converted: 257', result.stdout).group(1))
    assert decoded <= 330


def test_uniform_clips_and_crops(make_video, make_database, extract, tmp_path):
    videos = [make_video(20 + 7 * i, seed=i) for i in range(4)]
    database = make_database([(v.read_bytes(), i) for i, v in enumerate(videos)])
    flags = ['--decode_type=1', '--clip_per_video=3', '--crop_per_clip=2']
    found, _ = extract(database, *flags, EVERYTHING.replace('video_id,', ''), '--batch_size=3')
    settings = ClipSettings(length=8, clips=3, crops=2)
    expected = by_hand([(v, i, None) for i, v in enumerate(videos)], ['softmax'], settings)
    np.testing.assert_array_equal(found['softmax'], expected['softmax'])
    assert found['label'].tolist() == np.repeat(range(4), 6).tolist()
    starts = [read_clips(video, settings).starts for video in videos]
    assert found['start_frame'].tolist() == np.concatenate(starts).tolist()
    assert found['start_frame'].tolist()[:6] == [0, 0, 6, 6, 12, 12]
    rows = rows_of(tmp_path / 'f.rows.csv')
    assert [row['record'] for row in rows] == np.repeat(['0', '1', '2', '3'], 6).tolist()
    assert [int(row['start_frame']) for row in rows] == found['start_frame'].tolist()


def test_random_clips_follow_from_the_seed(make_video, make_database, extract, tmp_path):
    database = make_database([(make_video(40).read_bytes(), 0)] * 9)
    flags = ['--decode_type=0', '--random_crop=1', '--random_mirror=1', '--seed=5']
    found, _ = extract(database, *flags, '--features=data,start_frame')
    settings = ClipSettings(
        length=8, decode_type='random', random_crop=True, mirror=True, seed=5
    )  # fmt: skip
    for index, row in enumerate(found['data']):
        alone = read_clips(make_video(40), settings, draw=index)
        np.testing.assert_array_equal(row, normalize(alone.pixels, settings)[0])
        assert found['start_frame'][index] == alone.starts[0]
    assert len(set(found['start_frame'].tolist())) > 3


def test_flow(make_video, make_database, extract):
    path = make_video(40)
    database = make_database([(path, 0, start) for start in (9, 3, 3)])
    flags = [
        '--input_type=flow',
        '--clip_length_of=8',
        '--sampling_rate_of=1',
        '--flow_data_type=1',
    ]
    found, result = extract(database, '--use_local_file=1', '--features=data', '--stats', *flags)
    flow = FlowSettings(data_type='xy_magnitude')
    settings = ClipSettings(length=8, flow=flow, decode_type='start')
    expected = [read_clips(path, settings, start_frame=start).pixels[0] for start in (9, 3, 3)]
    np.testing.assert_array_equal(found['data'], expected)
    assert 'flows: 14' in result.stdout


def test_every_blob_that_is_listed(make_video, make_database, extract, tmp_path):
    listed = run_here('--list_blobs=1', *FLAGS)
    lines = [line.split() for line in listed.stdout.splitlines()[1:]]
    shapes = {name: tuple(map(int, shape.split('x'))) if shape != '-' else ()
              for name, shape, _ in lines}  # fmt: skip
    assert list(shapes)[:4] == ['data', 'label', 'video_id', 'start_frame']
    assert shapes['data'] == NETWORK.data_shape
    assert list(shapes)[-2:] == ['last_out_L8', 'softmax']
    assert all(int(numbers) == np.prod(shapes[name]) for name, _, numbers in lines)
    path = make_video(20)
    database = make_database([(path.read_bytes(), 3, start, 7) for start in (4, 0)])
    names = f'--features={",".join(shapes)}'
    found, _ = extract(database, names, '--output_format=npy', name='folder')
    blobs = [name for name in shapes if name not in ('data', 'label', 'video_id', 'start_frame')]
    expected = by_hand([(path, 0, 4), (path, 1, 0)], blobs)
    for name, shape in shapes.items():
        assert found[name].shape == (2, *shape), name
        if name in blobs:
            np.testing.assert_array_equal(found[name], expected[name])


def test_several_labels(make_video, make_database, extract, tmp_path):
    network = Network('r2plus1d', 10, 8, num_labels=8, width=0.125, multi_label=True)
    save_pickle(tmp_path / 'm.pkl', random_parameters(network, 0))
    database = make_database([(make_video(20).read_bytes(), (0, 2 + i), i) for i in range(3)])
    flags = ['--multi_label=1', f'--load_model_path={tmp_path / "m.pkl"}']
    found, _ = extract(database, *flags, '--features=prob,label')
    assert found['prob'].shape == (3, 8)
    assert found['label'].dtype == np.int32
    assert [np.flatnonzero(row).tolist() for row in found['label']] == [[0, 2], [0, 3], [0, 4]]
    assert [r['label'] for r in rows_of(tmp_path / 'f.rows.csv')] == ['0 2', '0 3', '0 4']


def test_what_a_user_gets(clips, make_database, run_tool, model, tmp_path):
    """As a process of its own, with the defaults."""
    database = make_database(clips)
    result = run_tool(TOOL, f'--test_data={database}', model, *FLAGS, '--use_local_file=1')
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        'records: 50, extracted: 50, failed: 0', 'final_avg: float32, 50x64x1x1x1',
        str(tmp_path / 'features.pickle'),
    ]  # fmt: skip
    assert 'Traceback' not in result.stderr
    made = {name for name in files_of(tmp_path) if name.startswith('features')}
    assert made == {'features.pickle', 'features.rows.csv', 'features.arguments.json'}
    names = [os.fsdecode(row['file']) for row in rows_of(tmp_path / 'features.rows.csv')]
    assert names == [str(clip[0]) for clip in clips]


def test_the_clip_accuracy(clips, make_database, extract, tmp_path):
    flags = ['--use_local_file=1', '--features=softmax,label,video_id', '--sanity_check=1']
    found, result = extract(make_database(clips), *flags)
    share = (found['softmax'].argmax(axis=1) == found['label']).mean()
    assert f'Clip accuracy: {share:.5f}' in result.stdout
    assert 0 < share < 1
    again = run_here(
        *[f'--test_data={tmp_path / "database"}', f'--output_path={tmp_path / "f.pkl"}'],
        *[f'--load_model_path={tmp_path / "none"}', *FLAGS, *flags],
    )
    assert 'none: no such weight file' in again.stderr


def test_readers_of_features_read_it(clips, make_database, extract, tmp_path):
    flags = ['--use_local_file=1', '--features=softmax,label,video_id']
    found, _ = extract(make_database(clips), *flags)
    for options in ({}, {'encoding': 'latin1'}):
        same = pickle.loads((tmp_path / 'f.pkl').read_bytes(), **options)
        assert {name: a.tobytes() for name, a in same.items()} == {
            name: a.tobytes() for name, a in found.items()
        }
    assert set(safe_pickle.load(tmp_path / 'f.pkl')) == set(found)
    extract(tmp_path / 'database', *flags, '--output_format=npy', name='folder')
    for name in ('f.pkl', 'folder'):
        features = read_features(tmp_path / name)
        np.testing.assert_array_equal(features.softmax, found['softmax'])
        np.testing.assert_array_equal(features.video_ids, found['video_id'])


def test_a_number_of_batches(clips, make_database, extract, tmp_path):
    database = make_database(clips)
    flags = ['--use_local_file=1', '--features=start_frame,video_id', '--batch_size=6']
    few, _ = extract(database, *flags, '--num_iterations=2')
    assert few['start_frame'].tolist() == [clip[2] for clip in clips[:12]]
    assert len(rows_of(tmp_path / 'f.rows.csv')) == 12
    flags[1] = '--features=video_id'
    more, _ = extract(database, *flags, '--get_start_frame=1', '--num_iterations=99', name='g.pkl')
    assert list(more) == ['video_id', 'start_frame']
    assert len(more['video_id']) == 50
