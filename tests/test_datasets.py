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
    assert '1 videos are missing; they are listed in list.missing.txt' in result.stderr
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
    names, listed = annotations.entries('hmdb51', splits, subset='test', split=2)
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
    names, listed = annotations.entries('ucf101', tmp_path, subset='train', split=1)
    rows, missing = annotations.rows(names, listed, tmp_path)
    assert [row.labels for row in rows] == [(1,), (0,)]
    assert missing == []
    test = annotations.entries('ucf101', tmp_path, subset='test', split=1)[1]
    assert test == [('Archery', ['Archery/v_3.avi', 'v_3.avi'])]


def test_what_is_not_there_or_not_of_the_data_set(tmp_path):
    def refused(dataset, message, path=tmp_path, **how):
        with pytest.raises(InputError, match=message):
            annotations.entries(dataset, path, **how)

    refused('kinetics', 'no such CSV')
    (tmp_path / 'x.csv').write_text('label,id\n')
    refused('kinetics', 'has no column youtube_id', tmp_path / 'x.csv')
    (tmp_path / 'x.csv').write_text('label,youtube_id,time_start,time_end\na,b,c,d\n')
    refused('kinetics', 'line 2: time_start or time_end is not a number', tmp_path / 'x.csv')
    (tmp_path / 'x.csv').write_text('label,youtube_id,time_start,time_end\na,b\n')
    refused('kinetics', 'line 2: time_start or time_end is not a number', tmp_path / 'x.csv')
    refused('hmdb51', 'is no folder of split files', tmp_path / 'none')
    refused('hmdb51', 'has no files CLASS_test_split3.txt', split=3)
    (tmp_path / 'run_test_split1.txt').write_text('a.avi 7\n')
    refused('hmdb51', 'line 1 is not `VIDEO 0`')
    refused('ucf101', 'classInd.txt is missing')
    (tmp_path / 'classInd.txt').write_text('Archery\n')
    (tmp_path / 'testlist02.txt').write_text('Archery/v.avi\n')
    refused('ucf101', 'line 1 is not `LABEL CLASS`', subset='test', split=2)
    (tmp_path / 'testlist02.txt').unlink()
    (tmp_path / 'classInd.txt').write_text('1 Archery\n')
    refused('ucf101', 'testlist02.txt is missing', subset='test', split=2)
    (tmp_path / 'trainlist01.txt').write_text('Biking/v.avi 1\n')
    refused('ucf101', 'line 1: class Biking is not in classInd.txt')
