"""Fine-tuning on a folder of classes: the split, the lists, the script from end to end."""

import csv
import random
import shutil

import pytest

from r2plus1d.backends.installed import has
from r2plus1d.datasets import split
from r2plus1d.datasets.split import ClassVideo
from r2plus1d.errors import InputError
from r2plus1d.evaluation.by_class import by_class_lines
from r2plus1d.evaluation.outcomes import Outcome
from r2plus1d.evaluation.tally import Tally
from r2plus1d.model import Model
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.input import Input
from r2plus1d.networks.network import Network
from r2plus1d.weights.stored import open_weights
from shell_scripts import make_checkout, run_script

NETWORK = Network('r2d', 10, clip_length=8, num_labels=9, width=0.0625)
needs_trainer = pytest.mark.skipif(
    not (has('torch') or has('caffe2')), reason='needs PyTorch 2 or Caffe2'
)
needs_openvino = pytest.mark.skipif(not has('openvino'), reason='needs OpenVINO')


def videos_named(*names):
    return [ClassVideo(name, name.split('/')[0], f'content of {name}') for name in names]


@pytest.mark.parametrize(
    ('name', 'source'),
    [
        ('golf/v_golf_g01_c02.avi', 'golf/v_golf_g01'),
        ('golf/a.b_1.mp4', 'golf/a.b'),
        ('golf/club.mp4', 'golf/club.mp4'),
        ('golf/_1.mp4', 'golf/_1.mp4'),
        ('golf/club_.mp4', 'golf/club_.mp4'),
        ('my_golf/day_1/club.mp4', 'my_golf/day_1/club.mp4'),
    ],
)
def test_the_source_is_the_name_up_to_the_last_underscore(name, source):
    assert split.source_of(videos_named(name)[0]) == source


def test_clips_of_one_source_and_copies_stay_together():
    videos = videos_named('g/a_1.mp4', 'g/b_1.mp4', 'g/a_2.mp4', 'g/c_1.mp4')
    copy = ClassVideo('g/d_1.mp4', 'g', videos[1].content)
    linked = ClassVideo('g/d_2.mp4', 'g', 'another')
    by_source = split.groups_of([*videos, linked, copy], 'source')
    assert sorted(sorted(v.name[2:5] for v in group) for group in by_source) == [
        ['a_1', 'a_2'], ['b_1', 'd_1', 'd_2'], ['c_1'],
    ]  # fmt: skip
    alone = split.groups_of([*videos, linked, copy], 'video')
    assert sorted(map(len, alone)) == [1, 1, 1, 1, 2]


@pytest.mark.parametrize('sizes', [(1, 1), (1, 9), (5, 5), (3, 1, 2, 4), (1,) * 10, (7, 1, 1)])
@pytest.mark.parametrize('seed', range(5))
def test_a_share_is_held_out_but_never_all(sizes, seed):
    groups = [videos_named(*(f'g/{i}_{j}.mp4' for j in range(n))) for i, n in enumerate(sizes)]
    held = split.hold_out(groups, share=0.2, random_of=random.Random(seed))
    assert 1 <= len(held) < sum(sizes)
    assert len(held) <= max(round(0.2 * sum(sizes)), min(sizes))
    for group in groups:
        assert len(set(group) & set(held)) in (0, len(group))


def test_the_split_follows_from_the_seed_class_by_class():
    golf = videos_named(*(f'golf/{i}.mp4' for i in range(20)))
    polo = videos_named(*(f'polo/{i}.mp4' for i in range(20)))

    def held(videos, seed):
        return split.split_by_seed(videos, split_by='source', share=0.2, seed=seed)[0]

    assert held(golf + polo, 0) == held(polo + golf, 0) == held(golf, 0) | held(polo, 0)
    assert len(held(golf, 0)) == 4
    assert held(golf, 0) != held(golf, 1)
    one = videos_named('golf/x_1.mp4', 'golf/x_2.mp4')
    assert split.split_by_seed(one, split_by='source', share=0.2, seed=0) == (set(), {'golf': 2})


@pytest.fixture
def folder(tmp_path, make_video):
    """Two classes of two sources, each of two clips."""
    count = 14
    for name in ('golf', 'polo match'):
        (tmp_path / 'own' / name).mkdir(parents=True)
        for clip in ('a_1', 'a_2', 'b_1', 'b_2'):
            count += 1
            shutil.copy(make_video(count), tmp_path / 'own' / name / f'{clip}.mp4')
    return tmp_path / 'own'


@pytest.fixture
def split_tool(run_tool, folder):
    def run(*arguments):
        return run_tool('data/split_videos.py', '--videos=own', '--output=lists', *arguments)

    return run


def read_split(tmp_path):
    with (tmp_path / 'lists' / 'split.csv').open(newline='') as file:
        return {row['video']: row['side'] for row in csv.DictReader(file)}


def test_lists_of_a_folder(split_tool, folder, tmp_path):
    done = split_tool()
    assert done.returncode == 0, done.stderr
    assert done.stdout == '4 videos to train on and 4 held out, of 2 classes, in lists\n'
    assert (tmp_path / 'lists' / 'labels.txt').read_text() == 'golf\npolo match\n'
    sides = read_split(tmp_path)
    rows = []
    for side in ('train', 'test'):
        with (tmp_path / 'lists' / f'{side}.csv').open(newline='') as file:
            for row in csv.DictReader(file):
                name = row['org_video'].removeprefix(f'{folder}/')
                assert sides.pop(name) == side
                assert row['label'] == str(int(name.startswith('polo')))
                rows.append(row)
    assert not sides
    assert len({row['video_id'] for row in rows}) == 8
    again = split_tool()
    assert (again.returncode, again.stdout) == (0, done.stdout)


@pytest.mark.parametrize('text', ['', '\n\n', 'video\n'])
def test_a_damaged_note_of_the_split_is_no_traceback(split_tool, tmp_path, text):
    assert split_tool().returncode == 0
    (tmp_path / 'lists' / 'split.csv').write_text(text)
    done = split_tool()
    assert done.returncode == 1
    assert 'own or its split is not as in lists/split.csv: ' in done.stderr


@pytest.mark.parametrize('change', ['new', 'gone', 'changed', 'split'])
def test_lists_of_another_state_are_not_reused(split_tool, folder, tmp_path, make_video, change):
    assert split_tool().returncode == 0
    before = (tmp_path / 'lists' / 'train.csv').read_bytes()
    flags = ()
    if change == 'new':
        shutil.copy(make_video(30), folder / 'golf' / 'c_1.mp4')
    elif change == 'gone':
        (folder / 'golf' / 'a_1.mp4').unlink()
    elif change == 'changed':
        shutil.copy(make_video(30), folder / 'golf' / 'a_1.mp4')
    else:
        (tmp_path / 'held.txt').write_text('golf/a_1.mp4\n')
        flags = ('--test_list=held.txt',)
    done = split_tool(*flags)
    assert (done.returncode, done.stdout) == (1, '')
    assert 'own or its split is not as in lists/split.csv: ' in done.stderr
    words = {'new': '1 new (golf/c_1.mp4)', 'gone': '1 gone (golf/a_1.mp4)'}
    assert words.get(change, 'with another content, class or side') in done.stderr
    assert 'another output (OUTPUT of finetune.sh) begins afresh' in done.stderr
    assert (tmp_path / 'lists' / 'train.csv').read_bytes() == before


def test_a_list_says_what_is_held_out(split_tool, folder, tmp_path):
    held = tmp_path / 'held.txt'
    held.write_text('golf/a_2.mp4\n\nown/polo match/b_1.mp4\n')
    done = split_tool('--test_list=held.txt')
    assert done.stdout.startswith('6 videos to train on and 2 held out'), done.stderr
    sides = read_split(tmp_path)
    assert {n for n, side in sides.items() if side == 'test'} == {
        'golf/a_2.mp4', 'polo match/b_1.mp4',
    }  # fmt: skip
    shutil.copy(folder / 'golf' / 'a_2.mp4', folder / 'golf' / 'z.mp4')
    shutil.rmtree(tmp_path / 'lists')
    done = split_tool('--test_list=held.txt')
    assert 'held.txt: golf/a_2.mp4 is also trained on, as golf/z.mp4' in done.stderr
    for text, message in (
        ('golf/a_9.mp4\n', 'held.txt: line 1: golf/a_9.mp4 is no video in own that can be used'),
        ('\n', 'held.txt lists none of the videos in own'),
    ):
        held.write_text(text)
        done = split_tool('--test_list=held.txt')
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert message in done.stderr
    done = split_tool('--test_list=held.txt', '--test_share=0.5')
    assert 'test_share=0.5 does nothing with test_list' in done.stderr


def test_what_cannot_be_used_is_named(split_tool, folder, tmp_path):
    (folder / 'golf' / 'broken_1.mp4').write_bytes(b'no video')
    shutil.copy(folder / 'golf' / 'a_1.mp4', folder / 'loose.mp4')
    (folder / 'single').mkdir()
    (folder / '.hidden').mkdir()
    shutil.move(folder / 'golf' / 'b_1.mp4', folder / 'single' / 'x.mp4')
    done = split_tool()
    assert done.returncode == 0, done.stderr
    assert 'left out: own/golf/broken_1.mp4: not a video' in done.stderr
    assert 'left out: 1 videos in no folder of a class (loose.mp4)' in done.stderr
    assert 'single: it has one video, which is trained on; none is held out' in done.stderr
    assert (tmp_path / 'lists' / 'labels.txt').read_text() == 'golf\npolo match\nsingle\n'
    with (tmp_path / 'lists' / 'broken.csv').open(newline='') as file:
        assert [row['video'] for row in csv.DictReader(file)] == ['own/golf/broken_1.mp4']
    (folder / 'golf' / 'broken_1.mp4').unlink()
    assert split_tool().returncode == 0
    assert not (tmp_path / 'lists' / 'broken.csv').exists()


def test_folders_that_cannot_be_split_are_one_line(split_tool, folder, run_tool, tmp_path):
    def refused(*arguments):
        done = split_tool(*arguments)
        assert (done.returncode, done.stdout) == (1, '')
        assert not (tmp_path / 'lists' / 'split.csv').exists()
        return done.stderr.splitlines()[-1]

    (folder / 'empty').mkdir()
    assert 'no videos in own/empty' in refused()
    (folder / 'empty' / 'x.mp4').write_bytes(b'no video')
    assert 'own/empty: none of its 1 videos can be used; the first, x.mp4: ' in refused()
    shutil.copy(folder / 'golf' / 'a_1.mp4', folder / 'empty' / 'x.mp4')
    assert 'empty/x.mp4 and golf/a_1.mp4 are the same video in two classes' in refused()
    shutil.rmtree(folder / 'empty')
    for path in folder.glob('*/b_*'):
        path.unlink()
    assert 'in each class all videos are of one source by their names' in refused()
    assert split_tool('--split_by=video').returncode == 0
    shutil.rmtree(tmp_path / 'lists')
    shutil.rmtree(folder / 'golf')
    assert 'own has 1 folders; it needs one for each class, at least two' in refused()
    shutil.rmtree(folder)
    assert 'videos is own, which is no folder' in refused()


def tally_of(num_labels, *pairs):
    """A Tally of videos, given as (label, best class)."""
    tally = Tally(num_labels, top_k=1, most_mistakes=0)
    for label, best in pairs:
        tally.add(Outcome('', '', label, (best,), (1.0,)))
    return tally


def test_the_accuracy_of_each_class():
    tally = tally_of(3, (0, 0), (0, 0), (0, 2), (2, 1))
    lines = by_class_lines(tally, ['golf', 'polo', 'chess with a very long name'])
    assert lines == [
        '',
        'columns: what the videos of a class were taken for',
        'class                     videos  right  golf  polo  chess with a very lon...',
        'golf                           3  66.7%     2     0                         1',
        'polo                           0      -     0     0                         0',
        'chess with a very lon...       1   0.0%     0     1                         0',
    ]


def test_of_many_classes_the_mistakes_are_listed():
    tally = tally_of(30, (3, 4), (3, 4), (7, 7), (29, 0))
    lines = by_class_lines(tally, range(30))
    assert len(lines) == 2 + 30 + 1 + 3
    assert [line.split() for line in lines[-3:]] == [
        ['videos', 'of', 'taken', 'for'], ['2', '3', '4'], ['1', '29', '0'],
    ]  # fmt: skip


def test_a_share_is_between_0_and_1(split_tool, folder):
    assert '1 is not below 1' in split_tool('--test_share=1').stderr


@needs_trainer
@needs_openvino
def test_one_command_from_a_folder_to_a_network_that_names_its_classes(
    folder, tmp_path, make_video, run_tool
):
    scripts = make_checkout(tmp_path / 'checkout') / 'scripts'
    Model(NETWORK, Input(length=8, rate=2), random_parameters(NETWORK, 0)).save(
        tmp_path / 'given_7.mdl'
    )
    settings = {
        'VIDEOS': 'own', 'PRETRAINED': 'given_7.mdl', 'OUTPUT': 'tuned', 'BATCH_SIZE': '2',
        'NUM_EPOCHS': '1', 'EPOCH_SIZE': '4', 'TEST_SHARE': '0.5',
    }  # fmt: skip
    done = run_script('finetune.sh', cwd=tmp_path, scripts=scripts, **settings)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == 'videos: 4, scored: 4, failed: 0'
    assert lines[-1] == 'tuned/r2d_w0.0625_1.mdl'
    assert lines[5].split() == ['class', 'videos', 'right', 'golf', 'polo', 'match']
    assert [line.split()[0] for line in lines[6:8]] == ['golf', 'polo']
    stored = open_weights(tmp_path / lines[-1])
    assert stored.class_names == ('golf', 'polo match')
    assert stored.network['clip_length'] == 8  # of the weights, as is what follows
    assert stored.input.rate == 2
    longer = run_script(
        'finetune.sh', cwd=tmp_path, scripts=scripts, **{**settings, 'NUM_EPOCHS': '2'}
    )
    assert longer.returncode == 0, longer.stderr
    assert 'continuing from tuned/r2d_w0.0625_1.mdl, after 2 iterations' in longer.stderr
    assert longer.stdout.endswith('tuned/r2d_w0.0625_2.mdl\n')
    Model(NETWORK, Input(length=8, rate=2), random_parameters(NETWORK, 1)).save(
        tmp_path / 'other.pkl'
    )
    other = run_script(
        'finetune.sh', cwd=tmp_path, scripts=scripts, **{**settings, 'PRETRAINED': 'other.pkl'}
    )
    assert (other.returncode, other.stdout) == (1, '')
    assert 'r2d_w0.0625_2.mdl began from other weights than other.pkl' in other.stderr
    shutil.copy(make_video(30), folder / 'golf' / 'c_1.mp4')
    changed = run_script('finetune.sh', cwd=tmp_path, scripts=scripts, **settings)
    assert (changed.returncode, changed.stdout) == (1, '')
    assert '1 new (golf/c_1.mp4)' in changed.stderr
    shown = run_tool('tools/predict.py', 'own/golf/c_1.mp4', f'--load_model_path={lines[-1]}')
    assert shown.returncode == 0, shown.stderr
    assert {line.split()[1] for line in shown.stdout.splitlines()[1:]} == {'golf', 'polo'}


@needs_trainer
def test_a_trial_can_be_repeated(tmp_path, sample_videos):
    """With nothing set, and what an earlier one made."""
    root = make_checkout(tmp_path / 'checkout')
    shutil.copytree(sample_videos, root / 'data' / 'sample', dirs_exist_ok=True)
    (root / 'data' / 'sample' / 'random_r2plus1d_18_8_w0.125_L400.pkl').touch()
    done = run_script('finetune.sh', '--batch_size=2', cwd=tmp_path, scripts=root / 'scripts')
    assert done.returncode == 0, done.stderr
    assert done.stdout == f'{root}/output/finetune_trial/r2plus1d_w0.125_1.mdl\n'
    assert '2 blobs fresh: last_out_L8_w, last_out_L8_b' in done.stderr


def test_the_script_needs_a_folder(tmp_path):
    done = run_script('finetune_folder.sh', cwd=tmp_path)
    assert done.returncode == 2
    assert 'set VIDEOS, a folder with a folder of videos for each class' in done.stderr


def test_groups_need_one_class():
    one, other = ClassVideo('a/x', 'a', 'same'), ClassVideo('b/y', 'b', 'same')
    with pytest.raises(InputError, match='a/x and b/y are the same video in two classes'):
        split.require_one_class([one, other])
