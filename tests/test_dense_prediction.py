"""Feature files to predictions of videos: tools/dense_prediction_*.py and what they are made of."""

import csv
import os
import pickle
import re
import struct

import numpy as np
import pytest

from r2plus1d.errors import InputError
from r2plus1d.evaluation import fusion, video_sums
from r2plus1d.evaluation.metrics import rank
from r2plus1d.evaluation.predictions import VideoScores
from r2plus1d.features import read

AGGREGATION = 'tools/dense_prediction_aggregation.py'
FUSION = 'tools/dense_prediction_fusion.py'
CLASSES = 7
INT64 = np.iinfo(np.int64)
IDS = [5, -3, 0, INT64.max, INT64.min, 10**12, 8]  # the label of each is its place


def clips_of(video_ids, seed=0, classes=CLASSES):
    """The blobs of clips of the videos: probabilities with ties, right more often than not."""
    rng = np.random.default_rng(seed)
    labels = np.array([IDS.index(video_id) % classes for video_id in video_ids], np.int32)
    softmax = rng.integers(0, 4, (len(labels), classes)).astype(np.float32)
    softmax[np.arange(len(labels)), labels] += rng.integers(0, 3, len(labels))
    return {
        'softmax': (softmax + 1) / (softmax + 1).sum(axis=1, keepdims=True),
        'label': labels,
        'video_id': np.array(video_ids, np.int64),
    }


def write_pickle(path, blobs, protocol=2):
    path.parent.mkdir(exist_ok=True)
    with path.open('wb') as file:
        pickle.dump(blobs, file, protocol)
    return path


def write_folder(path, blobs):
    path.mkdir(parents=True)
    for name, array in blobs.items():
        np.save(path / f'{name}.npy', array)
    return path


class CPickler(pickle._Pickler):
    """Writes text and arrays' bytes as cPickle of Python 2 does: both are its str."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_str(self, text):
        raw = text if isinstance(text, bytes) else text.encode('latin1')
        if self.bin:
            self.write(b'T' + struct.pack('<i', len(raw)) + raw)
        else:
            self.write(b'S' + repr(raw)[1:].encode() + b'\n')
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_str


def random_ids(count, seed=0, ids=IDS):
    return np.random.default_rng(seed).choice(np.array(ids, np.int64), count).tolist()


def reference(files, max_clip=0):
    """The same as the library, from a list of blobs, with loops and dicts; no more than asked."""
    videos, clips, clips_right = {}, 0, 0
    for blobs in files:
        for softmax, label, video_id in zip(blobs['softmax'], blobs['label'], blobs['video_id']):
            video = videos.setdefault(
                int(video_id), {'label': label, 'sum': np.zeros(len(softmax)), 'n': 0, 'right': 0}
            )
            right = max(range(len(softmax)), key=lambda c: (softmax[c], -c)) == label
            clips, clips_right, video['right'] = (
                clips + 1,
                clips_right + right,
                video['right'] + right,
            )
            if not max_clip or video['n'] < max_clip:
                video['sum'] += softmax
                video['n'] += 1
    for video in videos.values():
        video['order'] = sorted(range(len(video['sum'])), key=lambda c: (-video['sum'][c], c))
    return videos, clips_right / clips


def shares(videos):
    orders = [(video['order'], video['label']) for video in videos.values()]
    return [sum(label in order[:k] for order, label in orders) / len(videos) for k in (1, 5)]


def line(videos, clip):
    top1, top5 = shares(videos)
    return f'clip {clip:.5f}, top1 {top1:.5f}, top5 {top5:.5f}'


def rows_of(path):
    with path.open(newline='') as file:
        return list(csv.DictReader(file))


@pytest.fixture
def files():
    """Three files of unequal size; most videos are in several of them."""
    return [clips_of(random_ids(count, count), count) for count in (40, 3, 17)]


@pytest.fixture
def folder(tmp_path, files):
    for number, blobs in zip((1, 2, 10), files):
        write_pickle(tmp_path / 'features' / f'f_{number}.pkl', blobs)
    return tmp_path / 'features'


@pytest.fixture
def aggregate(run_tool, folder):
    def run(*arguments, status=0, path=folder):
        result = run_tool(AGGREGATION, f'--input_dir={path}', *arguments)
        assert result.returncode == status, result.stderr
        assert 'Traceback' not in result.stderr
        return result

    return run


@pytest.fixture
def fuse(run_tool, tmp_path):
    def run(*arguments, status=0):
        sides = [f'--input_dir{side}={tmp_path / name}' for side, name in ((1, 'rgb'), (2, 'flow'))]
        result = run_tool(FUSION, *sides, *arguments)
        assert result.returncode == status, result.stderr
        assert 'Traceback' not in result.stderr
        return result

    return run


# Reading


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_each_protocol(tmp_path, protocol):
    blobs = clips_of(IDS)
    file = read.read_features(write_pickle(tmp_path / 'a.pkl', blobs, protocol))
    np.testing.assert_array_equal(file.softmax, blobs['softmax'])
    assert file.labels.tolist() == list(range(7))
    assert file.video_ids.tolist() == IDS
    assert file.labels.dtype == file.video_ids.dtype == np.int64


@pytest.mark.parametrize('protocol', [0, 1, 2])
def test_pickles_of_python2(tmp_path, protocol):
    blobs = clips_of(IDS)
    with (tmp_path / 'a.pkl').open('wb') as file:
        CPickler(file, protocol, fix_imports=True).dump(blobs)
    assert b'_codecs' not in (tmp_path / 'a.pkl').read_bytes()  # which Python 3 itself writes
    file = read.read_features(tmp_path / 'a.pkl')
    np.testing.assert_array_equal(file.softmax, blobs['softmax'])
    assert file.video_ids.tolist() == IDS


def test_names_may_be_bytes_and_dimensions_of_1_trail(tmp_path):
    blobs = clips_of(IDS)
    blobs['softmax'] = blobs['softmax'].reshape(7, 7, 1, 1, 1)
    blobs['label'] = blobs['label'].reshape(7, 1)
    blobs['video_id'] = blobs['video_id'].reshape(7, 1)
    path = write_pickle(tmp_path / 'a.pkl', {name.encode(): blobs[name] for name in blobs})
    file = read.read_features(path)
    assert file.softmax.shape == (7, 7)
    assert file.labels.shape == file.video_ids.shape == (7,)


def test_folders_stay_on_disk(tmp_path):
    blobs = clips_of(IDS)
    file = read.read_features(write_folder(tmp_path / 'a', blobs))
    assert isinstance(file.softmax.base, np.memmap) or isinstance(file.softmax, np.memmap)
    np.testing.assert_array_equal(file.softmax, blobs['softmax'])
    assert file.video_ids.tolist() == IDS


def test_found_in_natural_order(tmp_path):
    for name in ('f_10.pkl', 'f_2.pkl', 'f_1.pkl', '.f_3.pkl', 'f_4.pkl.partial', 'list.csv'):
        (tmp_path / name).touch()
    for name in ('f_3', 'f_5.partial', 'other', '.f_6'):
        (tmp_path / name).mkdir()
        if name != 'other':
            (tmp_path / name / 'softmax.npy').touch()
    found = [path.name for path in read.find(tmp_path)]
    assert found == ['f_1.pkl', 'f_2.pkl', 'f_3', 'f_10.pkl']


def test_one_extraction_in_two_forms_counts_once(tmp_path):
    write_pickle(tmp_path / 'x_1.pkl', clips_of(IDS))
    write_folder(tmp_path / 'x_1', clips_of(IDS))
    with pytest.raises(InputError, match=r'has x_1\.pkl and x_1, which would count twice'):
        read.find(tmp_path)


def changed(name, change):
    return lambda blobs: {**blobs, name: change(blobs[name])}


def put(name, row, value):
    def change(blobs):
        array = blobs[name].copy()
        array[row] = value
        return {**blobs, name: array}

    return change


BAD_BLOBS = [
    (lambda blobs: {'softmax': blobs['softmax']}, 'has no label, video_id; a feature file has'),
    (lambda blobs: [*blobs.values()], 'is a pickle of a list; a feature file has a dict'),
    (changed('label', lambda a: a[:5]), 'softmax has 7 rows, label has 5 rows, video_id has 7'),
    (changed('label', lambda a: a.tolist()), 'label is a list; an array of integers'),
    (changed('label', lambda a: a * 1.0), 'label is an array of float64; integers'),
    (changed('softmax', lambda a: a > 0), 'softmax is an array of bool; floats'),
    (changed('video_id', lambda a: a.astype('S')), r'video_id is an array of \|S\d+; integers'),
    (changed('softmax', lambda a: a.ravel()), r'softmax is of shape \(49,\); \(clips, classes\)'),
    (changed('softmax', lambda a: a.reshape(1, 7, 7)), r'softmax is of shape \(1, 7, 7\)'),
    (changed('softmax', lambda a: a[:0]), r'softmax is of shape \(0, 7\)'),
    (changed('label', lambda a: np.stack([a, a], 1)), r'label is of shape \(7, 2\)'),
    (changed('video_id', lambda a: a.astype('u8')), 'video_id has 18446744073709551613, which'),
    (put('label', 3, 7), f'label 7 in row 3 .video {INT64.max}. is out of range: 0 to 6'),
    (put('label', 1, -1), r'label -1 in row 1 .video -3. is out of range'),
    (put('softmax', (4, 2), np.nan), f'softmax is nan in row 4 .video {INT64.min}. for class 2'),
    (put('softmax', (6, 0), np.inf), 'softmax is inf in row 6 .video 8. for class 0'),
]


@pytest.mark.parametrize(('change', 'message'), BAD_BLOBS)
def test_what_a_feature_file_cannot_be(tmp_path, monkeypatch, change, message):
    monkeypatch.setattr(read, 'BLOCK', 3 * CLASSES)
    path = write_pickle(tmp_path / 'bad.pkl', change(clips_of(IDS)))
    with pytest.raises(InputError, match=message) as raised:
        read.read_features(path)
    assert str(path) in str(raised.value)


def test_what_a_folder_cannot_be(tmp_path):
    path = write_folder(tmp_path / 'a', clips_of(IDS))
    (path / 'label.npy').unlink()
    with pytest.raises(InputError, match='a has no label; a feature file has softmax, label'):
        read.read_features(path)
    np.save(path / 'label.npy', np.array([None, 1]), allow_pickle=True)
    with pytest.raises(InputError, match='label.npy is not a readable .npy file: .*objects'):
        read.read_features(path)
    raw = (path / 'softmax.npy').read_bytes()
    (path / 'softmax.npy').write_bytes(raw[:-1])
    with pytest.raises(InputError, match='softmax.npy is not a readable .npy file'):
        read.read_features(path)


HEADERS = [
    "{'descr': '<i8', 'fortran_order': False, 'shape': (12,), ",  # Python calls it unfinished
    "{'descr': '<i8', 'fortran_order': False, 'shape': (12L,, }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (12**9999,), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (-12,), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999999999999,), }",
    "{'descr': (), 'fortran_order': False, 'shape': (12,), }",
    "{'descr': '<i8', 'fortran_order': False, 'shape': 12}",
    "{['descr']: 1}",
    '(' * 9000,
    '  {\n 1\n   2}',
    '\x1b[31m',
    '',
]


@pytest.mark.parametrize('header', HEADERS, ids=map(str, range(len(HEADERS))))
@pytest.mark.parametrize('version', [1, 2])
def test_a_damaged_header_of_an_array(tmp_path, header, version):
    path = write_folder(tmp_path / 'a', clips_of(IDS))
    length = len(header).to_bytes(2 * version, 'little')
    content = b'\x93NUMPY' + bytes([version, 0]) + length + header.encode() + bytes(96)
    (path / 'label.npy').write_bytes(content)
    with pytest.raises(InputError, match='label.npy is not a readable .npy file: .') as raised:
        read.read_features(path)
    assert str(raised.value).isprintable() and len(str(raised.value)) < 600


@pytest.mark.parametrize('write', [np.savez, pickle.dump], ids=['archive', 'pickle'])
def test_an_array_that_is_another_file(tmp_path, write):
    path, written = write_folder(tmp_path / 'a', clips_of(IDS)), tmp_path / 'other'
    with written.open('wb') as file:
        write(file, np.arange(12)) if write is np.savez else write(np.arange(12), file)
    for content in (written.read_bytes(), written.read_bytes()[:60]):
        (path / 'label.npy').write_bytes(content)
        with pytest.raises(InputError, match='label.npy is not a readable .npy file'):
            read.read_features(path)


class Call:
    """Pickles as a call."""

    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


@pytest.mark.parametrize('protocol', [0, 2])
def test_nothing_in_a_feature_file_is_run(aggregate, tmp_path, protocol):
    marker = tmp_path / 'marker'
    blobs = {**clips_of(IDS), 'more': Call(open, str(marker), 'w')}
    write_pickle(tmp_path / 'evil' / 'f_1.pkl', blobs, protocol)
    result = aggregate(status=1, path=tmp_path / 'evil')
    assert 'f_1.pkl: refused: the pickle names' in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not marker.exists()


# Sums


@pytest.mark.parametrize('max_clip', [0, 1, 4])
@pytest.mark.parametrize('block', [1, 5 * CLASSES, 1 << 20])
def test_sums_are_those_of_a_loop(monkeypatch, tmp_path, files, max_clip, block):
    monkeypatch.setattr(read, 'BLOCK', block)
    sums = video_sums.VideoSums()
    for i, blobs in enumerate(files):
        path = write_pickle(tmp_path / f'{i}.pkl', blobs)
        sums.add(read.read_features(path), max_clip)
    videos, clip = reference(files, max_clip)
    table = sums.table
    assert table['video_id'].tolist() == sorted(videos)
    for row in table:
        video = videos[row['video_id']]
        assert (row['sums'] == video['sum']).all(), 'not the same to the last bit'
        assert (row['label'], row['summed']) == (video['label'], video['n'])
        assert row['clips_right'] == video['right']
    assert table['clips'].sum() == sums.clips == 60
    assert sums.clip_accuracy == clip
    assert sums.scores().shares == pytest.approx(shares(videos), abs=0)


def test_the_accuracies_rank_as_scores_does():
    scores = np.random.default_rng(0).integers(0, 3, (200, 12)) / 4.0
    labels = np.arange(200) % 12
    top1, top5 = VideoScores(labels, labels, scores, labels, {}).shares
    ranked = [rank(row).tolist().index(label) for row, label in zip(scores, labels)]
    assert (top1, top5) == (np.mean(np.less(ranked, 1)), np.mean(np.less(ranked, 5)))


def test_a_file_that_is_refused_adds_nothing(tmp_path):
    sums = video_sums.VideoSums()
    with pytest.raises(InputError, match='no feature file was added'):
        _ = sums.table
    sums.add(read.read_features(write_pickle(tmp_path / 'a.pkl', clips_of([5, 0]))))
    other = write_pickle(tmp_path / 'b.pkl', put('label', 1, 3)(clips_of([8, 0])))
    with pytest.raises(InputError, match=r'video 0 has label 2 in .*a.pkl and label 3 in .*b.pkl'):
        sums.add(read.read_features(other))
    assert (len(sums), sums.clips, sums.table['clips'].tolist()) == (2, 2, [1, 1])


# Aggregation


def test_aggregation_prints_what_a_loop_finds(aggregate, folder, files):
    expected = [
        f'{folder}/f_{number}.pkl has an accuracy of {line(*reference([blobs]))}'
        for number, blobs in zip((1, 2, 10), files)
    ]
    expected.append(f'Accuracy: {line(*reference(files))}')
    expected.append('videos: 7, clips: 60, files: 3')
    result = aggregate()
    assert result.stdout.splitlines() == expected
    assert result.stderr == ''


def test_the_clip_accuracy_is_over_clips_and_can_be_left_out(aggregate, files):
    """Not over videos, of which the small ones would weigh as much as the large."""
    right = [sum(f['softmax'].argmax(1) == f['label']) for f in files]
    stdout = aggregate('--max_clip=1').stdout
    assert f'Accuracy: clip {sum(right) / 60:.5f}, top1' in stdout
    stdout = aggregate('--output_clip_accuracy=0').stdout
    assert 'clip ' not in stdout
    assert re.search(r'^Accuracy: top1 0\.\d{5}, top5 \d\.\d{5}$', stdout, re.MULTILINE)


def test_max_clip_takes_the_first(aggregate, files):
    stdout = aggregate('--max_clip=2').stdout
    assert f'Accuracy: {line(*reference(files, 2))}' in stdout
    assert line(*reference(files, 2)) != line(*reference(files)), 'the case tells nothing'
    assert 'clips: 60' in stdout


@pytest.mark.parametrize('max_clip', [0, 2])
def test_predictions(aggregate, files, tmp_path, max_clip):
    aggregate('--output=p.csv', '--top_k=3', f'--max_clip={max_clip}')
    rows, (videos, _) = rows_of(tmp_path / 'p.csv'), reference(files, max_clip)
    assert [int(row['video_id']) for row in rows] == sorted(IDS)
    columns = (
        'video_id,label,top1,probability1,top2,probability2,top3,probability3,clips_right,clips'
    )
    assert ','.join(rows[0]) == columns
    for row in rows:
        video = videos[int(row['video_id'])]
        assert int(row['label']) == video['label']
        assert [int(row[f'top{k}']) for k in (1, 2, 3)] == video['order'][:3]
        probability = video['sum'][video['order'][0]] / video['n']
        assert float(row['probability1']) == pytest.approx(probability, abs=1e-6)
        assert int(row['clips_right']) == video['right']
    assert sum(int(row['clips']) for row in rows) == 60


def test_class_names(aggregate, tmp_path):
    (tmp_path / 'names.txt').write_text('\n'.join('abcdefg'))
    aggregate('--output=p.csv', '--labels=names.txt', '--top_k=100')
    rows = rows_of(tmp_path / 'p.csv')
    assert {row['label'] for row in rows} == set('abcdefg')
    assert {row[f'top{k}'] for row in rows for k in range(1, 8)} == set('abcdefg')
    (tmp_path / 'names.txt').write_text('a\nb')
    result = aggregate('--output=q.csv', '--labels=names.txt', status=1)
    assert 'names 2 classes; num_labels is 7' in result.stderr
    assert not (tmp_path / 'q.csv').exists()


def test_folders_of_arrays_are_the_same(aggregate, files, tmp_path):
    for number, blobs in zip((1, 2, 10), files):
        write_folder(tmp_path / 'arrays' / f'f_{number}', blobs)
    arrays = aggregate(path=tmp_path / 'arrays').stdout
    pickles = aggregate().stdout
    assert arrays.replace('/arrays/', '/features/') == pickles.replace('.pkl', '')


def test_how_clips_are_spread_over_files_changes_nothing(aggregate, files, tmp_path):
    together = {name: np.concatenate([blobs[name] for blobs in files]) for name in files[0]}
    write_pickle(tmp_path / 'one' / 'f.pkl', together)
    aggregate('--output=a.csv')
    stdout = aggregate('--output=b.csv', path=tmp_path / 'one').stdout
    assert (tmp_path / 'a.csv').read_bytes() == (tmp_path / 'b.csv').read_bytes()
    assert 'videos: 7, clips: 60, files: 1' in stdout


def test_fewer_than_five_classes(aggregate, tmp_path):
    write_pickle(tmp_path / 'few' / 'f.pkl', clips_of(random_ids(9, ids=IDS[:3]), classes=3))
    stdout = aggregate('--output=p.csv', path=tmp_path / 'few').stdout
    assert 'top5 1.00000' in stdout
    assert 'top3' in rows_of(tmp_path / 'p.csv')[0]
    assert 'top4' not in rows_of(tmp_path / 'p.csv')[0]


def test_a_full_disk_leaves_no_predictions(aggregate, tmp_path):
    (tmp_path / 'p.csv.partial').symlink_to('/dev/full')
    result = aggregate('--output=p.csv', status=1)
    assert 'No space left on device' in result.stderr
    assert 'Accuracy: ' in result.stdout
    assert not (tmp_path / 'p.csv').exists()


@pytest.mark.parametrize(
    ('arguments', 'message', 'status'),
    [
        (['--input_dir=none'], 'none is not a folder of feature files', 1),
        (['--input_dir=.'], '. has no feature files: *.pkl files, or sub-folders with', 1),
        (['--output=/dev/null/p.csv'], '/dev/null is a file, and no folder for p.csv', 1),
        (['--output=.'], '. is a folder; name a file', 1),
        (['--output=p.csv', '--labels=none.txt'], 'labels is none.txt, which is no file', 1),
        (['--max_clip=-1'], '-1 is less than 0', 2),
        (['--top_k=0'], '0 is less than 1', 2),
        (['--output_clip_accuracy=2'], "'2' is not 0 or 1", 2),
    ],
)
def test_mistakes_get_one_line(aggregate, arguments, message, status):
    result = aggregate(*arguments, status=status)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr
    assert result.stdout == ''


@pytest.mark.parametrize(
    ('blobs', 'message'),
    [
        (put('label', 2, 6)(clips_of([-3, 5, -3])), 'video -3 has label 1 in row 0 and label 6 in'),
        (put('label', 0, 4)(clips_of([-3, 5])), 'f_10.pkl and label 4 in'),
        (clips_of([0, 5], classes=3), 'softmax has 3 classes; that of'),
        ({'label': np.array([0])}, 'f_11.pkl has no softmax, video_id'),
    ],
)
def test_files_that_do_not_go_together(aggregate, folder, blobs, message):
    if 'f_10' in message:  # the file in which the video was first met
        for name in ('f_1.pkl', 'f_2.pkl'):
            (folder / name).unlink()
    write_pickle(folder / 'f_11.pkl', blobs)
    result = aggregate('--output=p.csv', status=1)
    assert message in result.stderr
    assert 'f_11.pkl' in result.stderr
    assert 'Accuracy: ' not in result.stdout
    assert not (folder.parent / 'p.csv').exists()


# Fusion


@pytest.fixture
def sides(tmp_path):
    """RGB and flow features in two files each; the sides have videos that the other has not."""
    rgb = [clips_of(random_ids(20, n, IDS[:6]), n) for n in (1, 2)]
    flow = [clips_of(random_ids(30, n, IDS[1:]), n) for n in (3, 4)]
    for name, blobs in (('rgb', rgb), ('flow', flow)):
        for number, one in enumerate(blobs, 1):
            write_pickle(tmp_path / name / f'{name}_{number}.pkl', one)
    return rgb, flow


def fused(sides, alpha):
    rgb, flow = (reference(blobs)[0] for blobs in sides)
    videos = {}
    for video_id in sorted(set(rgb) & set(flow)):
        one, other = rgb[video_id], flow[video_id]
        score = alpha * one['sum'] + (1 - alpha) * other['sum']
        order = sorted(range(CLASSES), key=lambda c: (-score[c], c))
        weight = alpha * one['n'] + (1 - alpha) * other['n']
        video = {'label': one['label'], 'order': order, 'best': score[order[0]] / weight}
        videos[video_id] = {**video, 'clips': [one['n'], other['n']]}
    return videos


def text(sides, alpha):
    top1, top5 = shares(fused(sides, alpha))
    return f'top1 {top1:.5f}, top5 {top5:.5f}'


def test_fusion_prints_what_a_loop_finds(fuse, sides, tmp_path):
    result = fuse('--file_count=2')
    videos = f'videos: 5 fused, 1 only in {tmp_path}/rgb, 1 only in {tmp_path}/flow'
    assert result.stdout.splitlines() == [videos, f'Alpha 0.5: {text(sides, 0.5)}']
    only = [f'videos only in {tmp_path}/rgb: 5', f'videos only in {tmp_path}/flow: 8']
    assert result.stderr.splitlines() == only


def test_a_sweep_with_its_plot_and_predictions(fuse, sides, tmp_path):
    result = fuse('--file_count=2', '--alpha=sweep', '--plot=new/a.png', '--output=made/p.csv')
    alphas = [i / 20 for i in range(21)]
    lines = result.stdout.splitlines()
    assert lines[1:22] == [f'Alpha {alpha:g}: {text(sides, alpha)}' for alpha in alphas]
    best = max(alphas, key=lambda alpha: (shares(fused(sides, alpha))[0], -alpha))
    assert lines[22:] == [f'Best: alpha {best:g}, {text(sides, best)}']
    assert f'made/p.csv has the predictions of alpha {best:g}' in result.stderr
    assert (tmp_path / 'new' / 'a.png').read_bytes().startswith(b'\x89PNG')
    assert not (tmp_path / 'new' / 'a.png.partial').exists()
    rows, videos = rows_of(tmp_path / 'made' / 'p.csv'), fused(sides, best)
    assert [int(row['video_id']) for row in rows] == list(videos)
    for row, video in zip(rows, videos.values()):
        assert [int(row[f'top{k}']) for k in range(1, 6)] == video['order'][:5]
        assert float(row['probability1']) == pytest.approx(video['best'], abs=1e-6)
        assert [int(row['clips1']), int(row['clips2'])] == video['clips']


def test_a_list_of_alphas(fuse, sides):
    lines = fuse('--file_count=2', '--alpha=1,0,0.25,1.0').stdout.splitlines()
    assert [re.match(r'(Alpha )?[\w.]+: ', line).group() for line in lines[1:]] == [
        'Alpha 0: ', 'Alpha 0.25: ', 'Alpha 1: ', 'Best: ',
    ]  # fmt: skip


def test_the_lowest_of_the_best_alphas():
    assert fusion.best({0.75: (0.5, 0.9), 0.25: (0.5, 0.6), 0.0: (0.25, 1.0)}) == 0.25


def test_an_alpha_of_1_is_the_first_side_alone(fuse, sides, run_tool, tmp_path):
    for name in ('rgb', 'flow'):  # the same videos on both sides
        for path in (tmp_path / name).iterdir():
            path.unlink()
        write_pickle(tmp_path / name / 'f_1.pkl', clips_of(IDS * 5, seed=len(name)))
    stdout = fuse('--file_count=1', '--alpha=0,1').stdout
    write_pickle(tmp_path / 'flow' / 'f_2.pkl', clips_of(IDS * 5, seed=1))
    warned = fuse('--file_count=1', '--alpha=0,1')
    assert warned.stdout == stdout
    assert 'f_2.pkl is not used: file_count is 1' in warned.stderr
    (tmp_path / 'flow' / 'f_2.pkl').unlink()
    for alpha, name in ((1, 'rgb'), (0, 'flow')):
        alone = run_tool(AGGREGATION, f'--input_dir={tmp_path / name}').stdout
        top = re.search(r'Accuracy: .*(top1 .*)', alone).group(1)
        assert f'Alpha {alpha}: {top}' in stdout


def test_absent_files_are_named(fuse, sides, tmp_path):
    (tmp_path / 'flow' / 'flow_1.pkl').unlink()
    write_folder(tmp_path / 'flow' / 'flow_3', sides[1][0])
    result = fuse('--file_count=4')
    assert f'{tmp_path}/rgb has no feature file ending in _3, _4' in result.stderr
    assert f'{tmp_path}/flow has no feature file ending in _1, _4' in result.stderr
    # In the order of the numbers, so flow's second file comes first.
    assert f'Alpha 0.5: {text((sides[0], sides[1][::-1]), 0.5)}' in result.stdout


def test_of_many_one_sided_videos_the_first_are_listed(fuse, tmp_path):
    one = {'softmax': np.ones((30, 2), np.float32), 'label': np.zeros(30, int)}
    write_pickle(tmp_path / 'rgb' / 'f_1.pkl', {**one, 'video_id': np.arange(30)})
    write_pickle(tmp_path / 'flow' / 'f_1.pkl', {**one, 'video_id': np.full(30, 29)})
    result = fuse('--file_count=1')
    assert 'videos: 1 fused, 29 only in' in result.stdout
    assert re.search(r'rgb: 0, 1, .*, 19 and 9 more$', result.stderr, re.MULTILINE)
    assert 'only in' not in result.stderr.replace(f'only in {tmp_path}/rgb', '')


@pytest.mark.parametrize(
    ('arguments', 'message', 'status'),
    [
        (['--input_dir1=none'], 'none is not a folder', 1),
        (['--input_dir2=.'], '. has no feature files', 1),
        (['--plot=a.png'], 'alpha is 0.5 alone; a plot needs several', 1),
        (['--alpha=sweep', '--plot=a.pdf'], 'plot is a.pdf; its name has to end in .png', 1),
        (['--output=p.csv', '--labels=none.txt'], 'labels is none.txt, which is no file', 1),
        (['--plot=/dev/null/a.png', '--alpha=sweep'], '/dev/null is a file, and no folder', 1),
        (['--output=/dev/null/a.csv'], '/dev/null is a file, and no folder for a.csv', 1),
        (['--alpha=1.5'], '1.5 is not in 0 to 1', 2),
        (['--alpha=nan'], 'nan is not in 0 to 1', 2),
        (['--alpha=0.1,'], "'' is not a number, nor sweep", 2),
        (['--alpha=all'], "'all' is not a number, nor sweep", 2),
        (['--file_count=0'], '0 is less than 1', 2),
    ],
)
def test_mistakes_of_fusion_get_one_line(fuse, sides, arguments, message, status):
    result = fuse(*arguments, status=status)
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr
    assert result.stdout == ''


@pytest.mark.parametrize(
    ('name', 'blobs', 'message'),
    [
        ('a_1.pkl', clips_of([5]), 'flow has several files ending in _1: a_1.pkl, f_1.pkl; keep'),
        ('f_2.pkl', put('label', 0, 5)(clips_of([-3])), 'video -3 has label 1 in '),
        ('f_1.pkl', clips_of([8]), 'rgb (2 videos) and '),
        ('f_1.pkl', clips_of([0, 5], classes=3), 'rgb has 7 classes, '),
        ('f_3.pkl', None, 'flow has no feature file ending in _1.pkl to _2.pkl'),
    ],
)
def test_sides_that_do_not_go_together(fuse, tmp_path, name, blobs, message):
    write_pickle(tmp_path / 'rgb' / 'f_1.pkl', clips_of([5, -3]))
    other = write_pickle(tmp_path / 'flow' / 'f_1.pkl', clips_of([5]))
    if blobs is None:
        other.rename(other.with_name(name))
    else:
        write_pickle(tmp_path / 'flow' / name, blobs)
    result = fuse('--file_count=2', '--output=p.csv', status=1)
    assert message in result.stderr
    assert result.stdout == ''
    assert not (tmp_path / 'p.csv').exists()


def test_a_pipe_in_the_place_of_an_array_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / 'softmax.npy')
    with pytest.raises(InputError, match='softmax.npy is not a regular file but a FIFO'):
        read.read_features(tmp_path)
