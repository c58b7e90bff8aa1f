"""tools/extract_features.py of video files, without a database."""

import os
import pickle

import numpy as np
import pytest

from extraction import FLAGS, TOOL, by_hand, files_of, rows_of, run_here, save_weights
from r2plus1d.datasets.video_files import find_videos
from r2plus1d.sources.file_source import Stride, VideoFiles
from r2plus1d.video import decode
from r2plus1d.video.clip_settings import ClipSettings

COUNTED = ClipSettings(length=8, decode_type='frame')


@pytest.fixture
def folder(make_video, tmp_path):
    """Videos in a folder and a list, one of them too short, and what is no video."""
    for name, video in {
        'in/b.mp4': make_video(20, seed=1),
        'in/a.MKV': make_video(17, 'mkv', seed=2),
        'in/deep/c.avi': make_video(12, 'avi', seed=3, fps=10),
        'in/short.mp4': make_video(5),
        'listed.mp4': make_video(9, seed=4),
        'alone.data': make_video(8, seed=5),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(video.read_bytes())
    (tmp_path / 'in' / 'notes.txt').write_text('not a video')
    (tmp_path / 'list.txt').write_text('\nlisted.mp4\r\n  in/b.mp4\n\n')
    return tmp_path


EVERY = ['in/a.MKV', 'in/b.mp4', 'in/deep/c.avi', 'in/short.mp4', 'listed.mp4', 'alone.data']


@pytest.fixture
def extract(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def run(*arguments):
        videos = [] if '--videos' in arguments else ['--videos', 'in', 'list.txt', 'alone.data']
        return run_here(*videos, *FLAGS, *arguments)

    return run


def test_a_folder_a_list_and_a_file(extract, folder):
    weights = save_weights(folder)
    flags = ['--features=softmax,video_id,start_frame', '--stride=6', weights]
    result = extract(*flags, '--output_path=f.pkl')
    assert result.returncode == 3
    assert 'records: 9, extracted: 8, failed: 1' in result.stdout
    found = pickle.loads((folder / 'f.pkl').read_bytes())
    starts = {0: [0, 6], 1: [0, 6, 12], 2: [0], 4: [0], 5: [0]}
    clips = [(number, start) for number in starts for start in starts[number]]
    assert list(zip(found['video_id'].tolist(), found['start_frame'].tolist())) == clips
    expected = by_hand([(folder / EVERY[n], 0, s) for n, s in clips], ['softmax'], COUNTED)
    np.testing.assert_array_equal(found['softmax'], expected['softmax'])
    failures = rows_of(folder / 'f.failures.csv')
    assert [(row['path'], row['video_id'], row['reason']) for row in failures] == [
        ('in/short.mp4', '3', 'too few frames: 5, and a clip needs 8')
    ]


def test_rows_say_when_a_clip_is_shown(extract, folder):
    extract('--features=start_frame', '--stride=4', '--output_path=f.pkl')
    rows = rows_of(folder / 'f.rows.csv')
    assert list(rows[0]) == [
        'row', 'record', 'file', 'label', 'video_id', 'start_frame', 'start_seconds',
        'end_seconds',
    ]  # fmt: skip
    assert [int(row['row']) for row in rows] == list(range(len(rows)))
    assert [EVERY.index(row['file']) for row in rows] == [int(row['video_id']) for row in rows]
    assert {row['label'] for row in rows} == {''}
    for row in rows:
        rate = 10 if row['file'].endswith('avi') else 25
        times = [float(row['start_seconds']), float(row['end_seconds'])]
        first = int(row['start_frame'])
        np.testing.assert_allclose(times, [first / rate, (first + 8) / rate], atol=0.021)


def test_a_stride_in_seconds_and_none(extract, folder):
    flags = ['--features=start_frame', '--overwrite=1', '--output_path=f.pkl']

    def starts(*arguments):
        extract(*flags, *arguments)
        rows = rows_of(folder / 'f.rows.csv')
        return [[int(row['start_frame']) for row in rows if row['file'] == name] for name in EVERY]

    # 25 frames a second, but c.avi has 10
    assert starts('--stride=0.2s') == [[0, 5], [0, 5, 10], [0, 2, 4], [], [0], [0]]
    assert starts('--stride=0.1s') == [
        [0, 2, 5, 8], [0, 2, 5, 8, 10, 12], [0, 1, 2, 3, 4], [], [0], [0],
    ]  # fmt: skip
    assert starts() == [[0, 8], [0, 8], [0], [], [0], [0]]
    assert starts('--sampling_rate_rgb=2') == [[0], [0], [], [], [], []]


def test_the_first_clips_only_and_the_order_of_batches(extract, folder):
    flags = ['--features=video_id,start_frame', '--stride=1', '--batch_size=4']
    extract(*flags, '--output_path=f.pkl')
    every = pickle.loads((folder / 'f.pkl').read_bytes())
    extract(*flags, '--num_iterations=4', '--output_path=g.pkl')
    few = pickle.loads((folder / 'g.pkl').read_bytes())
    assert few['video_id'].tolist() == every['video_id'].tolist()[:16]
    assert few['start_frame'].tolist() == every['start_frame'].tolist()[:16]


def test_in_a_process_of_its_own_with_the_defaults(run_tool, folder):
    result = run_tool(TOOL, '--videos', 'list.txt', *FLAGS, '--features=data', cwd=folder)
    assert result.returncode == 0, result.stderr
    assert 'data: float32, 3x3x8x112x112' in result.stdout
    made = {name for name in files_of(folder) if name.startswith('features')}
    assert made == {'features.pickle', 'features.rows.csv', 'features.arguments.json'}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--features=label,data'], 'features asks for label, and videos have none'),
        (['--decode_type=1'], 'decode_type is for databases; videos gives clips at a --stride'),
        (['--clip_per_video=3'], 'clip_per_video is for databases'),
        (['--use_local_file=1'], 'use_local_file is for databases'),
        (['--clip_start_positions=3'], 'clip_start_positions is for databases'),
        (['--test_data=x'], 'give --test_data=LMDB, or --videos with files or folders'),
        (['--videos', 'none'], 'none does not exist; videos takes files, folders and .txt'),
        (['--videos', 'empty'], 'no videos in empty: files that end in .mp4'),
        (['--videos', 'fifo.mp4'], 'fifo.mp4 is not a regular file but a FIFO; videos takes'),
        (['--videos', 'fifo.txt'], 'fifo.txt is not a regular file but a FIFO; videos takes'),
    ],
)
def test_mistakes_get_one_line(extract, folder, arguments, message):
    (folder / 'empty').mkdir()
    for name in 'fifo.mp4', 'fifo.txt':
        os.mkfifo(folder / name)
    given = arguments if '--features=label,data' in arguments else ['--features=data', *arguments]
    result = extract(*given)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert message in result.stderr


def test_a_path_of_a_list_without_a_file_costs_that_path(extract, folder):
    (folder / 'bad.txt').write_text('listed.mp4\ngone.mp4\nin\n')
    result = extract('--videos', 'bad.txt', '--features=start_frame', '--output_path=f.pkl')
    assert result.returncode == 3
    assert 'records: 3, extracted: 1, failed: 2' in result.stdout
    assert (
        'bad.txt: 2 of 3 paths are of no file, the first gone.mp4 (looked for in' in result.stderr
    )
    reasons = [row['reason'] for row in rows_of(folder / 'f.failures.csv')]
    assert reasons == [f'missing file in {folder}', 'not a regular file but a folder']


def test_a_list_may_begin_with_a_byte_order_mark(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / 'marked.txt').write_text('listed.mp4\n', encoding='utf-8-sig')
    assert [str(path) for path in find_videos(['marked.txt'])] == ['listed.mp4']


def test_videos_are_found_once_and_in_order(folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert [str(path) for path in find_videos(['in', 'list.txt', 'alone.data'])] == EVERY
    names = [str(path) for path in find_videos(['list.txt', 'in', 'list.txt', 'in/b.mp4'])]
    assert names == ['listed.mp4', 'in/b.mp4', 'in/a.MKV', 'in/deep/c.avi', 'in/short.mp4']


def test_any_name_can_be_listed(make_video, tmp_path):
    name = os.fsencode(tmp_path) + b'/caf\xe9 x.mp4'
    with open(name, 'wb') as file:  # noqa: PTH123 - a name that is no text
        file.write(make_video(20).read_bytes())
    (tmp_path / 'list.txt').write_bytes(name + b'\n')
    (path,) = find_videos([tmp_path / 'list.txt'])
    assert os.fsencode(path) == name
    source = VideoFiles([path], COUNTED, Stride(4))
    samples = list(source.samples())
    assert [sample.start_frame for sample in samples] == [0, 4, 8, 12]
    assert [sample.failure for sample in samples] == [None] * 4
    assert source.identity


def test_a_missing_file_and_one_without_a_rate(make_video, decode_here, tmp_path, monkeypatch):
    paths = [tmp_path / 'none.mp4', make_video(20)]
    source = VideoFiles(paths, COUNTED, Stride(8))
    assert len(source) == 3
    failures = [sample.failure for sample in source.samples()]
    assert failures == ['missing file', None, None]
    monkeypatch.setattr(decode.Video, 'frames_a_second', None)
    source = VideoFiles(paths, COUNTED, Stride(seconds=0.5))
    assert [sample.failure for sample in source.samples()] == [
        'missing file', 'it does not say how many frames a second it has: give stride in frames',
    ]  # fmt: skip


def test_what_the_identity_tells(make_video):
    paths = [make_video(20), make_video(20, seed=1)]
    known = {
        VideoFiles(*arguments).identity
        for arguments in (
            (paths, COUNTED, Stride(4)), (paths, COUNTED, Stride(5)),
            (paths[::-1], COUNTED, Stride(4)), (paths[:1], COUNTED, Stride(4)),
        )
    }  # fmt: skip
    assert len(known) == 4
    assert VideoFiles(paths, COUNTED, Stride(4), threads=1).identity in known


def test_going_on_inside_a_video(make_video):
    source = VideoFiles([make_video(30), make_video(20)], COUNTED, Stride(3), limit=11)
    every = list(source.samples())
    assert len(source) == len(every) == 11
    for first in (1, 7, 9, 11):
        rest = list(source.samples(first, threads=2, batch=3))
        assert [sample.index for sample in rest] == list(range(first, 11))
        for sample, expected in zip(rest, every[first:]):
            np.testing.assert_array_equal(sample.clips.pixels, expected.clips.pixels)


def test_without_a_stride_a_clip_begins_at_each_frame(make_video):
    samples = list(VideoFiles([make_video(12)], COUNTED, Stride()).samples())
    assert [sample.start_frame for sample in samples] == [0, 1, 2, 3, 4]
