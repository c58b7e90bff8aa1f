"""Files of each video, and surveys, in shards: what one run gives."""

import pytest

from conftest import ROOT
from extraction import FLAGS, run_here, save_weights
from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.results.printed import printed
from r2plus1d.results.printed import run_shard as run_printed
from r2plus1d.results.shards import ShardFolder
from tool_here import run_here as run_tool_here


@pytest.fixture(scope='module')
def videos(make_video, tmp_path_factory):
    """A folder of five videos, of which two fail."""
    folder = tmp_path_factory.mktemp('videos')
    for i, count in enumerate((20, 4, 16, 12)):
        (folder / f'{i}.mp4').write_bytes(make_video(count, seed=i).read_bytes())
    (folder / '4.mp4').write_bytes(b'no video')
    return folder


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp('weights'))


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob('*')
        if path.is_file()
    }


@pytest.mark.parametrize('count', [1, 2, 7])
def test_files_of_each_video(videos, weights, tmp_path, count):
    flags = (
        f'--videos={videos}', *FLAGS, weights, '--stride=8', '--output_format=per_video',
        '--max_failures=2', '--pool=mean',
    )  # fmt: skip
    one = run_here(*flags, f'--output_path={tmp_path / "one"}')
    assert one.returncode == 0, one.stderr
    flags = (*flags, f'--output_path={tmp_path / "all"}')
    for i in range(count):
        if i and i == count - 1:
            missing = run_here(*flags, '--merge')
            assert missing.returncode == 1
            assert f'1 of {count} shards are not done: {i}/{count}' in missing.stderr
        last = run_here(*flags, f'--shard={i}/{count}')
        assert last.returncode == 0, last.stderr
    assert last.stdout.splitlines()[1:-1] == one.stdout.splitlines()[:-1]
    assert 'videos: 5, written: 3, there before: 0, failed: 2' in last.stdout
    assert contents(tmp_path / 'all') == contents(tmp_path / 'one')
    assert not (tmp_path / 'all.shards').exists()


def test_failures_keep_their_numbers_when_a_run_goes_on(videos, weights, tmp_path):
    flags = (
        f'--videos={videos}', *FLAGS, weights, '--stride=8', '--output_format=per_video',
        f'--output_path={tmp_path / "out"}',
    )  # fmt: skip
    assert run_here(*flags).returncode == 3
    before = (tmp_path / 'out' / 'failures.csv').read_text()
    assert [line.split(',')[0] for line in before.splitlines()] == ['record', '1', '4']
    assert 'there before: 3' in run_here(*flags).stdout
    assert (tmp_path / 'out' / 'failures.csv').read_text() == before


@pytest.mark.parametrize('count', [1, 2, 7])
def test_a_survey(videos, tmp_path, count):
    tool, flags = 'tools/check_database.py', (f'--videos={videos}', '--clip_length_rgb=8')
    one = run_tool_here(tool, *flags, f'--output={tmp_path / "one" / "check.csv"}')
    assert one.returncode == 3
    flags = (*flags, f'--output={tmp_path / "all" / "check.csv"}')
    for i in range(count):
        if i and i == count - 1:
            missing = run_tool_here(tool, *flags, '--merge')
            assert missing.returncode == 1
            assert f'shards are not done: {i}/{count}' in missing.stderr
        last = run_tool_here(tool, *flags, f'--shard={i}/{count}')
        assert last.returncode == (3 if i == count - 1 else 0), last.stderr
    assert last.stdout.splitlines()[1:-1] == one.stdout.splitlines()[:-1]
    assert contents(tmp_path / 'all') == contents(tmp_path / 'one')


def test_a_survey_of_other_records_is_not_merged(videos, tmp_path):
    tool, output = 'tools/check_database.py', f'--output={tmp_path / "check.csv"}'
    run_tool_here(tool, f'--videos={videos}', output, '--shard=0/2')
    other = run_tool_here(tool, f'--videos={videos}', output, '--shard=1/2', '--decode=all')
    assert other.returncode == 1
    assert 'was made with other arguments: decode was first and is all' in other.stderr
    assert not (tmp_path / 'check.csv').exists()


@pytest.mark.parametrize('form', ['csv', 'json', 'table'])
def test_predictions(videos, tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    weights = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
    tool = 'tools/predict.py'
    flags = (videos, f'--load_model_path={weights}', '--clips=2', f'--format={form}')
    one = run_tool_here(tool, *flags, '--failures=one.csv')
    assert one.returncode == 3
    flags = (*flags, '--output=all.txt', '--failures=all.csv')
    for i in range(3):
        done = run_tool_here(tool, *flags, f'--shard={i}/3')
        assert done.returncode == (3 if i == 2 else 0), done.stderr
        if not i:
            assert '2 of 3 shards are not done' in run_tool_here(tool, *flags, '--merge').stderr
    assert (tmp_path / 'all.txt').read_text() == one.stdout
    assert (tmp_path / 'all.csv').read_bytes() == (tmp_path / 'one.csv').read_bytes()
    assert not (tmp_path / 'all.txt.shards').exists()


def test_what_a_shard_printed_is_not_made_again(tmp_path):
    shards, made = ShardFolder(tmp_path / 'out'), []

    def make(begin, end, stop=None):
        for number in range(begin, end):
            if number == stop:
                raise KeyboardInterrupt
            made.append(number)
            yield [f'line {number}'], [('path', 'reason')] * (number == 6)

    def run(index, a, make=make, now='', **others):
        shard, state = Shard(index, 2), lambda begin, end: f'{begin} {end} {now}'
        return run_printed(shards, shard, 10, {'a': a}, make, state=state, **others)

    def merged(now=''):
        found = printed(shards, 10, {'a': 1}, state=lambda begin, end: f'{begin} {end} {now}')
        return [line for lines, _ in found for line in lines]

    with pytest.raises(KeyboardInterrupt):
        run(1, 1, lambda b, e: make(b, e, stop=8))
    path = shards.folder(Shard(1, 2)) / 'printed.jsonl'
    path.write_bytes(path.read_bytes()[:-4])  # the last line is torn
    with pytest.raises(InputError, match='a was 1 and is 2'):
        run(1, 2)
    assert run(1, 1) == (5, 1)
    with pytest.raises(InputError):
        run(1, 2)
    assert shards.is_done(Shard(1, 2))  # a run that is refused leaves it so
    assert made == [5, 6, 7, 7, 8, 9]
    run(0, 1)
    assert merged() == [f'line {number}' for number in range(10)]
    with pytest.raises(InputError, match='0_of_2: a video of this shard changed since'):
        merged('later')
    with pytest.raises(InputError, match=r'printed\.jsonl: a video of this shard changed since'):
        run(1, 1, now='later')
    assert made[11:] == []
    assert run(1, 1, now='later', overwrite=True) == (5, 1)
    assert made[11:] == [5, 6, 7, 8, 9]
    with pytest.raises(KeyboardInterrupt):
        run(1, 1, lambda b, e: make(b, e, stop=8), overwrite=True)
    assert not shards.is_done(Shard(1, 2))


def test_what_a_shard_lacks_is_named_when_they_are_put_together(tmp_path):
    shards = ShardFolder(tmp_path / 'out')

    def state(begin, end):
        return f'{begin} {end}'

    def make(begin, end):
        for number in range(begin, end):
            yield [f'line {number}'], []

    for index in (0, 1):
        run_printed(shards, Shard(index, 2), 4, {}, make, state=state)
    path = shards.folder(Shard(1, 2)) / 'printed.jsonl'
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    with pytest.raises(InputError, match=r'printed\.jsonl has 1 of 2; run shard 1/2 again'):
        list(printed(shards, 4, {}, state=state))
    path.unlink()
    with pytest.raises(InputError, match=r'printed\.jsonl is not there; run shard 1/2 again'):
        list(printed(shards, 4, {}, state=state))
    path.write_bytes(whole)
    assert len(list(printed(shards, 4, {}, state=state))) == 4


def test_predictions_of_a_video_that_changed_are_not_used(make_video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, seed in (('a.mp4', 0), ('b.mp4', 1)):
        (tmp_path / name).write_bytes(make_video(20, seed=seed).read_bytes())
    weights = ROOT / 'data' / 'sample' / 'r2plus1d_18_8_w0.125.pkl'
    flags = ('a.mp4', 'b.mp4', f'--load_model_path={weights}', '--clips=1', '--output=all.txt')

    def predict(*more):
        return run_tool_here('tools/predict.py', *flags, *more)

    assert predict('--shard=1/2').returncode == 0
    (tmp_path / 'b.mp4').write_bytes(make_video(20, seed=2).read_bytes())
    other = predict('--shard=0/2')  # puts together what there is
    assert other.returncode == 1
    assert '1_of_2: a video of this shard changed since; --overwrite=1' in other.stderr
    again = predict('--shard=1/2', '--overwrite=1')
    assert again.returncode == 0, again.stderr
    assert {'a.mp4', 'b.mp4'} <= set((tmp_path / 'all.txt').read_text().split())
