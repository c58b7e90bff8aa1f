"""The videos in files, folders and lists: each once, and nothing left out without a word."""

import os
import pathlib
import socket

import pytest

from r2plus1d.datasets.video_files import find_videos, is_video_name
from r2plus1d.errors import InputError
from r2plus1d.sources.whole_videos import WholeVideos
from r2plus1d.video.clip_settings import ClipSettings


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('in/a.mp4', 'in/deep/b.MKV', 'other/c.avi', 'other/d.mp4'):
        path = pathlib.Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'video')
    return tmp_path


def found(*places):
    return [str(path) for path in find_videos(places)]


def test_links_are_followed(folder, caplog):
    pathlib.Path('in/z_folder').symlink_to('../other')
    pathlib.Path('in/e.mp4').symlink_to('../other/c.avi')  # by this name too, but once
    assert found('in') == ['in/a.mp4', 'in/deep/b.MKV', 'in/e.mp4', 'in/z_folder/d.mp4']
    assert caplog.messages == ['left out, named before by another path: 1 (in/z_folder/c.avi)']


def test_links_that_lead_in_circles(folder, caplog):
    pathlib.Path('in/again').symlink_to('.')
    pathlib.Path('in/deep/up').symlink_to('../..')
    pathlib.Path('in/itself').symlink_to('itself')
    assert found('in') == ['in/a.mp4', 'in/deep/b.MKV', 'in/deep/up/other/c.avi',
                           'in/deep/up/other/d.mp4']  # fmt: skip
    assert sorted(caplog.messages) == [
        'left out, links to folders that were searched already: 2 (in/again, in/deep/up/in)',
        'left out, links to missing files: 1 (in/itself)',
    ]


def test_a_folder_has_its_own_name_rather_than_a_links(folder):
    pathlib.Path('a_link').symlink_to('other')
    assert found('.') == ['in/a.mp4', 'in/deep/b.MKV', 'other/c.avi', 'other/d.mp4']


def test_a_file_under_two_spellings_is_one(folder, caplog):
    names = ['in/a.mp4', './in/../in/a.mp4', str(folder / 'in' / 'a.mp4'), 'in']
    pathlib.Path('list.txt').write_text('in//a.mp4\nin/../in/deep/b.MKV\n')
    assert found(*names, 'list.txt') == ['in/a.mp4', 'in/deep/b.MKV']
    (line,) = caplog.messages
    assert line.startswith('left out, named before by another path: 3 (in/../in/a.mp4, ')


def test_what_is_left_out_is_counted_and_named(folder, caplog):
    for name in ('1.txt', '2.jpg', '3', '4.mp4.part', '5.gif', '._a.mp4', '._b.mp4'):
        pathlib.Path('in', name).touch()
    pathlib.Path('in/nothing').symlink_to('gone')
    assert found('in') == ['in/a.mp4', 'in/deep/b.MKV']
    assert sorted(caplog.messages) == [
        'left out, files of macOS beside others: 2 (in/._a.mp4, in/._b.mp4)',
        'left out, files whose names do not end as those of videos do: '
        '5 (in/1.txt, in/2.jpg, in/3 and 2 more)',
        'left out, links to missing files: 1 (in/nothing)',
    ]


def test_what_cannot_be_read_is_a_record_that_fails(folder, caplog):
    os.mkfifo('in/fifo.mp4')
    pathlib.Path('in/gone.mp4').symlink_to('nowhere.mp4')
    paths = find_videos(['in'])
    names = [path.name for path in paths]
    assert names == ['a.mp4', 'b.MKV', 'fifo.mp4', 'gone.mp4']
    failures = [sample.failure for sample in WholeVideos(paths, ClipSettings(length=8))]
    assert failures[2:] == [
        'not a regular file but a FIFO',
        'a link to a missing file, nowhere.mp4',
    ]
    assert caplog.messages == []


def test_a_folder_that_cannot_be_read_is_named(folder, caplog, monkeypatch):
    iterdir = pathlib.Path.iterdir

    def refuse(self):
        if self.name == 'deep':
            raise PermissionError(13, 'Permission denied', str(self))
        return iterdir(self)

    monkeypatch.setattr(pathlib.Path, 'iterdir', refuse)
    assert found('in') == ['in/a.mp4']
    assert caplog.messages == [
        'left out, folders that cannot be read (Permission denied): 1 (in/deep)'
    ]
    with pytest.raises(PermissionError):
        find_videos(['in/deep'])


def test_no_videos_says_what_is_there(folder):
    pathlib.Path('empty').mkdir()
    with pytest.raises(InputError, match=r'^no videos in empty: files that end in .mp4.*\.vob$'):
        find_videos(['empty'])
    pathlib.Path('empty/x.txt').touch()
    with pytest.raises(InputError, match=r'\.vob; files whose .*: 1 \(empty/x.txt\)$'):
        find_videos(['empty'])


def test_a_place_without_videos_beside_others_is_named(folder, caplog):
    pathlib.Path('empty').mkdir()
    pathlib.Path('empty.txt').write_text('\n')
    assert found('empty', 'in', 'empty.txt') == ['in/a.mp4', 'in/deep/b.MKV']
    assert caplog.messages == ['no videos in empty', 'no videos in empty.txt']


def test_a_path_of_no_regular_file_is_refused(folder):
    os.mkfifo('fifo.mp4')
    pathlib.Path('link.mp4').symlink_to('gone.mp4')
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind('socket.mp4')
        for name, kind in {
            'fifo.mp4': 'is not a regular file but a FIFO',
            'socket.mp4': 'is not a regular file but a socket',
            '/dev/zero': 'is not a regular file but a device',
            'link.mp4': 'is a link to a missing file, gone.mp4',
            'none.mp4': 'does not exist',
        }.items():
            with pytest.raises(InputError, match=f'^{name} {kind}; videos takes files, folders'):
                find_videos([name])
    with pytest.raises(InputError, match='b.mp4 has a NUL in its name'):
        find_videos(['a\0b.mp4'])


def test_a_line_of_a_list_that_is_no_file_costs_that_line(folder, caplog):
    pathlib.Path('list.txt').write_text('in/a.mp4\nnone.mp4\nin\nother/c.avi\n')
    assert found('list.txt') == ['in/a.mp4', 'none.mp4', 'in', 'other/c.avi']
    assert caplog.messages == [
        'list.txt: 2 of 4 paths are of no file, the first none.mp4 '
        f'(looked for in {folder}); each is a record that fails'
    ]


@pytest.mark.parametrize('name', ['a\u2028b.mp4', 'a\x85b.mp4', 'a\x0cb.mp4', '\u3000a b\u00a0'])
def test_only_line_ends_split_a_list(folder, name):
    pathlib.Path(name).write_bytes(b'video')
    pathlib.Path('list.txt').write_bytes(f'\ufeff\t{name} \r\n\r\nin/a.mp4'.encode())
    assert found('list.txt') == [name, 'in/a.mp4']


def test_names_of_videos():
    assert all(is_video_name(f'x{end}') for end in ('.mp4', '.MP4', '.m2ts', '.tar.webm'))
    assert not any(is_video_name(name) for name in ('mp4', '.mp4', 'x.mp4~', '._x.mp4', 'x.gif'))
