"""What is looked at in the videos of a list before a database is made of them."""

import csv
import os
import pathlib

import av
import pytest

from r2plus1d.datasets import check
from r2plus1d.datasets.check import check_videos, require_own_ids, split_rows
from r2plus1d.datasets.database import Database
from r2plus1d.datasets.lists import BadRow, GoodRow, Row
from r2plus1d.datasets.record import decode
from r2plus1d.results.hold import holding

TOOL = 'data/create_video_db.py'


@pytest.fixture
def folder(make_video, audio_only, tmp_path, monkeypatch):
    """Three videos, and files that are none."""
    monkeypatch.chdir(tmp_path)
    for name, video in (('a.mp4', make_video(12)), ('b.mkv', make_video(12, 'mkv', seed=1)),
                        ('c.avi', make_video(9, 'avi', seed=2))):  # fmt: skip
        pathlib.Path(name).write_bytes(video.read_bytes())
    pathlib.Path('text.mp4').write_text('no video')
    pathlib.Path('sound.mp4').write_bytes(audio_only)
    whole = make_video(12).read_bytes()
    pathlib.Path('cut.mp4').write_bytes(whole[: len(whole) // 2])
    return tmp_path


PROBLEMS = {
    'a.mp4': None,
    'text.mp4': 'not a video, or truncated (8 bytes: Invalid data found when processing input)',
    'b.mkv': None,
    'sound.mp4': 'no video stream',
    'c.avi': None,
    'gone.mp4': 'missing file in {folder}',
}


def test_videos_are_opened(folder):
    problems = list(check_videos(list(PROBLEMS), threads=2))
    expected = [p and p.format(folder=folder) for p in PROBLEMS.values()]
    assert problems == expected
    (problem,) = check_videos(['cut.mp4'], threads=1)
    assert 'truncated' in problem


def test_a_video_without_a_frame_that_decodes(folder, decode_here, monkeypatch):
    monkeypatch.setattr(check.Video, 'frames_at', lambda *a: iter(()))
    assert list(check_videos(['a.mp4'], threads=1)) == ['no frame decodes']


def test_a_damaged_video_is_named_in_a_warning_and_stored(folder, make_video, run_tool):
    two = pathlib.Path('c.avi').read_bytes() * 2
    pathlib.Path('two.avi').write_bytes(two)
    content, places = make_video(40, 'mkv', bf=0, g=1).read_bytes(), places_of('mkv', make_video)
    begin = content.rindex(b'\xa3', 0, places[20] + 1)  # of the block
    pathlib.Path('odd.mkv').write_bytes(content[:begin] + b'\x08' * 40 + content[begin:])
    content, places = make_video(40, 'mp4', bf=0, g=1).read_bytes(), places_of('mp4', make_video)
    lost = b'\xff' * (places[1] - places[0])
    pathlib.Path('lost.mp4').write_bytes(content[: places[0]] + lost + content[places[1] :])
    rows = ['two.avi,0,0', 'a.mp4,1,1', 'odd.mkv,2,2', 'lost.mp4,3,3']
    done = run_tool(TOOL, listed(*rows), '--output_file=db')
    assert done.returncode == 0, done.stderr
    assert labels_of('db') == [0, 1, 2, 3]
    lines = done.stderr.splitlines()
    assert [line.partition(': ')[0] for line in lines] == ['two.avi', 'odd.mkv', 'lost.mp4']
    assert f'no part of such a file begins at byte {len(two) // 2}, where one should' in lines[0]
    assert 'FFmpeg logs ' in lines[1]
    assert '1 packets or frames are damaged; it is used as far as FFmpeg reads it' in lines[2]


def places_of(suffix, make_video):
    with av.open(str(make_video(40, suffix, bf=0, g=1))) as container:
        return [packet.pos for packet in container.demux() if packet.size]


def test_rows_of_bad_videos_are_bad():
    rows = [GoodRow(2, Row('a', (0,))), GoodRow(3, Row('b', (1,))), GoodRow(4, Row('a', (2,)))]
    assert split_rows(rows, {'a': None, 'b': 'bad'}) == ([rows[0], rows[2]], [(3, 'b', 'b: bad')])
    assert split_rows(rows, {'a': 'x', 'b': None})[1] == [
        BadRow(2, 'a', 'a: x'), BadRow(4, 'a', 'a: x'),
    ]  # fmt: skip


def test_clips_of_one_video_may_share_its_id(folder):
    pathlib.Path('link.mp4').symlink_to('a.mp4')
    names = ['a.mp4', './a.mp4', str(folder / 'a.mp4'), 'link.mp4']
    require_own_ids('l', [GoodRow(n, Row(name, (0,), None, 5)) for n, name in enumerate(names)])
    require_own_ids('l', [GoodRow(1, Row('a.mp4', (0,))), GoodRow(2, Row('b.mkv', (0,)))])


def listed(*rows, name='list.csv'):
    lines = ['org_video,label,video_id', *rows]
    pathlib.Path(name).write_text(''.join(f'{line}\n' for line in lines))
    return f'--list_file={name}'


def test_two_videos_of_one_id_are_refused(folder, run_tool):
    flags = [listed('a.mp4,0,5', 'b.mkv,1,6', 'c.avi,2,5'), '--output_file=db']
    said = 'list.csv: lines 2 and 4, a.mp4 and c.avi, share the video_id 5; only clips of one'
    for more in ([], ['--check=0'], ['--use_list=1'], ['--on_error=continue']):
        done = run_tool(TOOL, *flags, '--use_video_id=1', *more)
        assert (done.returncode, done.stdout) == (1, '')
        assert said in done.stderr
        assert not pathlib.Path('db').exists()
    assert run_tool(TOOL, *flags).returncode == 0  # the column is not read


def test_a_path_that_no_record_can_hold_is_a_bad_row(folder, run_tool):
    pathlib.Path('a\x01.mp4').symlink_to('a.mp4')
    flags = [listed('a\x01.mp4,0,0'), '--output_file=db']
    done = run_tool(TOOL, *flags, '--use_list=1')
    assert (done.returncode, done.stdout) == (1, '')
    assert "line 2: 'a\\x01.mp4' has control characters or is too long for" in done.stderr
    assert run_tool(TOOL, *flags).returncode == 0  # the video itself is stored


def test_the_list_of_failures_is_of_the_run_that_has_the_database(folder, run_tool):
    flags = [listed(*ROWS), '--output_file=db', '--on_error=continue']
    with holding('db'):
        done = run_tool(TOOL, *flags)
    assert done.returncode == 1
    assert 'db is being written by process' in done.stderr
    assert not list(folder.glob('db*'))


def test_a_folder_whose_name_is_no_utf8(folder, run_tool):
    inside = pathlib.Path(os.fsdecode(b'caf\xe9'))
    inside.mkdir()
    video = inside / 'a.mp4'
    video.write_bytes(pathlib.Path('a.mp4').read_bytes())
    pathlib.Path('list.csv').write_bytes(b'org_video,label\n' + os.fsencode(video) + b',3\n')
    done = run_tool(TOOL, '--list_file=list.csv', f'--output_file={inside / "db"}')
    assert done.returncode == 0, done.stderr
    assert labels_of(inside / 'db') == [3]


def labels_of(path):
    with Database(path) as database:
        return sorted(decode(value).labels[0] for _, _, value in database)


ROWS = ['a.mp4,0,0', 'text.mp4,1,1', 'b.mkv,2,2', 'gone.mp4,3,3', 'text.mp4,4,4', 'c.avi,x,5']


def test_nothing_is_written_of_a_list_with_bad_videos(folder, run_tool):
    done = run_tool(TOOL, listed(*ROWS), '--output_file=db')
    assert (done.returncode, done.stdout) == (1, '')
    assert 'list.csv: 4 of 6 rows cannot be used:' in done.stderr
    assert '\n  line 3: text.mp4: not a video, or truncated (8 bytes' in done.stderr
    assert f'\n  line 5: gone.mp4 does not exist in {folder}\n' in done.stderr
    assert not list(folder.glob('db*'))


def test_a_bad_row_may_cost_that_row(folder, run_tool):
    flags = [listed(*ROWS), '--output_file=db', '--on_error=continue', '--overwrite=1']
    done = run_tool(TOOL, *flags)
    assert done.returncode == 3
    assert done.stdout == 'wrote 2 records (0.0 MB) to db\n'
    said = '4 rows cannot be used and are left out; they are listed in db.failures.csv'
    assert said in done.stderr
    assert labels_of('db') == [0, 2]
    with pathlib.Path('db.failures.csv').open(newline='') as file:
        failures = list(csv.reader(file))
    assert failures[0] == ['line', 'video', 'reason']
    assert [row[:2] for row in failures[1:]] == [
        ['3', 'text.mp4'], ['5', 'gone.mp4'], ['6', 'text.mp4'], ['7', 'c.avi'],
    ]  # fmt: skip
    assert failures[-1][2] == "label is 'x', not an integer"
    assert run_tool(TOOL, *flags, '--max_failures=4').returncode == 0
    done = run_tool(TOOL, listed('a.mp4,0,0'), *flags[1:])
    assert (done.returncode, done.stderr) == (0, '')
    assert not pathlib.Path('db.failures.csv').exists()
    done = run_tool(TOOL, listed('text.mp4,0,0'), *flags[1:])
    assert done.returncode == 1
    assert 'list.csv: 1 of 1 rows cannot be used' in done.stderr


def test_videos_are_not_opened_if_so_asked(folder, run_tool):
    done = run_tool(TOOL, listed('a.mp4,0,0', 'text.mp4,1,1'), '--output_file=db', '--check=0')
    assert (done.returncode, done.stderr) == (0, '')
    assert labels_of('db') == [0, 1]


def test_a_video_of_many_rows_is_opened_once(folder, monkeypatch):
    opened = []
    monkeypatch.setattr(check, '_check', lambda video: (opened.append(video), None))
    assert check.find_problems(['a', 'b', 'a', 'a'], threads=1) == {'a': None, 'b': None}
    assert opened == ['a', 'b']


def test_a_fifo_in_a_list_is_not_waited_for(folder, run_tool):
    os.mkfifo('fifo.mp4')
    done = run_tool(TOOL, listed('fifo.mp4,0,0'), '--output_file=db', '--check=0')
    assert done.returncode == 1
    assert 'line 2: fifo.mp4 is not a regular file but a FIFO' in done.stderr
