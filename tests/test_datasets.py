"""Lists from the data sets' own files."""

import pytest

from r2plus1d.datasets import annotations
from r2plus1d.datasets.lists import read_rows
from r2plus1d.errors import InputError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'video')


@pytest.fixture
def create_list(run_tool, tmp_path):
    def run(dataset, annotations, *arguments):
        flags = [f'--dataset={dataset}', f'--annotations={annotations}', '--videos=videos']
        return run_tool('data/create_list.py', *flags, '--output=list.csv', *arguments)

    return run


def test_a_folder_is_no_place_for_a_list(run_tool, tmp_path):
    done = run_tool(
        'data/create_list.py',
        '--dataset=kinetics',
        '--annotations=a',
        '--videos=v',
        f'--output={tmp_path}',
    )
    assert done.returncode == 1
    assert f'{tmp_path} is a folder; name a file' in done.stderr


def test_kinetics(create_list, tmp_path):
    (tmp_path / 'val.csv').write_text(
        '\ufefflabel,youtube_id,time_start,time_end,split\n'
        'riding a bike,-abc,5,15,validate\n'
        'archery,xyz,0,10,validate\n'
        'archery,gone,120,130,validate\n'
    )
    videos = tmp_path / 'videos'
    touch(videos, 'riding_a_bike/-abc_000005_000015.mp4', 'archery/xyz_000000_000010.mp4')
    result = create_list('kinetics', 'val.csv', '--labels=labels.txt')
    assert result.returncode == 3
    assert result.stdout == '2 of 3 videos of 2 classes in list.csv\n'
    where = f'1 videos are missing in {videos}; they are listed in list.missing.txt'
    assert result.stderr == f'{where}\n'
    assert (tmp_path / 'list.missing.txt').read_text() == 'archery/gone_000120_000130.mp4\n'
    assert (tmp_path / 'labels.txt').read_text() == 'archery\nriding a bike\n'
    rows = read_rows(tmp_path / 'list.csv', use_video_id=True)
    assert [(row.labels, row.video_id) for row in rows] == [((1,), 0), ((0,), 1)]
    assert rows[0].video == str(videos / 'riding_a_bike' / '-abc_000005_000015.mp4')
    assert create_list('kinetics', 'val.csv', '--max_missing=1').returncode == 0


def test_hmdb51(tmp_path):
    splits = tmp_path / 'splits'
    splits.mkdir()
    for number in (1, 2):
        (splits / f'run_test_split{number}.txt').write_text('a.avi 1 \nb.avi 2 \nc.avi 0 \n')
        (splits / f'brush_hair_test_split{number}.txt').write_text('d.avi 2 \n\ne.avi 1\n')
    touch(tmp_path, 'brush_hair/d.avi', 'run/b.avi')
    names, listed, _ = annotations.entries('hmdb51', splits, subset='test', split=2)
    assert names == ['brush_hair', 'run']
    rows, missing = annotations.rows(names, listed, tmp_path)
    assert [(row.video.split('/')[-1], row.labels) for row in rows] == [
        ('d.avi', (0,)),
        ('b.avi', (1,)),
    ]
    assert missing == []
    train = annotations.entries('hmdb51', splits, subset='train', split=1)[1]
    assert [places[0] for _, places in train] == ['brush_hair/e.avi', 'run/a.avi']


def test_ucf101(tmp_path):
    (tmp_path / 'classInd.txt').write_text('1 ApplyEyeMakeup\n2 Archery\n')
    (tmp_path / 'trainlist01.txt').write_text('Archery/v_1.avi 2\nApplyEyeMakeup/v_2.avi 1\n')
    (tmp_path / 'testlist01.txt').write_text('Archery/v_3.avi\n')
    touch(tmp_path, 'Archery/v_1.avi', 'v_2.avi')
    names, listed, _ = annotations.entries('ucf101', tmp_path, subset='train', split=1)
    rows, missing = annotations.rows(names, listed, tmp_path)
    assert [row.labels for row in rows] == [(1,), (0,)]
    assert missing == []
    test = annotations.entries('ucf101', tmp_path, subset='test', split=1)[1]
    assert test == [('Archery', ['Archery/v_3.avi', 'v_3.avi'])]


def test_what_is_not_there_or_not_of_the_data_set(tmp_path):
    def refused(dataset, message, path=tmp_path, **how):
        with pytest.raises(InputError, match=message):
            annotations.entries(dataset, path, **how)

    refused('kinetics', 'is not a regular file but a folder')
    refused('kinetics', 'no such CSV', tmp_path / 'none.csv')
    (tmp_path / 'x.csv').write_text('label,id\n')
    refused('kinetics', 'has no column youtube_id', tmp_path / 'x.csv')
    refused('hmdb51', 'is no folder of split files', tmp_path / 'none')
    refused('hmdb51', 'has no files CLASS_test_split3.txt', split=3)
    refused('ucf101', 'classInd.txt is missing')
    (tmp_path / 'classInd.txt').write_text('Archery\n')
    (tmp_path / 'testlist02.txt').write_text('Archery/v.avi\n')
    refused('ucf101', 'line 1 is not `LABEL CLASS`', subset='test', split=2)
    (tmp_path / 'testlist02.txt').unlink()
    (tmp_path / 'classInd.txt').write_text('1 Archery\n')
    refused('ucf101', 'testlist02.txt is missing', subset='test', split=2)
    (tmp_path / 'classInd.txt').write_text('1 Archery\n3 Biking\n')
    refused('ucf101', 'classInd.txt: line 2 has label 3, not 2')
    (tmp_path / 'classInd.txt').write_text('1 Arch\u2028ery\n')
    refused('ucf101', r"classInd.txt: line 1: the class name 'Arch\\u2028ery' has")
    (tmp_path / 'x.csv').write_text('label,youtube_id,time_start,time_end\na,"b,1,2\n')
    refused('kinetics', 'x.csv: line 2: a double quote is opened', tmp_path / 'x.csv')


HEADER = 'label,youtube_id,time_start,time_end\n'
BAD_LINES = {
    'kinetics': (
        [
            ('archery,b,c,d', 'line 3: time_start or time_end is not a number'),
            ('archery,b,0,inf', 'line 4: time_start or time_end is not a number'),
            ('zumba,b,,10', 'line 5: time_start is empty'),
            ('archery', 'line 6: youtube_id is empty'),
            (',b,0,10', 'line 7: label is empty'),
            ('a/b,b,0,10', "line 8: the class name 'a/b' has a /"),
            ('arch\u2028ery,b,0,10', "line 9: the class name 'arch\\u2028ery' has"),
        ],
        ['archery', 'zumba'],
    ),
    'hmdb51': (
        [('b.avi 7', 'line 2 is not `VIDEO 0`'), ('b c.avi 1', 'line 3 is not `VIDEO 0`')],
        ['archery'],
    ),
    'ucf101': (
        [('Biking/b.avi 1', "line 2: class 'Biking' is not in classInd.txt")],
        ['archery'],
    ),
}


def annotate(folder, dataset, lines):
    """Write the files of a data set, whose only good line lists `a`."""
    text = '\n'.join(lines)
    if dataset == 'kinetics':
        (folder / 'x.csv').write_text(f'{HEADER}archery,a,0,10\n{text}')
        return folder / 'x.csv'
    (folder / 'archery_test_split1.txt').write_text(f'a.avi 1\n{text}')
    (folder / 'classInd.txt').write_text('1 archery\n')
    (folder / 'trainlist01.txt').write_text(f'archery/a.avi 1\n{text}')
    return folder


@pytest.mark.parametrize('dataset', BAD_LINES)
def test_a_bad_line_costs_that_line(create_list, tmp_path, dataset):
    lines, names = BAD_LINES[dataset]
    path = annotate(tmp_path, dataset, [line for line, _ in lines])
    found = annotations.entries(dataset, path)
    assert found.names == names
    assert len(found.entries) == 1
    assert len(found.bad_lines) == len(lines)
    for said, (_, expected) in zip(found.bad_lines, lines):
        assert expected in said

    touch(tmp_path / 'videos', 'archery/a.avi', 'archery/a_000000_000010.mp4')
    total = len(lines) + 1
    result = create_list(dataset, path)
    assert result.returncode == 3
    assert result.stdout == f'1 of {total} videos of {len(names)} classes in list.csv\n'
    said = f'{len(lines)} lines cannot be read; they are listed in list.bad_lines.txt\n'
    assert result.stderr == said
    listed = (tmp_path / 'list.bad_lines.txt').read_text()
    assert listed == ''.join(f'{line}\n' for line in found.bad_lines)
    assert create_list(dataset, path, f'--max_missing={len(lines)}').returncode == 0
    refused = create_list(dataset, path, '--on_error=fail')
    assert (refused.returncode, refused.stdout) == (1, '')
    assert refused.stderr.startswith(f'create_list.py: {found.bad_lines[0]}; --on_error=continue')
    create_list(dataset, annotate(tmp_path, dataset, []))
    assert not (tmp_path / 'list.bad_lines.txt').exists()


@pytest.mark.parametrize('dataset', BAD_LINES)
@pytest.mark.parametrize('ending', ['.mp4', '.avi', '.mkv', '.WEBM', '.m2ts'])
@pytest.mark.parametrize('place', ['', 'archery/'])
def test_any_ending_and_flat_folders(tmp_path, dataset, ending, place):
    found = annotations.entries(dataset, annotate(tmp_path, dataset, []))
    name = 'a_000000_000010' if dataset == 'kinetics' else 'a'
    videos = tmp_path / 'videos'
    touch(videos, f'{place}{name}{ending}', f'{place}{name}.txt', f'{place}._{name}.mp4')
    ((row,), missing) = annotations.rows(found.names, found.entries, videos)
    assert (row.video, missing) == (str(videos / f'{place}{name}{ending}'), [])


def test_the_listed_ending_comes_first(tmp_path):
    found = annotations.entries('hmdb51', annotate(tmp_path, 'hmdb51', []))
    videos = tmp_path / 'videos'
    touch(videos, 'archery/a.mp4', 'archery/a.AVI', 'a.avi')
    ((row,), _) = annotations.rows(found.names, found.entries, videos)
    assert row.video == str(videos / 'archery' / 'a.AVI')


def test_a_folder_named_as_a_video_is_none(tmp_path):
    found = annotations.entries('hmdb51', annotate(tmp_path, 'hmdb51', []))
    (tmp_path / 'archery' / 'a.avi').mkdir(parents=True)
    touch(tmp_path, 'a.mkv')
    ((row,), _) = annotations.rows(found.names, found.entries, tmp_path)
    assert row.video == str(tmp_path / 'a.mkv')


def test_names_with_odd_spaces_are_one_word(tmp_path):
    annotate(tmp_path, 'hmdb51', ['b\u2028c\u00a0d\x0c.avi 1'])
    found = annotations.entries('hmdb51', tmp_path)
    assert [places[1] for _, places in found.entries] == ['a.avi', 'b\u2028c\u00a0d\x0c.avi']
