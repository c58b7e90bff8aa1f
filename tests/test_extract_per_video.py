"""tools/extract_features.py --output_format=per_video: a file for each video and blob."""

import json
import os

import numpy as np
import pytest

from extraction import FLAGS, by_hand, rows_of, run_here, save_weights
from r2plus1d.errors import InputError
from r2plus1d.features.entry import Entry
from r2plus1d.features.npy_rows import Column
from r2plus1d.features.per_video import VideoFolder, names_below
from r2plus1d.results.hold import HeldError, holding
from r2plus1d.video.clip_settings import ClipSettings

COUNTED = ClipSettings(length=8, decode_type='frame')
BLOBS = {'f': Column((3, 1, 1), 'float32')}


@pytest.fixture
def extract(make_video, tmp_path, monkeypatch):
    """Return a function that extracts from three videos, two of one name, into OUT."""
    for name, video in {
        'in/a.mp4': make_video(20, seed=1),
        'in/a.mkv': make_video(17, 'mkv', seed=2),
        'in/deep/a.mp4': make_video(12, seed=3),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(video.read_bytes())
    weights = save_weights(tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(*arguments, features='final_avg,softmax'):
        return run_here(
            '--videos', 'in', *FLAGS, weights, f'--features={features}', '--stride=6',
            '--output_format=per_video', '--output_path=out', *arguments,
        )  # fmt: skip

    return run


def files(folder):
    return sorted(os.path.relpath(p, folder) for p in folder.rglob('*') if p.is_file())


def stamps(folder):
    return {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob('*') if p.is_file()}


EVERY = [
    f'{video}_{end}'
    for video in ('a.mkv', 'a.mp4', 'deep/a.mp4')
    for end in ('final_avg.npy', 'softmax.npy', 'times.json')
]
STARTS = {'a.mkv': [0, 6], 'a.mp4': [0, 6, 12], 'deep/a.mp4': [0]}


def test_each_video_has_its_files(extract, tmp_path):
    done = extract()
    assert (done.returncode, done.stderr.count('Traceback')) == (0, 0)
    assert 'videos: 3, written: 3, there before: 0, failed: 0\n' in done.stdout
    assert 'final_avg: float32, clipsx64\nsoftmax: float32, clipsx8\nout\n' in done.stdout
    assert files(tmp_path / 'out') == EVERY
    for video, starts in STARTS.items():
        clips = [(tmp_path / 'in' / video, 0, start) for start in starts]
        expected = by_hand(clips, ['final_avg', 'softmax'], COUNTED)
        for blob, width in (('final_avg', 64), ('softmax', 8)):
            found = np.load(tmp_path / 'out' / f'{video}_{blob}.npy')
            np.testing.assert_array_equal(found, expected[blob].reshape(len(starts), width))
        times = json.loads((tmp_path / 'out' / f'{video}_times.json').read_text())
        assert times['video'] == f'in/{video}'
        assert [clip['start_frame'] for clip in times['clips']] == starts
        assert times['clips'][0]['begin'] == 0
        assert abs(times['clips'][0]['end'] - 8 / 25) < 1e-3


@pytest.mark.parametrize('pool', ['mean', 'max'])
def test_clips_are_pooled(extract, tmp_path, pool):
    extract('--output_path=clips')
    assert extract(f'--pool={pool}').returncode == 0
    for video in STARTS:
        clips = np.load(tmp_path / 'clips' / f'{video}_final_avg.npy')
        pooled = np.load(tmp_path / 'out' / f'{video}_final_avg.npy')
        assert (pooled.shape, pooled.dtype) == ((64,), np.float32)
        np.testing.assert_allclose(pooled, getattr(clips, pool)(axis=0), rtol=1e-6)


def test_what_is_there_is_skipped(extract, tmp_path):
    extract()
    before = stamps(tmp_path / 'out')
    (tmp_path / 'out' / 'a.mp4_times.json').unlink()  # as an interruption leaves it
    again = extract()
    assert 'written: 1, there before: 2' in again.stdout
    after = stamps(tmp_path / 'out')
    changed = {path.name for path in after if after[path][0] != before[path][0]}
    assert changed == {'a.mp4_final_avg.npy', 'a.mp4_softmax.npy', 'a.mp4_times.json'}
    assert {p: content for p, (_, content) in after.items()} == {
        p: content for p, (_, content) in before.items()
    }
    (tmp_path / 'out' / 'deep' / 'a.mp4_softmax.npy').unlink()
    assert 'written: 1, there before: 2' in extract().stdout
    os.utime(tmp_path / 'in' / 'a.mkv', ns=(1, 1))  # another file, as far as one can tell
    assert 'written: 1, there before: 2' in extract().stdout
    assert 'written: 3, there before: 0' in extract('--overwrite=1').stdout


def test_other_arguments_are_refused(extract, tmp_path):
    extract()
    before = stamps(tmp_path / 'out')
    other = extract('--pool=max')
    assert other.returncode == 1
    assert 'was made with other arguments: pool was none and is max' in other.stderr
    assert stamps(tmp_path / 'out') == before
    assert 'written: 3' in extract('--pool=max', '--if_different=replace').stdout


def test_a_name_that_is_too_long_costs_that_video(extract, tmp_path, make_video):
    long = f'{"b" * 240}.mp4'
    (tmp_path / 'in' / long).write_bytes(make_video(12).read_bytes())
    done = extract()
    assert done.returncode == 3
    assert 'videos: 4, written: 3, there before: 0, failed: 1' in done.stdout
    (row,) = rows_of(tmp_path / 'out' / 'failures.csv')
    assert (row['path'], row['reason']) == (f'in/{long}', 'its name is too long for features')


def test_what_changes_no_bit_is_no_other_argument(extract, tmp_path):
    extract('--batch_size=2')
    again = extract('--batch_size=3')
    assert 'written: 0, there before: 3' in again.stdout
    times = tmp_path / 'out' / 'a.mp4_times.json'
    found = json.loads(times.read_text())
    times.write_text(json.dumps({**found, 'arguments': {'gpus': 3}}))  # no such arguments
    assert 'written: 1, there before: 2' in extract().stdout


def test_a_video_that_fails_has_no_files(extract, tmp_path, make_video):
    (tmp_path / 'in' / 'short.mp4').write_bytes(make_video(5).read_bytes())
    (tmp_path / 'in' / 'text.mp4').write_text('no video')
    done = extract()
    assert done.returncode == 3
    assert 'videos: 5, written: 3, there before: 0, failed: 2' in done.stdout
    assert files(tmp_path / 'out') == sorted([*EVERY, 'failures.csv'])
    reasons = {row['path']: row['reason'] for row in rows_of(tmp_path / 'out' / 'failures.csv')}
    assert set(reasons) == {'in/short.mp4', 'in/text.mp4'}
    assert 'not a video' in reasons['in/text.mp4']
    (tmp_path / 'in' / 'short.mp4').unlink()
    (tmp_path / 'in' / 'text.mp4').unlink()
    assert extract().returncode == 0
    assert files(tmp_path / 'out') == EVERY


@pytest.mark.parametrize(
    ('arguments', 'features', 'message'),
    [
        (['--num_iterations=1'], 'softmax', 'num_iterations would cut videos'),
        ([], 'video_id', 'features asks for video_id'),
        (['--pool=mean'], 'start_frame', 'pool is mean; start_frame is a number of each clip'),
        (['--output_format=npy', '--pool=mean'], 'softmax', 'without output_format=per_video'),
    ],
)
def test_what_makes_no_sense_is_refused(extract, tmp_path, arguments, features, message):
    done = extract(*arguments, features=features)
    assert done.returncode == 1
    assert message in done.stderr
    assert not (tmp_path / 'out').exists()


def test_a_database_is_refused():
    done = run_here('--test_data=x', '--features=label', '--output_format=per_video')
    assert done.returncode == 1
    assert 'output_format=per_video is for videos' in done.stderr


def test_names_are_below_what_all_are_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [
        tmp_path / 'one' / 'x.mp4',
        tmp_path / 'two' / 'x.mp4',
        tmp_path / 'two' / 'y' / 'x.mp4',
    ]
    assert list(names_below(paths).values()) == ['one/x.mp4', 'two/x.mp4', 'two/y/x.mp4']
    assert list(names_below(paths[:1]).values()) == ['x.mp4']


def test_two_owners_of_a_file_are_refused(tmp_path):
    names = {'v/a': 'a', 'v/a_f.npy': 'a_f.npy', 'v/a_b': 'a_b'}
    two = {'f': BLOBS['f'], 'b_f': BLOBS['f']}
    with pytest.raises(InputError, match=r'a_b_f\.npy would be of v/a and of v/a_b'):
        VideoFolder(tmp_path, names, two, pool='none', arguments={})


def test_nothing_of_a_video_appears_before_its_last_clip(tmp_path):
    folder = VideoFolder(tmp_path, {'v/a': 'a', 'v/b': 'b'}, BLOBS, pool='none', arguments={})
    rows = np.ones((1, 3, 1, 1), np.float32)
    for number, path in enumerate(('v/a', 'v/a', 'v/b')):
        assert files(tmp_path) == []
        folder.add([Entry(number, str(number), path, (), 0, [0], [[0.0, None]])], {'f': rows})
    assert files(tmp_path) == ['a_f.npy', 'a_times.json']
    assert np.load(tmp_path / 'a_f.npy').shape == (2, 3)
    assert folder.finish() == (2, 0, 0)
    assert files(tmp_path) == ['a_f.npy', 'a_times.json', 'b_f.npy', 'b_times.json']


def test_one_run_at_a_time(extract, tmp_path):
    with holding(tmp_path / 'out'):
        refused = extract()
    assert (refused.returncode, refused.stdout) == (1, '')
    assert 'out is being written by process' in refused.stderr
    assert not (tmp_path / 'out').exists()
    assert extract().returncode == 0


def test_numbers_and_what_is_said_of_them_are_of_one_run(tmp_path, monkeypatch):
    """Shards of two runs come to the same video; the second one is refused."""
    video = tmp_path / 'v.mp4'
    video.write_bytes(b'x')

    def run(weights):
        folder = VideoFolder(
            tmp_path / 'out', {str(video): 'v'}, BLOBS, pool='none',
            arguments={'weights': weights}, replace_different=True,
        )  # fmt: skip
        folder.add(
            [Entry(0, '0', str(video), (0,), None, [0], [[0, 1]])],
            {'f': np.full((1, 3, 1, 1), weights, np.float32)},
        )
        folder.finish()

    def save_beside_another(file, array):
        monkeypatch.setattr(np, 'save', save)
        with pytest.raises(HeldError, match=r'v_times\.json is being written by process'):
            run(2)
        save(file, array)

    save = np.save
    monkeypatch.setattr(np, 'save', save_beside_another)
    run(1)
    assert np.load(tmp_path / 'out' / 'v_f.npy').tolist() == [[1, 1, 1]]
    assert '"weights": 1' in (tmp_path / 'out' / 'v_times.json').read_text()
    assert sorted(p.name for p in (tmp_path / 'out').iterdir()) == ['v_f.npy', 'v_times.json']
