"""Runs in shards, merged: the bytes of one run; what is missing or contradicts is named."""

import dataclasses
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest

from conftest import ROOT
from extraction import ENGINE, FLAGS, NETWORK, PARAMETERS, TOOL, files_of, run_here, save_weights
from r2plus1d.backends.choose import EngineSettings, open_engine
from r2plus1d.cli.flag_types import shard as shard_flag
from r2plus1d.devices import Devices, Shard
from r2plus1d.errors import InputError
from r2plus1d.features import shards
from r2plus1d.features.extract import ExtractionSettings
from r2plus1d.features.job import FeatureJob, arguments_of, extract_features, open_source
from r2plus1d.features.publish import FeatureOutput
from r2plus1d.networks.initial import random_parameters
from r2plus1d.networks.network import Network
from r2plus1d.results.hold import HeldError, Hold
from r2plus1d.results.made_once import made_once
from r2plus1d.results.shards import ShardFolder
from r2plus1d.sources.database_source import DatabaseSource
from r2plus1d.sources.part import SourcePart
from r2plus1d.sources.sample import RecordNeeds
from r2plus1d.video.clip_settings import ClipSettings
from tool_here import run_here as run_tool_here

FEATURES = '--features=softmax,final_avg,label,video_id'
DENSE, FAILED = 36, (4, 17)
START = ClipSettings(length=8, decode_type='start')
COUNTS = (1, 7, 21)  # the last one is more than there are records


@pytest.fixture(scope='module')
def dense(make_video, tmp_path_factory):
    """A database of six videos, six clips of each; records of one video are not neighbours."""
    from r2plus1d.datasets.database_writer import DatabaseWriter
    from r2plus1d.datasets.record import Record

    folder = tmp_path_factory.mktemp('dense')
    videos = [make_video(20, seed=seed).read_bytes() for seed in range(6)]
    with DatabaseWriter(folder / 'db', DENSE) as writer:
        for i in range(DENSE):
            video = b'no video' if i in FAILED else videos[i % 6 if i < 12 else i // 6 % 6]
            writer.add(Record(video, (i % 8,), (5 * i) % 12, i % 6))
    return folder / 'db'


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    return save_weights(tmp_path_factory.mktemp('weights'))


def extraction(dense, weights, *more):
    return (f'--test_data={dense}', weights, *FLAGS, FEATURES, '--max_failures=2', *more)


def flow_of(dense, folder):
    network = dataclasses.replace(NETWORK, num_channels=2)
    (folder / 'flow').mkdir()
    weights = save_weights(folder / 'flow', random_parameters(network, 0))
    flow = ('--input_type=flow', '--clip_length_of=8', '--frame_gap_of=1', '--sampling_rate_of=1')
    flags = [flag for flag in FLAGS if 'clip_length' not in flag]
    return (f'--test_data={dense}', weights, *flags, *flow, FEATURES, '--max_failures=9')


def in_shards(flags, count, output, order=None):
    """Run every shard; return the results."""
    words = [f'--shard={i}/{count}' for i in order or range(count)]
    return [run_here(*flags, f'--output_path={output}', word) for word in words]


def read(output):
    """{name: bytes} of an output and its lists, without the folder's own name."""
    return files_of(output if output.is_dir() else output.parent)


@pytest.mark.parametrize('form', ['pickle', 'npy', 'flow'])
def test_shards_give_the_bytes_of_one_run(dense, weights, tmp_path, form):
    flags = extraction(dense, weights, f'--output_format={form}', '--sanity_check=1')
    if form == 'flow':
        flags = flow_of(dense, tmp_path)
    one = tmp_path / 'one' / 'features'
    single = run_here(*flags, f'--output_path={one}')
    assert single.returncode == 0, single.stderr
    assert f'failed: {len(FAILED)}' in single.stdout or form == 'flow'
    for count in (1, 7) if form == 'pickle' else (3,):
        output = tmp_path / str(count) / 'features'
        results = in_shards(flags, count, output, order=[*range(1, count), 0])
        assert [r.returncode for r in results] == [0] * count, results[0].stderr
        assert results[-1].stdout.splitlines()[2:-1] == single.stdout.splitlines()[:-1]
        assert read(output) == read(one)
        assert not output.with_name('features.shards').exists()
        assert not output.with_name('features.partial').exists()


def test_one_engine_runs_40_shards(dense, tmp_path):
    features = ['softmax', 'final_avg', 'label', 'video_id']
    one, all_shards = (
        FeatureJob(NETWORK, features, FeatureOutput(tmp_path / name / 'f.pkl', is_folder=False),
                   ExtractionSettings(batch_size=4, sanity_check=True))
        for name in ('one', 'all')
    )  # fmt: skip
    kept = ShardFolder(all_shards.output.path).path
    with (
        open_source(dense, START, RecordNeeds(8), features=features, kept=kept) as source,
        open_engine(
            NETWORK, devices=Devices(), outputs=features[:2], settings=EngineSettings(ENGINE)
        ) as engine,
    ):
        engine.load(PARAMETERS)
        arguments = arguments_of(one, source, engine, {}, weights='these')
        single = extract_features(one, source, engine, arguments).totals
        done = [
            shards.run_shard(all_shards, source, engine, arguments, Shard(i, 40)) for i in range(40)
        ]
        merged = shards.merge(all_shards, source, arguments).totals
    assert sum(each.records for each in done) == DENSE
    assert sum(each.records == 0 for each in done) >= 40 - 8  # six videos, two that are none
    assert merged == single
    assert files_of(tmp_path / 'all') == files_of(tmp_path / 'one')


def test_shards_of_video_files(make_video, weights, tmp_path):
    videos = [make_video(count, seed=count) for count in (40, 20, 4, 24)]  # one is too short
    flags = (
        '--videos', *videos, weights, *FLAGS, '--stride=8', '--max_failures=1',
        '--features=final_avg,video_id,start_frame',
    )  # fmt: skip
    one = tmp_path / 'one' / 'features'
    assert run_here(*flags, f'--output_path={one}').returncode == 0
    results = in_shards(flags, 3, tmp_path / 'three' / 'features')
    assert results[-1].returncode == 0, results[-1].stderr
    assert read(tmp_path / 'three' / 'features') == read(one)


def test_a_copy_of_the_database_gives_the_same(dense, weights, tmp_path, monkeypatch):
    (tmp_path / 'disk').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'disk'))
    flags = (*extraction(dense, weights), '--decode_type=uniform', '--clip_per_video=1')
    one, output = tmp_path / 'one' / 'f', tmp_path / 'all' / 'f'
    assert run_here(*flags, f'--output_path={one}').returncode == 0
    results = in_shards((*flags, '--copy_database=1'), 2, output)
    assert [result.returncode for result in results] == [0, 0], results[0].stderr
    assert read(output) == read(one)
    assert len(list((tmp_path / 'disk').iterdir())) == 1


def test_merge_is_the_last_word(dense, weights, tmp_path):
    flags = (*extraction(dense, weights), f'--output_path={tmp_path / "out" / "f"}')
    nothing = run_here(*flags, '--merge')
    assert nothing.returncode == 1
    assert 'f.shards has no shards to merge' in nothing.stderr
    for i in (0, 2):
        assert run_here(*flags, f'--shard={i}/3').returncode == 0
    missing = run_here(*flags, '--merge')
    assert missing.returncode == 1
    assert '1 of 3 shards are not done: 1/3' in missing.stderr
    assert run_here(*flags, '--shard=1/3').returncode == 0
    before = read(tmp_path / 'out' / 'f')
    for again in ('--merge', '--shard=2/3'):
        done = run_here(*flags, again)
        assert (done.returncode, read(tmp_path / 'out' / 'f')) == (0, before), done.stderr
        assert 'complete already' in done.stderr
        assert 'records: 36, extracted: 34, failed: 2' in done.stdout
        assert not (tmp_path / 'out' / 'f.shards').exists()


def test_contradictions_are_named(dense, weights, tmp_path):
    flags = (*extraction(dense, weights), f'--output_path={tmp_path / "f"}')
    assert run_here(*flags, '--shard=0/2').returncode == 0
    other_count = run_here(*flags, '--shard=0/3')
    assert 'f.shards has shards of 2, and this is one of 3' in other_count.stderr
    folder = tmp_path / 'others'
    folder.mkdir()
    others = save_weights(folder, random_parameters_again())
    assert run_here(*flags, others, '--shard=1/2').returncode == 1
    both = run_here(*flags, '--merge', '--shard=1/2')
    assert both.returncode == 1
    assert 'give one of them' in both.stderr
    folder = ShardFolder(tmp_path / 'f')
    folder.folder(Shard(1, 4)).mkdir()
    assert 'shards of 2 and of 4: remove those of one' in run_here(*flags, '--merge').stderr


def random_parameters_again():
    return random_parameters(NETWORK, 1)


def test_another_shard_may_have_other_weights_but_is_not_merged(dense, weights, tmp_path):
    flags = (*extraction(dense, weights), f'--output_path={tmp_path / "f"}')
    folder = tmp_path / 'others'
    folder.mkdir()
    others = save_weights(folder, random_parameters_again())
    assert run_here(*flags, '--shard=0/2').returncode == 0
    last = run_here(*flags, others, '--shard=1/2')
    assert last.returncode == 1
    assert '0_of_2 was made with other arguments: load_model_path was' in last.stderr
    assert not (tmp_path / 'f').exists()


def test_what_is_there_is_replaced_if_it_differs_and_only_then(dense, weights, tmp_path):
    output = tmp_path / 'f'
    flags = (*extraction(dense, weights), '--if_different=replace')
    in_shards(flags, 2, output)
    before = output.stat().st_mtime_ns
    for result in in_shards(flags, 2, output):
        assert 'complete already' in result.stderr
    assert output.stat().st_mtime_ns == before
    run_here(*flags, f'--output_path={output}', '--features=label', '--shard=0/2')
    done = in_shards((*flags, '--features=softmax'), 2, output)[-1]
    assert done.returncode == 0, done.stderr
    assert '\nsoftmax: float32, 34x8\n' in done.stdout
    assert 'final_avg' not in done.stdout


def test_a_shard_is_begun_again(dense, weights, tmp_path):
    flags = (*extraction(dense, weights), f'--output_path={tmp_path / "f"}', '--stats=1')
    assert 'frames decoded: 0' not in run_here(*flags, '--shard=0/2').stdout
    assert 'frames decoded: 0' in run_here(*flags, '--shard=0/2').stdout
    again = run_here(*flags, '--shard=0/2', '--overwrite=1')
    assert 'frames decoded: 0' not in again.stdout


@pytest.mark.parametrize('count', [1, 2, 3, 5, 36, 50])
def test_no_video_is_cut(dense, count):
    with DatabaseSource(dense, START, RecordNeeds(None), by_video=True) as source:
        groups = source._scan.groups
        parts = [SourcePart(source, Shard(i, count)) for i in range(count)]
        videos = [
            {int(groups[source.index_at(place)]) for place in range(part.begin, part.end)}
            for part in parts
        ]
    assert [part.begin for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert (parts[0].begin, parts[-1].end) == (0, DENSE)
    assert sum(map(len, videos)) == len(set().union(*videos))


def test_records_in_the_order_of_their_keys_are_cut_between_videos(make_database, make_video):
    one, other = make_video(20, seed=1).read_bytes(), make_video(20, seed=2).read_bytes()
    path = make_database([(one, 0), (one, 1), (one, 2), (other, 3), (b'x', 4), (b'x', 5)])
    with DatabaseSource(path, ClipSettings(length=8, clips=2), RecordNeeds(None)) as source:
        assert [source.cut(place) for place in range(7)] == [0, 3, 3, 3, 4, 6, 6]
        part = SourcePart(source, Shard(1, 2))
        assert [sample.index for sample in part] == [3, 4, 5]


@pytest.mark.parametrize('text', ['2/2', '-1/2', '1', '1/0', 'a/b', '1/2/3', '²/3'])
def test_a_wrong_shard_is_refused(text):
    import argparse

    with pytest.raises(argparse.ArgumentTypeError):
        shard_flag(text)


NET = Network('r2d', 10, clip_length=8, num_labels=7, width=0.125)


@pytest.fixture(scope='module')
def scoring(make_video, tmp_path_factory):
    from r2plus1d.datasets.database_writer import DatabaseWriter
    from r2plus1d.datasets.record import Record
    from r2plus1d.weights.files import save_pickle

    folder = tmp_path_factory.mktemp('scoring')
    with DatabaseWriter(folder / 'db', 20) as writer:
        for i in range(20):
            video = b'no video' if i in (3, 11) else make_video(12, seed=i % 5).read_bytes()
            writer.add(Record(video, (i % 7,), None, i))
    save_pickle(folder / 'weights.pkl', random_parameters(NET, 0))
    return (
        f'--test_data={folder / "db"}', f'--load_model_path={folder / "weights.pkl"}',
        '--clip_length_rgb=8', '--clip_per_video=2', '--batch_size=3', f'--engine={ENGINE}',
    )  # fmt: skip


@pytest.fixture(scope='module')
def single(scoring, tmp_path_factory):
    """(what one run printed, its files)."""
    folder = tmp_path_factory.mktemp('single')
    done = run_tool_here('tools/test_net.py', *scoring, f'--output={folder / "p.csv"}')
    assert done.returncode == 3
    return done.stdout, files_of(folder)


@pytest.mark.parametrize('count', COUNTS)
def test_an_evaluation_in_shards(scoring, single, tmp_path, count):
    tool = 'tools/test_net.py'
    flags = (*scoring, f'--output={tmp_path / "all" / "p.csv"}')
    for i in range(count):
        result = run_tool_here(tool, *flags, f'--shard={i}/{count}')
        assert result.returncode == (3 if i == count - 1 else 0), result.stderr
        if i == 0 and count > 1:
            partial = run_tool_here(tool, *flags, '--merge')
            assert partial.returncode == 1
            assert f'{count - 1} of {count} shards are not done' in partial.stderr
    printed, files = single
    assert result.stdout.splitlines()[1:] == printed.splitlines()
    assert files_of(tmp_path / 'all') == files


def test_shards_give_the_table_and_the_report_of_one_run(scoring, tmp_path):
    tool = 'tools/test_net.py'

    def flags(name):
        return (*scoring, f'--output={tmp_path / name}.csv', f'--report={tmp_path / name}.html',
                '--by_class=1')  # fmt: skip

    def counts(name):
        page = (tmp_path / f'{name}.html').read_text()
        return page[page.index('>Accuracy<') : page.index('>Classes that are confused<')]

    single = run_tool_here(tool, *flags('one'))
    first = run_tool_here(tool, *flags('all'), '--shard=0/2')
    assert not (tmp_path / 'all.html').exists()
    last = run_tool_here(tool, *flags('all'), '--shard=1/2')
    assert (first.returncode, last.returncode) == (0, 3)
    assert 'columns: what the videos' in single.stdout
    assert last.stdout.splitlines()[1:] == single.stdout.splitlines()
    assert counts('all') == counts('one')


def test_a_removal_that_is_interrupted_leaves_no_shard_that_seems_to_be_missing(
    tmp_path, monkeypatch
):
    def interrupted(path, **_):
        if path.exists():
            next(path.glob('*.done.json')).unlink()
            raise KeyboardInterrupt

    folder = ShardFolder(tmp_path / 'x')
    folder.path.mkdir()
    for i in range(3):
        folder.finish(Shard(i, 3), i, i + 1, {}, failed=0)
    with monkeypatch.context() as patch:
        patch.setattr('shutil.rmtree', interrupted)
        with pytest.raises(KeyboardInterrupt):
            folder.remove()
    assert folder.is_empty()
    folder.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--shard=0/2'], 'need --output'),
        (['--merge'], 'need --output'),
        (['--shard=0/2', '--output=p.csv', '--on_error=fail'], 'on_error=fail is of one run'),
    ],
)
def test_what_an_evaluation_in_shards_needs(scoring, flags, message):
    result = run_tool_here('tools/test_net.py', *scoring, *flags)
    assert result.returncode == 1
    assert message in result.stderr


# Ends itself as SIGKILL does once so many records are in the journal.
DRIVER = """
import os, runpy, signal, sys
from r2plus1d.features import shards, store

def add(self, entries, arrays):
    before(self, entries, arrays)
    if self.done >= {after}:
        os.kill(os.getpid(), signal.SIGKILL)

before, store.Store.add, store.SECONDS_BETWEEN_SYNCS = store.Store.add, add, 0
shards.BLOCK_BYTES = 1
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition('/')[0])
runpy.run_path(sys.argv[0], run_name='__main__')
"""


def killed(flags, after):
    command = [sys.executable, '-c', DRIVER.format(after=after), str(ROOT / TOOL), *map(str, flags)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def test_a_killed_shard_and_a_killed_merge_go_on(dense, weights, tmp_path):
    flags = extraction(dense, weights, '--batch_size=2')
    one, output = tmp_path / 'one' / 'f', tmp_path / 'all' / 'f'
    assert run_here(*flags, f'--output_path={one}').returncode == 0
    flags += (f'--output_path={output}',)
    killed([*flags, '--shard=1/2'], after=6)
    assert run_here(*flags, '--shard=0/2').returncode == 0
    unfinished = run_here(*flags, '--merge')
    assert '1 of 2 shards are not done: 1/2' in unfinished.stderr
    killed([*flags, '--shard=1/2'], after=20)  # in the merge: a shard has fewer
    assert ShardFolder(output).are_done(2)
    merged = run_here(*flags, '--merge')
    assert merged.returncode == 0, merged.stderr
    assert '20 of 36 records are done' in merged.stderr
    assert read(output) == read(one)


def test_two_do_not_merge_at_once(tmp_path):
    folder = ShardFolder(tmp_path / 'f')
    with folder.merging(), pytest.raises(HeldError, match='is being written by'):
        folder.merging().__enter__()
    assert not folder.path.exists()
    finished(folder, (0, 1), (1, 2), arguments=[{}, {}])
    with folder.merging(Shard(1, 2)) as first, folder.merging(Shard(0, 2)) as second:
        assert (first, second) == (True, False)
    folder.forget(Shard(0, 2))
    with folder.merging(Shard(1, 2)) as is_mine:
        assert not is_mine
    folder.remove()
    with folder.merging(Shard(1, 2)) as is_mine:  # another run has merged them
        assert not is_mine


def finished(folder, *ranges, arguments):
    for i, (begin, end) in enumerate(ranges):
        folder.path.mkdir(exist_ok=True)
        folder.finish(Shard(i, len(ranges)), begin, end, arguments[i], failed=0)


@pytest.mark.parametrize(
    ('ranges', 'arguments', 'message'),
    [
        ([(0, 2), (3, 4)], [{}, {}], 'those before it end at 2'),
        ([(0, 2), (2, 3)], [{}, {}], 'has 3 records, and there are 4'),
        ([(0, 2), (2, 4)], [{}, {'precision': 'bf16'}], '1_of_2 was made with other arguments'),
        ([(0, 2), (2, 4)], [{'engine': 'a'}, {'engine': 'b'}], 'engine was b and is a'),
    ],
)
def test_shards_that_do_not_fit_together(tmp_path, ranges, arguments, message):
    folder = ShardFolder(tmp_path / 'f')
    finished(folder, *ranges, arguments=arguments)
    with pytest.raises(InputError, match=message):
        folder.all({}, 4, free=('engine', 'gpus'))


def test_a_damaged_note_is_named(tmp_path):
    folder = ShardFolder(tmp_path / 'f')
    finished(folder, (0, 2), (2, 4), arguments=[{}, {}])
    (folder.path / '1_of_2.done.json').write_text('{')
    with pytest.raises(InputError, match='1_of_2.done.json is damaged.*run shard 1/2 again'):
        folder.all({}, 4, free=())


def test_what_one_run_makes_the_others_wait_for(tmp_path):
    path, made = tmp_path / 'seen', []

    def read_text(place):
        return place.read_text() if place.exists() else None

    def make():
        made.append(1)
        return 'seen'

    hold = Hold(path)
    waiting = threading.Thread(
        target=lambda: made_once(path, read_text, make, lambda p, text: p.write_text(text))
    )
    waiting.start()
    time.sleep(0.1)
    assert waiting.is_alive()
    path.write_text('of the other one')
    hold.release()
    waiting.join(30)
    assert not made
    path.unlink()
    assert made_once(path, read_text, make, lambda p, text: p.write_text(text)) == 'seen'
    assert (made, path.read_text()) == ([1], 'seen')
    assert [p.name for p in tmp_path.iterdir()] == ['seen']


def test_records_are_read_once_for_all_shards(dense, tmp_path, monkeypatch):
    from r2plus1d.sources import database_source

    kept = tmp_path / 'seen.npz'
    with DatabaseSource(dense, START, RecordNeeds(None), by_video=True, kept=kept) as source:
        identity, order = source.identity, source._order
    monkeypatch.setattr(database_source, 'scan', None)
    with DatabaseSource(dense, START, RecordNeeds(None), by_video=True, kept=kept) as source:
        assert (source.identity, source._order.tolist()) == (identity, order.tolist())
    with pytest.raises(TypeError):  # other records are scanned anew
        DatabaseSource(dense, START, RecordNeeds(None), by_video=True, kept=kept, limit=5)
    whole = kept.read_bytes()
    np.savez(kept, of=np.array('x'))
    others = kept.read_bytes()
    for damaged in (others, whole[:-9], whole[:400] + bytes(9) + whole[409:]):
        kept.write_bytes(damaged)
        with pytest.raises(TypeError):
            DatabaseSource(dense, START, RecordNeeds(None), by_video=True, kept=kept)
