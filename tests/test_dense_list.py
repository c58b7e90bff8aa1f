"""Dense lists: which clips, of which videos, in which list, and every video that gives none."""

import csv
import io
import pathlib

import av
import pytest

from conftest import number_of, numbered_frames
from r2plus1d.cli import command_line, flags, from_flags
from r2plus1d.datasets import dense_list, lists
from r2plus1d.datasets.dense_list import DenseVideo, clip_starts
from r2plus1d.datasets.lists import Row
from r2plus1d.errors import InputError, RecordError
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video import frame_count, sampling
from r2plus1d.video.decode import Video
from r2plus1d.video.encode import write_video

SUFFIXES = ['mp4', 'mkv', 'avi', 'mov', 'webm']


@pytest.mark.parametrize(
    ('num_frames', 'required', 'stride', 'expected'),
    [
        (20, 8, 4, [0, 4, 8, 12]),
        (19, 8, 4, [0, 4, 8]),
        (8, 8, 4, [0]),
        (9, 8, 1, [0, 1]),
        (40, 32, 8, [0, 8]),
        (40, 33, 8, [0]),
        (41, 33, 8, [0, 8]),
        (100, 1, 99, [0, 99]),
    ],
)
def test_clips_lie_at_a_stride_within_the_video(num_frames, required, stride, expected):
    assert clip_starts(num_frames=num_frames, required=required, stride=stride) == expected


@pytest.mark.parametrize('stride', [1, 3, 8])
def test_no_clip_is_left_out_and_none_is_too_long(stride):
    for num_frames in range(8, 60):
        starts = clip_starts(num_frames=num_frames, required=8, stride=stride)
        assert starts[0] == 0
        assert {b - a for a, b in zip(starts, starts[1:])} <= {stride}
        assert starts[-1] + 8 <= num_frames < starts[-1] + 8 + stride


def test_a_short_video_has_no_clip():
    with pytest.raises(RecordError, match='too few frames: 31, and a clip needs 32'):
        clip_starts(num_frames=31, required=32, stride=8)


def test_videos_are_dealt_out():
    assert dense_list.deal([*'abcde'], 2) == [[*'ace'], [*'bd']]
    assert dense_list.deal([*'abc'], 1) == [[*'abc']]
    assert dense_list.deal([*'abc'], 3) == [['a'], ['b'], ['c']]
    with pytest.raises(InputError, match='num_splits is 4, and 3 videos can be used'):
        dense_list.deal([*'abc'], 4)


def test_clips_keep_what_their_video_has():
    video = DenseVideo(Row('a.mp4', (3, 17), video_id=5), (0, 8))
    assert video.clip_rows() == [Row('a.mp4', (3, 17), 0, 5), Row('a.mp4', (3, 17), 8, 5)]
    assert DenseVideo(Row('a.mp4', (3,), video_id=5), failure='none').clip_rows() == []


@pytest.fixture
def videos(tmp_path, monkeypatch, make_video):
    """Videos of 40, 24, 33, 48 and 8 frames, one of each container, in the current directory."""
    monkeypatch.chdir(tmp_path)
    for name, suffix, frames in zip('abcde', SUFFIXES, (40, 24, 33, 48, 8)):
        (tmp_path / f'{name}.{suffix}').symlink_to(make_video(frames, suffix))
    return tmp_path


LIST = 'org_video,label\na.mp4,0\nb.mkv,1\nc.avi,2\nd.mov,3;17\ne.webm,4\n'


@pytest.fixture
def create(run_tool, videos):
    """Return a function that runs the tool on a list, for OUTPUT d."""

    def run(*flags, text=LIST):
        (videos / 'list.csv').write_text(text)
        arguments = ['--list_file=list.csv', '--output=d', '--clip_length=8', '--num_splits=2']
        return run_tool('data/create_dense_list.py', *arguments, *flags)

    return run


def read(name):
    return lists.read_rows(name, use_start_frame=True, use_video_id=True)


def outputs(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name[:2] == 'd_'}


@pytest.mark.parametrize('suffix', SUFFIXES)
@pytest.mark.parametrize('frames', [33, 40])
def test_the_number_of_frames_is_that_of_decoding(make_video, suffix, frames):
    path = make_video(frames, suffix)
    with Video(path) as video:
        assert video.count_frames() == frames
    row = Row(str(path), (0,), video_id=0)
    (video,) = dense_list.find_clips([row], required=8, stride=1, threads=1)
    assert video.starts == tuple(range(frames - 8 + 1))


@pytest.mark.parametrize('suffix', SUFFIXES)
def test_every_clip_can_be_read(make_video, make_database, suffix):
    row = Row(str(make_video(40, suffix)), (0,), video_id=5)
    (found,) = dense_list.find_clips([row], required=8, stride=4, threads=1)
    database = make_database([(*clip,) for clip in found.clip_rows()])
    given = ['--decode_type=start', '--clip_length_rgb=8']
    settings = from_flags.clip_settings(
        command_line.parse('', flags.NETWORK, flags.CLIPS, argv=given)
    )
    with DatabaseSource(
        database, settings, RecordNeeds(1, True, video_id=True), threads=1
    ) as reader:
        samples = list(reader)
    assert [sample.failure for sample in samples] == [None] * 9
    for start, sample in zip(range(0, 40, 4), samples):
        frames = sample.clips.pixels[0].transpose(1, 2, 3, 0)
        shown = [number_of(frame, scaled_height=128) for frame in frames]
        assert shown == [*range(start, start + 8)]


def test_little_is_decoded_where_packets_are_frames(make_video, decode_here, monkeypatch):
    real, decoded = Video._decode, []

    def decode(self, packets):
        decoded.append(len(packets))
        yield from real(self, packets)

    monkeypatch.setattr(Video, '_decode', decode)
    row = Row(str(make_video(40)), (0,), video_id=0)
    (video,) = dense_list.find_clips([row], required=40, stride=1, threads=1)
    assert video == DenseVideo(row, (0,))
    assert decoded == [frame_count.TRIED_PACKETS]


def test_clips_end_where_video_input_stops_decoding(make_video, monkeypatch, caplog):
    assert sampling.MAX_FRAMES == 10000
    monkeypatch.setattr('r2plus1d.datasets.dense_list.MAX_FRAMES', 20)
    for count, starts in ((40, (0, 4, 8, 12)), (20, (0, 4, 8, 12)), (19, (0, 4, 8))):
        row = Row(str(make_video(count)), (0,), video_id=0)
        caplog.clear()
        (video,) = dense_list.find_clips([row], required=8, stride=4, threads=1)
        assert video.starts == starts
        warned = f'{row.video}: clips are of its first 20 frames; it has more'
        assert caplog.messages == ([warned] if count == 40 else [])


def test_frames_that_are_only_promised_give_no_clips(tmp_path):
    """A recording that begins inside a group of pictures."""
    path = tmp_path / 'x.ts'
    path.write_bytes(without_the_first_pictures())
    row = Row(str(path), (0,), video_id=5)
    with Video(path) as video:
        promised, frames = video.count_packets(), video.count_frames()
    assert frames < promised
    (found,) = dense_list.find_clips([row], required=8, stride=1, threads=1)
    assert found.starts == tuple(range(frames - 7))


def without_the_first_pictures():
    content = io.BytesIO()
    options = {'g': 20, 'bf': 0, 'sc_threshold': 0}
    write_video(content, numbered_frames(60), fps=25, container='mpegts', options=options)
    with av.open(io.BytesIO(content.getvalue())) as container:
        fifth = [packet.pos for packet in container.demux() if packet.size][5]
    return content.getvalue()[: 3 * 188] + content.getvalue()[fifth:]


def test_a_truncated_video_is_used_if_that_is_asked_for(create, videos, make_video):
    content = make_video(40, 'avi').read_bytes()
    (videos / 'cut.avi').write_bytes(content[: 6 * len(content) // 10])
    flags = ['--stride=4', '--num_splits=1']
    refused = create(*flags, text='org_video,label\na.mp4,0\ncut.avi,1\n')
    assert (refused.returncode, {row.video for row in read('d_1.csv')}) == (3, {'a.mp4'})
    used = create(*flags, '--use_truncated=1', text='org_video,label\na.mp4,0\ncut.avi,1\n')
    assert used.returncode == 0
    assert 'cut.avi: truncated: ' in used.stderr
    assert {row.video for row in read('d_1.csv')} == {'a.mp4', 'cut.avi'}


def test_the_tool_writes_lists_of_clips(create, videos):
    done = create()
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout == '5 videos, 19 clips in 2 lists: d_1.csv ... d_2.csv; failed: 0\n'
    assert outputs(videos).keys() == {'d_1.csv', 'd_2.csv'}
    text = (videos / 'd_2.csv').read_text()
    assert text.startswith('org_video,label,start_frm,video_id\nb.mkv,1,0,1\nb.mkv,1,8,1\n')
    assert read('d_1.csv') == [
        *(Row('a.mp4', (0,), start, 0) for start in (0, 8, 16, 24, 32)),
        *(Row('c.avi', (2,), start, 2) for start in (0, 8, 16, 24)),
        Row('e.webm', (4,), 0, 4),
    ]
    assert read('d_2.csv') == [
        *(Row('b.mkv', (1,), start, 1) for start in (0, 8, 16)),
        *(Row('d.mov', (3, 17), start, 3) for start in (0, 8, 16, 24, 32, 40)),
    ]


def test_threads_and_a_second_run_change_nothing(create, videos):
    results = []
    for flag in '--num_threads=1', '--num_threads=4', '--num_threads=4':
        assert create(flag).returncode == 0
        results.append(outputs(videos))
    assert results[0] == results[1] == results[2]


def test_stride_and_length_are_the_flags(create, videos):
    done = create('--stride=3', '--clip_length=33', '--num_splits=1', '--max_failures=2')
    assert done.stdout == '3 videos, 10 clips in 1 list: d_1.csv; failed: 2\n'
    assert done.returncode == 0
    starts = [(row.video, row.start_frame) for row in read('d_1.csv')]
    assert starts == [
        *(('a.mp4', start) for start in (0, 3, 6)),
        ('c.avi', 0),
        *(('d.mov', start) for start in (0, 3, 6, 9, 12, 15)),
    ]
    usual = create('--clip_length=32', '--num_splits=1', '--max_failures=2')
    assert usual.stdout == '3 videos, 6 clips in 1 list: d_1.csv; failed: 2\n'


def test_the_list_may_have_video_ids(create):
    text = 'video_id,org_video,label,start_frm\n70,a.mp4,5,99\n-3,b.mkv,6,99\n'
    assert create('--stride=16', text=text).returncode == 0
    assert read('d_1.csv') == [Row('a.mp4', (5,), start, 70) for start in (0, 16, 32)]
    assert read('d_2.csv') == [Row('b.mkv', (6,), start, -3) for start in (0, 16)]


@pytest.fixture
def bad_videos(videos, make_video):
    whole = make_video(40, 'avi').read_bytes()
    (videos / 'cut.avi').write_bytes(whole[: len(whole) // 2])
    (videos / 'text.mp4').write_text('no video')


BAD_LIST = (
    'org_video,label,video_id\ntext.mp4,0,10\na.mp4,1,11\ncut.avi,2,12\nb.mkv,3,13\n'
    'e.webm,4,14\nc.avi,5,15\n'
)  # fmt: skip


@pytest.mark.usefixtures('bad_videos')
def test_videos_that_cannot_be_used_are_listed(create, videos):
    done = create('--clip_length=9', text=BAD_LIST)
    assert done.returncode == 3
    assert done.stdout == '3 videos, 10 clips in 2 lists: d_1.csv ... d_2.csv; failed: 3\n'
    assert done.stderr == '3 videos failed; they are listed in d_failures.csv\n'
    with (videos / 'd_failures.csv').open(newline='') as file:
        header, *failures = csv.reader(file)
    assert header == ['video_id', 'path', 'reason']
    assert [failure[:2] for failure in failures] == [
        ['10', 'text.mp4'], ['12', 'cut.avi'], ['14', 'e.webm'],
    ]  # fmt: skip
    reasons = [failure[2] for failure in failures]
    assert reasons[0].startswith('not a video, or truncated (8 bytes')
    assert reasons[1].startswith('truncated: ')
    assert reasons[2] == 'too few frames: 8, and a clip needs 9'
    # the usable ones are dealt out as if the others were not there
    assert {row.video_id for row in read('d_1.csv')} == {11, 15}
    assert {row.video_id for row in read('d_2.csv')} == {13}
    assert create('--clip_length=9', '--max_failures=2', text=BAD_LIST).returncode == 3
    assert create('--clip_length=9', '--max_failures=3', text=BAD_LIST).returncode == 0


def test_rows_that_cannot_be_used_are_listed_too(create, videos):
    text = 'org_video,label\nnone.mp4,0\na.mp4,1\nb.mkv,x\nc.avi,5\n'
    refused = create(text=text)
    assert (refused.returncode, refused.stdout) == (1, '')
    assert 'list.csv: 2 of 4 rows cannot be used:\n  line 2: none.mp4 does not' in refused.stderr
    assert 'd_1.csv' not in outputs(videos)
    done = create('--on_error=continue', text=text)
    assert done.returncode == 3
    assert done.stdout.endswith('failed: 2\n')
    assert {row.video_id for row in read('d_1.csv') + read('d_2.csv')} == {1, 3}  # rows from 0
    with (videos / 'd_failures.csv').open(newline='') as file:
        header, *failures = csv.reader(file)
    assert [failure[:2] for failure in failures] == [['', 'none.mp4'], ['', 'b.mkv']]
    assert failures[0][2].startswith('line 2 of the list: none.mp4 does not exist')
    assert failures[1][2] == "line 4 of the list: label is 'x', not an integer"
    only_bad = create('--on_error=continue', text='org_video,label\nnone.mp4,0\n')
    assert (only_bad.returncode, only_bad.stdout) == (1, '')


def test_failures_of_an_earlier_run_go(create, videos):
    assert create('--clip_length=9').returncode == 3
    assert 'd_failures.csv' in outputs(videos)
    assert create().returncode == 0
    assert 'd_failures.csv' not in outputs(videos)


def test_lists_of_an_earlier_run_are_named(create, videos):
    assert create('--num_splits=5').returncode == 0
    for name in 'd_x.csv', 'd_04.csv', 'd_9.txt', 'dd_9.csv', 'd_11.csv':
        (videos / name).touch()
    done = create()
    assert (done.returncode, done.stderr) == (
        0, 'left by an earlier run, and not of this one: d_3.csv, d_4.csv, d_5.csv, d_11.csv\n',
    )  # fmt: skip
    assert {'d_3.csv', 'd_11.csv'} < outputs(videos).keys()


@pytest.mark.parametrize(
    ('flags', 'text', 'problem'),
    [
        (['--num_splits=6'], LIST, 'num_splits is 6, and 5 videos can be used'),
        ([], 'org_video,label\na.mp4,0\nnope.mp4,1\n', 'line 3: nope.mp4 does not exist in /'),
        (
            [],
            'org_video,label,video_id\na.mp4,0,5\nb.mkv,0,6\nc.avi,0,5\n',
            'list.csv: rows 1 and 3 under the header, a.mp4 and c.avi, share the video_id 5;',
        ),
        ([], 'org_video,label,video_id\na.mp4,0,\n', 'line 2: video_id is empty'),
        ([], 'org_video,video_id\na.mp4,0\n', 'line 1 names no column label'),
        (['--output=.'], LIST, 'output is .; it is where the names of the lists begin'),
        (['--list_file=none.csv'], LIST, 'none.csv: No such file or directory'),
    ],
)
def test_nothing_is_written_of_what_cannot_be(create, videos, flags, text, problem):
    done = create(*flags, text=text)
    assert (done.returncode, done.stdout) == (1, '')
    assert problem in done.stderr
    assert 'Traceback' not in done.stderr
    assert outputs(videos) == {}


@pytest.mark.parametrize('flag', ['--stride=0', '--clip_length=0', '--num_splits=0', '--output'])
def test_a_wrong_flag_is_refused(create, flag):
    done = create(flag)
    assert (done.returncode, done.stdout) == (2, '')
    assert flag.split('=')[0] in done.stderr


@pytest.mark.parametrize(('length', 'usable'), [(41, 1), (49, 0)])
def test_a_list_is_never_empty(create, videos, length, usable):
    done = create(f'--clip_length={length}')
    assert (done.returncode, done.stdout) == (1, '')
    assert f'num_splits is 2, and {usable} videos can be used' in done.stderr
    assert f'{5 - usable} videos failed; they are listed in d_failures.csv\n' in done.stderr
    assert outputs(videos).keys() == {'d_failures.csv'}


@pytest.mark.parametrize('name', ['d_2.csv', 'd_failures.csv', 'link.csv'])
def test_the_list_is_not_overwritten(create, videos, name):
    (videos / 'd_2.csv').write_text(LIST)
    (videos / 'd_failures.csv').write_text(LIST)
    (videos / 'link.csv').symlink_to('d_2.csv')
    done = create(f'--list_file={name}')
    assert done.returncode == 1
    assert f'{name} would be overwritten: name another --output' in done.stderr
    assert outputs(videos) == {'d_2.csv': LIST.encode(), 'd_failures.csv': LIST.encode()}


def test_folders_above_the_lists_are_made(create):
    done = create('--output=new/deep/val')
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in pathlib.Path('new/deep').iterdir()) == [
        'val_1.csv', 'val_2.csv',
    ]  # fmt: skip
