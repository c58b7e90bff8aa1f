"""What the driver and the actors of a run on a cluster do, without Ray."""

import contextlib
import itertools
import os
import pathlib
import subprocess
import sys

import pytest

import ray_workers
from conftest import ROOT
from r2plus1d.cli import command_line, flags
from r2plus1d.cluster import actor as actors
from r2plus1d.cluster import connection, driver, run
from r2plus1d.cluster.actor import ActorSettings, Counts, Opened, Outcome, ShardActor, Worker
from r2plus1d.cluster.crew import Lost, Member
from r2plus1d.cluster.driver import ShardJob
from r2plus1d.cluster.needs import Needs
from r2plus1d.cluster.shard_queue import LOST_NODES, TRIES, ShardQueue
from r2plus1d.devices import Shard
from r2plus1d.errors import BackendError, InputError
from r2plus1d.results.hold import HeldError, Hold
from r2plus1d.results.shards import ShardFolder


def test_needs():
    assert Needs(2).fitting({'CPU': 5.0}) == 2
    assert Needs(2, 1).fitting({'CPU': 9.0, 'GPU': 3.0}) == 3
    assert Needs(4, 1).fitting({'CPU': 9.0, 'GPU': 3.0}) == 2
    assert Needs().fitting({'GPU': 3.0}) == 0
    assert Needs(1, 1).fitting({'CPU': 3.0}) == 0
    assert (str(Needs()), str(Needs(2, 1))) == ('1 core', '2 cores and 1 GPU')


def test_shards_are_taken_in_order_and_put_off():
    now = [0.0]
    queue = ShardQueue([3, 1, 2], now=lambda: now[0])
    assert queue.take() == 3
    queue.put_off(3, 5)
    assert [queue.take() for _ in range(3)] == [1, 2, None]
    assert len(queue) == 1
    now[0] = 5.0
    assert queue.take() == 3
    assert len(queue) == 0


def test_a_shard_that_fails_is_tried_after_the_others_and_then_given_up():
    queue = ShardQueue([0, 1])
    for tried in range(1, TRIES + 1):
        assert queue.take() == 0
        assert queue.retry(0, 'its actor died') is (tried < TRIES)
        if tried == 1:
            assert queue.take() == 1
    assert queue.given_up == {0: f'its actor died, {TRIES} times'}
    assert queue.take() is None


def test_a_lost_node_is_hardly_the_fault_of_a_shard():
    queue = ShardQueue([])
    waits = [queue.retry(0, 'its node was lost', node_is_lost=True) for _ in range(LOST_NODES)]
    assert waits == [True] * (LOST_NODES - 1) + [False]
    assert queue.retry(1, 'its actor died') is True


@pytest.fixture
def settings(tmp_path, monkeypatch):
    """A function from a Worker's `run` to ActorSettings; the folder is put back."""
    monkeypatch.chdir(pathlib.Path.cwd())
    monkeypatch.setattr(actors, 'SECONDS_FOR_MARK', 0.1)
    mark = tmp_path / 'driver.mark'
    mark.write_text('token')

    def make(run_shard=lambda shard: Counts(2, 1), **changes):
        def open_worker():
            return contextlib.nullcontext(Worker({'engine': 'x'}, run_shard))

        given = {'open_worker': open_worker, 'folder': tmp_path, 'mark': mark, 'token': 'token'}
        return ActorSettings(**{**given, **changes})

    return make


def test_an_actor_does_shards_in_the_drivers_folder(tmp_path, settings):
    actor = ShardActor(settings(lambda shard: Counts(shard.index, shard.count)))
    opened = actor.open('a node')
    assert (opened.node, opened.kind, opened.refusal) == ('a node', {'engine': 'x'}, None)
    assert actor.run(1, 3) == Outcome(Counts(1, 3))
    assert pathlib.Path.cwd() == tmp_path


@pytest.mark.parametrize(
    ('changes', 'refusal'),
    [
        ({'token': 'of another run'}, 'driver.mark, which this run wrote, is not there; the out'),
        ({'mark': pathlib.Path('nowhere')}, 'nowhere, which this run wrote, is not there; the out'),
        ({'folder': pathlib.Path('/nowhere')}, '/nowhere: No such file or directory; the output'),
        ({'open_worker': ray_workers.refusing}, 'weights.pkl: No such file or directory'),
    ],
)
def test_an_actor_says_why_it_can_do_nothing(settings, changes, refusal):
    assert refusal in ShardActor(settings(**changes)).open('a node').refusal


@pytest.mark.parametrize(
    ('error', 'outcome'),
    [
        (HeldError('held'), Outcome(reason='held', is_held=True)),
        (InputError('wrong'), Outcome(reason='wrong', is_final=True)),
        (BackendError('no memory'), Outcome(reason='no memory')),
        (OSError(28, 'No space left', 'x'), Outcome(reason='x: No space left')),
        (KeyError('k'), Outcome(reason="KeyError: 'k'")),
    ],
)
def test_an_actor_says_what_became_of_a_shard(settings, error, outcome):
    def fail(shard):
        raise error

    actor = ShardActor(settings(fail))
    assert actor.open('a node').refusal is None
    assert actor.run(0, 1) == outcome


class FakeCrew:
    """Actors in this process: `says(number)` is what one says of a shard.

    Args:
        opened: what each says first.
        room: how many there can be.
    """

    def __init__(self, says, *, opened=None, room=2):
        opened = opened or [Opened('n', 'm', {})]
        self.members, self.refused, self.given = [], {}, []
        self._says, self._room, self._news = says, room, []
        self._opened = itertools.cycle(opened)

    def room(self):
        return self._room if 'n' not in self.refused else 0

    def fill(self, wanted):
        while len(self.members) < min(wanted, self.room()):
            self.members.append(Member(None))
            self._news.append((self.members[-1], next(self._opened)))

    def give(self, member, shard, count):
        member.shard = shard
        self.given.append(shard)
        self._news.append((member, self._says(shard)))

    def dismiss(self, member):
        self.members.remove(member)

    def wait(self, seconds):
        return self._news.pop(0) if self._news else None


@pytest.fixture
def run_with(tmp_path, monkeypatch):
    """Return a function that runs the driver with a FakeCrew, and gives its queue."""
    monkeypatch.setattr(driver, 'SECONDS_BETWEEN_LOOKS', 0)

    def run_it(crew, count=4, done=None):
        job = ShardJob(None, ShardFolder(tmp_path / 'x'), count, 10 * count, done or {})
        queue = ShardQueue(i for i in range(count) if i not in job.done)
        with driver._progress(job) as progress:
            driver._Run(job, Needs(), queue, crew, progress).run()
        return queue

    return run_it


DONE = Outcome(Counts(10, 1))


def in_turn(*outcomes):
    """What an actor says of a shard: the first, the second, ..."""
    said = {}

    def says(number):
        said.setdefault(number, iter(outcomes))
        return next(said[number])

    return says


def test_each_shard_is_given_once_to_as_many_actors_as_have_place(run_with):
    crew = FakeCrew(in_turn(DONE))
    assert run_with(crew).given_up == {}
    assert crew.given == [0, 1, 2, 3]
    assert crew.members == []


def test_what_is_done_is_not_given(run_with):
    crew = FakeCrew(in_turn(DONE))
    run_with(crew, done={1: Counts(10, 0)})
    assert crew.given == [0, 2, 3]


@pytest.mark.parametrize(
    'first',
    [
        Outcome(reason='held by process 5', is_held=True),
        Outcome(reason='disk full'),
        Lost('its actor died'),
        Lost('its node was lost', node_is_lost=True),
    ],
)
def test_what_is_not_done_is_given_again(run_with, first):
    crew = FakeCrew(in_turn(first, DONE))
    assert run_with(crew).given_up == {}
    assert sorted(crew.given) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_one_bad_shard_does_not_end_the_run(run_with):
    crew = FakeCrew(lambda number: Outcome(reason='bad', is_final=True) if number == 1 else DONE)
    assert run_with(crew).given_up == {1: 'bad'}
    assert crew.given == [0, 1, 2, 3]


def test_the_run_ends_where_every_shard_is_bad(run_with):
    crew = FakeCrew(lambda number: Outcome(reason='bad', is_final=True))
    with pytest.raises(InputError, match='^shard 0/40 failed: bad$'):
        run_with(crew, count=40)
    assert len(crew.given) == driver.ALL_FAIL + 1


def test_actors_that_all_die_at_once_end_the_run(run_with):
    crew = FakeCrew(in_turn(DONE), opened=[Lost('its actor died')])
    with pytest.raises(InputError, match='^10 actors died while they opened the network$'):
        run_with(crew)


def test_a_node_of_another_engine_takes_no_part(run_with, caplog):
    one, other = Opened('k', 'mk', {'engine': 'a'}), Opened('l', 'ml', {'engine': 'b'})
    crew = FakeCrew(in_turn(DONE), opened=[one, other])
    assert run_with(crew).given_up == {}
    assert crew.refused == {'l': 'the node ml: engine is b, and elsewhere a'}
    assert 'the node ml: engine is b, and elsewhere a; it takes no part' in caplog.text


def test_one_refusal_ends_the_run_where_there_is_no_other_node(run_with):
    crew = FakeCrew(in_turn(DONE), opened=[Opened('n', 'm', {}, 'no weights')])
    with pytest.raises(InputError, match='^the node m: no weights$'):
        run_with(crew)


def parse(*words):
    rest = {'test_data': None, 'load_model_path': None}
    groups = (flags.RAY, flags.DEVICES, flags.DATABASE, flags.ENGINE)
    return command_line.parse('x', *groups, argv=words, **rest)


@pytest.mark.parametrize(
    ('words', 'cores', 'decoders', 'threads'),
    [
        (['--ray=auto'], 1, 1, 1),
        (['--ray=auto', '--ray_cores=3'], 3, 3, 3),
        (['--ray=auto', '--ray_cores=3', '--engine_threads=2'], 3, 3, 2),
        (['--ray=auto', '--num_decode_threads=2'], 1, 2, 1),
        (['--ray=auto', '--num_gpus=2'], 8, 8, 0),
        (['--ray=auto', '--engine=caffe2'], 1, 1, 0),
        ([], None, 4, 0),
    ],
)
def test_an_actor_uses_what_ray_gives_it(monkeypatch, words, cores, decoders, threads):
    monkeypatch.setattr(run, 'require_ray', lambda: None)
    args = parse(*words)
    run.settle(args)
    assert (args.ray_cores, args.num_decode_threads, args.engine_threads) == (
        cores, decoders, threads,
    )  # fmt: skip


def finish(shards, shard, arguments, failed=1):
    shards.finish(shard, 10 * shard.index, 10 * shard.index + 10, arguments, failed=failed)
    shards.folder(shard).mkdir(exist_ok=True)


def test_shards_of_an_earlier_run(tmp_path):
    shards, here = ShardFolder(tmp_path / 'x'), {'crop_size': 112}
    shards.path.mkdir()
    finish(shards, Shard(0, 3), {**here, 'engine': 'a'})
    finish(shards, Shard(2, 3), {**here, 'engine': 'a'})
    found = run._done(shards, 3, here, again=False, replace=False)
    assert found == ({0: (10, 1), 2: (10, 1)}, {'engine': 'a'})
    finish(shards, Shard(2, 3), {**here, 'engine': 'b'})
    with pytest.raises(InputError, match=r'2_of_3 was made with other arguments: engine was b'):
        run._done(shards, 3, here, again=False, replace=False)
    found = run._done(shards, 3, here, again=False, replace=True)
    assert found == ({0: (10, 1)}, {'engine': 'a'})
    assert run._done(shards, 3, here, again=True, replace=False) == ({}, None)
    assert shards.is_empty()


def test_a_second_driver_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(run, 'require_ray', lambda: None)
    args, shards = parse('--ray=auto'), ShardFolder(tmp_path / 'x')
    run.settle(args)
    hold = Hold(shards.output, shards.path / 'driver.lock')
    with (
        pytest.raises(HeldError, match=f'x is being written by process {os.getpid()} on '),
        run.shards_done(args, 'test_net', shards.output, arguments={}, records=1),
    ):
        pass
    hold.release()


def test_without_the_package_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(connection.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match=r"the package ray: pip install 'r2plus1d\[ray\]'"):
        run.settle(parse('--ray=auto'))


@pytest.mark.parametrize('tool', ['test_net', 'extract_features'])
def test_nothing_imports_ray_without_the_flag(tool):
    code = f"""
import runpy, sys
sys.path.insert(0, {str(ROOT / 'tools')!r})
runpy.run_path({str(ROOT / 'tools' / f'{tool}.py')!r}, run_name='x')
print('ray' in sys.modules)
"""
    found = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert found.stdout == 'False\n'
