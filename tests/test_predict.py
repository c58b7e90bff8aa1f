"""tools/predict.py and r2plus1d.predict: what is in video files."""

import csv
import errno
import io
import json
import os
import pathlib
import pickle

import numpy as np
import pytest

import r2plus1d
from conftest import ROOT
from r2plus1d.cli.prediction_output import Lines
from r2plus1d.datasets import synthetic
from r2plus1d.errors import InputError
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.results.hold import holding
from r2plus1d.video.encode import write_video
from sounding_videos import pictures_of, sound_of, write_sounding
from tool_here import run_here

WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
FLOW_WEIGHTS = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125_of.pkl'
LOAD = f'--load_model_path={WEIGHTS}'
CLASSES = ('left', 'zoom_in')


@pytest.fixture(scope='module')
def model():
    return r2plus1d.load(WEIGHTS)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder of two videos of known motions, one that is no video and one that is too short."""
    path = tmp_path_factory.mktemp('videos')
    for number, label in enumerate(CLASSES):
        rng = np.random.default_rng([3, number])
        scene = synthetic.make_scene(label, rng, size=(176, 144), num_frames=40)
        write_video(path / f'{label}.mp4', synthetic.render(scene), fps=25)
    (path / 'no.mp4').write_bytes(b'no video')
    frames = [np.zeros((32, 32, 3), np.uint8)] * 5
    write_video(path / 'short.mp4', frames, fps=25)
    return path


@pytest.fixture
def predict(tmp_path, monkeypatch):
    """Return a function that runs the tool in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_here('tools/predict.py', LOAD, *arguments)


def failures_in(folder):
    with (folder / 'failures.csv').open(newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_two_runs_do_not_write_one_output(predict, folder, tmp_path):
    with holding('p.txt'):
        done = predict(folder / f'{CLASSES[0]}.mp4', '--output=p.txt', '--failures=other.csv')
    assert done.returncode == 1
    assert 'p.txt is being written by process' in done.stderr


def test_what_is_done_outlives_an_interruption(predict, folder, tmp_path, monkeypatch):
    def interrupted(*given, **settings):
        yield next(iter(real(*given, **settings)))
        assert (tmp_path / 'p.csv.partial').read_text().count('\n') == 2  # as a kill leaves it
        raise KeyboardInterrupt

    real = r2plus1d.stream_predictions
    monkeypatch.setattr(r2plus1d, 'stream_predictions', interrupted)
    videos = [folder / f'{label}.mp4' for label in CLASSES]
    done = predict(*videos, '--output=p.csv', '--format=csv')
    assert done.returncode == 130
    assert 'the predictions so far are in p.csv.partial' in done.stderr
    assert (tmp_path / 'p.csv.partial').read_text().count('\n') == 2
    assert not (tmp_path / 'p.csv').exists()


def test_a_table_on_80_columns(predict, folder):
    done = predict(*(folder / f'{label}.mp4' for label in CLASSES), '--top_k=3')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line for line in lines if line[0] != ' '] == [
        str(folder / f'{label}.mp4') for label in CLASSES
    ]
    assert [line.split()[1] for line in (lines[1], lines[5])] == list(CLASSES)
    assert len(lines) == 8


def test_dense_clips_have_times_and_fit_into_the_screen(predict, folder):
    done = predict(folder / 'left.mp4', '--clips=dense', '--stride=16', '--top_k=8')
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()[1:]
    assert all(len(line) <= 80 for line in lines)
    clips = [line.split() for line in lines if ' to ' in line]
    times = [(words[0], words[2]) for words in clips]
    assert times == [('0.00', '0.32'), ('0.64', '0.96'), ('1.28', '1.60')]
    assert {words[4] for words in clips} == {'left'}


def test_json_has_every_file_and_clip(predict, folder, tmp_path, model):
    done = predict(folder, '--format=json', '--clips=dense', '--top_k=2')
    assert done.returncode == 3
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert {tuple(row) for row in rows} == {
        ('file', 'of', 'start_seconds', 'end_seconds', 'names', 'probabilities', 'failure')
    }
    videos = [row for row in rows if row['of'] == 'video']
    assert [row['file'].rsplit('/')[-1] for row in videos] == [
        'left.mp4', 'no.mp4', 'short.mp4', 'zoom_in.mp4',
    ]  # fmt: skip
    assert [row['names'][:1] for row in videos] == [['left'], [], [], ['zoom_in']]
    assert (videos[0]['start_seconds'], videos[0]['end_seconds']) == (0, 1.6)
    assert 'not a video' in videos[1]['failure']
    assert videos[2]['failure'] == 'too few frames: 5, and a clip needs 8'
    clips = [row for row in rows if row['of'] == 'clip' and row['file'].endswith('left.mp4')]
    assert [row['start_seconds'] for row in clips] == [0, 0.32, 0.64, 0.96, 1.28]
    (expected,) = r2plus1d.predict(model, folder / 'left.mp4', clips='dense', top_k=2)
    for row, clip in zip(clips, expected.clips):
        assert row['names'] == [name for name, _ in clip.classes]
        assert row['probabilities'] == [round(p, 6) for _, p in clip.classes]
    assert [row['reason'] for row in failures_in(tmp_path)] == [
        row['failure'] for row in videos[1:3]
    ]
    assert '2 failed, listed in failures.csv' in done.stderr


def test_csv_has_a_header_and_no_failures(predict, folder):
    done = predict(folder, '--format=csv', '--top_k=2', '--max_failures=2', '--clips=1')
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert list(rows[0]) == [
        'file', 'of', 'start_seconds', 'end_seconds', 'top1', 'probability1', 'top2',
        'probability2',
    ]  # fmt: skip
    assert [row['top1'] for row in rows] == list(CLASSES)
    assert [(row['start_seconds'], row['end_seconds']) for row in rows] == [('0.000', '0.320')] * 2


def test_the_words_may_stand_anywhere_and_begin_with_dashes(predict, folder, tmp_path):
    for name in ('--odd.mp4', 'plain.mp4'):
        (tmp_path / name).write_bytes((folder / 'left.mp4').read_bytes())
    done = run_here('tools/predict.py', 'plain.mp4', LOAD, '--clips=1', '--', '--odd.mp4')
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line[0] != ' '] == [
        'plain.mp4', '--odd.mp4',
    ]  # fmt: skip


@pytest.mark.parametrize('shards', [False, True])
def test_a_path_of_a_list_that_is_not_there_costs_one_record(predict, folder, tmp_path, shards):
    (tmp_path / 'list.txt').write_text(f'gone.mp4\n{folder / "left.mp4"}\n')
    if shards:
        assert predict('list.txt', '--output=p.txt', '--shard=0/2').returncode == 0
        done = predict('list.txt', '--output=p.txt', '--shard=1/2', '--max_failures=1')
    else:
        done = predict('list.txt', '--output=p.txt', '--max_failures=1')
    assert done.returncode == 0, done.stderr
    assert 'gone.mp4' in (tmp_path / 'failures.csv').read_text()
    assert str(folder / 'left.mp4') in (tmp_path / 'p.txt').read_text()


@pytest.mark.parametrize(
    ('words', 'status', 'message'),
    [
        ([], 2, 'the following arguments are required: --videos'),
        (['v.mp4', '--clips=many'], 2, "'many' is neither a number of clips, such as 10, nor den"),
        (['v.mp4', '--format=xml'], 2, "'xml' is unknown; known: table, json, csv"),
        (['gone.mp4'], 1, 'gone.mp4 does not exist'),
        (['v.mp4', '--labels=hmdb51'], 1, 'hmdb51 names 51 classes; num_labels is 8'),
        (['v.mp4', '--annotate=a.gif/b'], 1, 'a.gif is a file, and no folder for v.mp4'),
        (['v.mp4', '--annotate=v.mp4'], 1, 'annotate is v.mp4, which videos names'),
        (['v.mp4', 'w.mp4', '--annotate=a.mp4'], 1, 'there are 2 videos: name a folder'),
        (['v.mp4', '--failures=.'], 1, '. is a folder; name a file'),
    ],
)
def test_what_cannot_be_done_is_one_line(predict, folder, tmp_path, words, status, message):
    for name in ('v.mp4', 'w.mp4', 'a.gif'):
        (tmp_path / name).write_bytes((folder / 'left.mp4').read_bytes())
    done = predict(*words)
    assert (done.returncode, done.stdout) == (status, '')
    (line,) = done.stderr.splitlines()
    assert line.startswith('predict.py: ')
    assert message in line
    assert {path.name for path in tmp_path.iterdir()} == {'v.mp4', 'w.mp4', 'a.gif'}


def test_annotated_videos_of_a_folder(predict, folder, tmp_path):
    videos = tmp_path / 'in'
    videos.mkdir()
    write_sounding(videos / 'tone.mkv')
    (videos / 'tone.mp4').write_bytes((folder / 'left.mp4').read_bytes())
    (videos / 'no.mp4').write_bytes(b'no video')
    done = predict(videos, '--annotate=out', '--heatmap', '--clips=dense')
    assert done.returncode == 3
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'tone.mp4', 'tone_2.mp4'}
    assert len(pictures_of(tmp_path / 'out' / 'tone.mp4')) == 50
    assert sound_of(tmp_path / 'out' / 'tone.mp4')[0] == 'aac'
    assert len(pictures_of(tmp_path / 'out' / 'tone_2.mp4')) == 40
    assert [row['path'] for row in failures_in(tmp_path)] == [str(videos / 'no.mp4')]


def test_optical_flow_has_heat_maps_too(predict, folder, tmp_path):
    done = run_here(
        'tools/predict.py', folder / 'left.mp4', f'--load_model_path={FLOW_WEIGHTS}',
        '--annotate=out.mp4', '--heatmap=1', '--clips=2',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].endswith('  left')
    assert len(pictures_of(tmp_path / 'out.mp4')) == 40


def test_classes_without_names_are_numbers_and_it_says_so(predict, folder, tmp_path):
    parameters = random_parameters(Network(depth=10, num_labels=487, width=0.02), seed=0)
    (tmp_path / 'w.pkl').write_bytes(pickle.dumps({'blobs': parameters}, 2))
    flags = [folder / 'left.mp4', '--load_model_path=w.pkl', '--clip_length_rgb=8', '--format=json']
    done = run_here('tools/predict.py', *flags, '--clips=1')
    assert done.returncode == 0, done.stderr
    assert all(isinstance(name, int) for name in json.loads(done.stdout)['names'])
    assert 'classes are numbers: w.pkl has no names of them' in done.stderr
    done = run_here('tools/predict.py', *flags, '--clips=1', '--labels=sports1m')
    names = r2plus1d.load('w.pkl', length=8, class_names='sports1m').class_names
    assert set(json.loads(done.stdout)['names']) <= set(names)
    assert 'classes are numbers' not in done.stderr


@pytest.mark.parametrize('crops', [1, 3])
def test_dense_clips_are_those_of_feature_extraction(model, folder, tmp_path, crops):
    """The same clips and the same bits as r2plus1d.extract gives, and their means."""
    how = {'stride': r2plus1d.Stride(frames=5), 'crops': crops}
    path = folder / 'zoom_in.mp4'
    (prediction,) = r2plus1d.predict(model, path, clips='dense', **how)
    r2plus1d.extract(model, path, tmp_path / 'f', features='softmax,start_frame', **how)
    softmax, starts = (np.load(tmp_path / 'f' / f'{n}.npy') for n in ('softmax', 'start_frame'))
    assert len(softmax) == crops * len(prediction.clips)
    assert [clip.start_frame for clip in prediction.clips] == starts[::crops].tolist()
    for clip, rows in zip(prediction.clips, softmax.reshape(-1, crops, 8)):
        np.testing.assert_array_equal(clip.probabilities, rows.mean(axis=0))
    np.testing.assert_array_equal(prediction.probabilities, softmax.mean(axis=0))
    assert prediction.seconds == (0.0, pytest.approx((starts[-1] + 8) / 25))


def test_clips_and_crops_are_put_together(model, folder):
    path = folder / 'left.mp4'
    (prediction,) = r2plus1d.predict(model, path, clips=3, crops=3, aggregation='max')
    assert [clip.start_frame for clip in prediction.clips] == [0, 16, 32]
    singles = [r2plus1d.predict(model, path, clips=3, crops=1)[0].clips[i] for i in range(3)]
    for clip, single in zip(prediction.clips, singles):
        assert clip.seconds == single.seconds
        assert clip.classes[0][0] == single.classes[0][0] == 'left'
        assert abs(clip.probabilities.sum() - 1) < 1e-5
    assert prediction.probabilities.max() >= max(c.probabilities.max() for c in prediction.clips)


def test_predictions_come_one_by_one(model, folder):
    stream = r2plus1d.stream_predictions(model, [folder / f'{c}.mp4' for c in CLASSES], clips=1)
    assert next(stream).classes[0][0] == 'left'
    stream.close()


def test_a_clip_that_fails_leaves_the_others(model, folder, monkeypatch, decode_here):
    from r2plus1d.sources import grouped

    made = grouped._made

    def fails_later(source, settings, starts):
        for number, (start, clips, failure) in enumerate(made(source, settings, starts)):
            broken = number in (1, 2)
            yield start, None if broken else clips, 'it is broken' if broken else failure

    monkeypatch.setattr(grouped, '_made', fails_later)
    (prediction,) = r2plus1d.predict(model, folder / 'left.mp4', clips='dense')
    assert [clip.failure for clip in prediction.clips] == [None, *['it is broken'] * 2, None, None]
    assert prediction.failure is None
    assert prediction.classes[0][0] == 'left'
    good = [clip.probabilities for clip in prediction.clips if clip.failure is None]
    np.testing.assert_array_equal(prediction.probabilities, np.mean(good, axis=0))
    shown = list(Lines('table', top_k=5, with_clips=True).of(prediction))
    assert sum('failed: it is broken' in line for line in shown) == 2


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'clips': 'sparse'}, 'clips is sparse; a number, or dense'),
        ({'stride': r2plus1d.Stride(8)}, 'stride is for clips=dense'),
        ({'aggregation': 'median'}, 'aggregation is median; known: mean, max'),
        ({'top_k': 0}, 'top_k is 0; at least 1'),
    ],
)
def test_settings_that_cannot_be(model, folder, settings, message):
    with pytest.raises(InputError, match=message):
        r2plus1d.predict(model, folder / 'left.mp4', **settings)


def test_class_names_of_a_model(tmp_path):
    (tmp_path / 'n.txt').write_text('a\nb\nc\nd\ne\nf\ng\nh\n')
    for names in (tmp_path / 'n.txt', str(tmp_path / 'n.txt'), list('abcdefgh')):
        assert r2plus1d.load(WEIGHTS, class_names=names).class_names == tuple('abcdefgh')
    with pytest.raises(InputError, match='class_names has 2 names; num_labels is 8'):
        r2plus1d.load(WEIGHTS, class_names=['a', 'b'])


def test_names_cannot_write_to_a_terminal():
    said = (('\x1b[31mred', 0.5), ('plain, with a comma', 0.25))
    clip = r2plus1d.ClipPrediction(0, (None, 1.5), said, np.ones(2))
    prediction = r2plus1d.Prediction('a\nb.mp4', said, np.ones(2), None, (clip,))
    lines = list(Lines('table', top_k=2, with_clips=True).of(prediction))
    assert all(line.isprintable() for line in lines)
    assert lines[0] == 'a\\nb.mp4'
    assert '?' in lines[-1]
    (row,) = csv.reader(
        io.StringIO(list(Lines('csv', top_k=2, with_clips=False).of(prediction))[0])
    )
    assert row[0] == 'a\nb.mp4'
    video, its_clip = map(json.loads, Lines('json', top_k=2, with_clips=True).of(prediction))
    assert (its_clip['start_seconds'], its_clip['end_seconds']) == (None, 1.5)


def test_two_runs_do_not_write_one_list_of_failures(predict, folder, tmp_path):
    with holding(tmp_path / 'failures.csv'):
        result = predict(folder / 'left.mp4')
    assert result.returncode == 1
    message = 'predict.py: failures.csv is being written by process '
    assert result.stderr.splitlines()[-1].startswith(message)
    assert (result.stdout, list(tmp_path.iterdir())) == ('', [])


def test_a_folder_without_write_access_is_enough_where_nothing_fails(
    predict, folder, tmp_path, monkeypatch
):
    open_file = pathlib.Path.open

    def refuse(path, mode='r', *args, **options):
        if path.name.startswith('failures.csv') and mode != 'r':
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_file(path, mode, *args, **options)

    monkeypatch.setattr('pathlib.Path.open', refuse)
    assert predict(folder / 'left.mp4').returncode == 0
    failed = predict(folder / 'no.mp4')
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].endswith('failures.csv: Permission denied')


def test_a_file_that_is_no_list_of_failures_stays(predict, folder, tmp_path):
    (tmp_path / 'failures.csv').write_text('my own\n')
    result = predict(folder / 'no.mp4')
    assert result.returncode == 1
    assert 'predict.py: failures.csv is no list of failed records' in result.stderr
    assert (tmp_path / 'failures.csv').read_text() == 'my own\n'
