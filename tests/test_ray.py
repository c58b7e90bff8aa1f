"""Shards on a cluster of Ray: several nodes in one machine, on 127.0.0.1."""

import functools
import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time

import pytest

import extraction
import ray_workers
import tool_here
from conftest import ROOT
from r2plus1d.cluster import driver
from r2plus1d.cluster.connection import LOCAL, connected
from r2plus1d.cluster.driver import ShardJob, run_shards
from r2plus1d.cluster.needs import Needs
from r2plus1d.devices import Shard
from r2plus1d.errors import InputError
from r2plus1d.results.hold import Hold
from r2plus1d.results.shards import ShardFolder

pytest.importorskip('ray')

SECONDS = 90  # for what a test waits for
NODE = {'node_ip_address': LOCAL, 'object_store_memory': 80 << 20, 'include_dashboard': False}
PIXELS = ('--features=data,label', '--decode_type=uniform', '--clip_per_video=2',
          '--clip_length_rgb=8', '--engine_threads=1')  # fmt: skip


@pytest.fixture(scope='module')
def cluster():
    """Two nodes with one core each."""
    from ray.cluster_utils import Cluster

    before = {name: os.environ.get(name) for name in ('RAY_USAGE_STATS_ENABLED', 'RAY_AUTH_MODE')}
    os.environ.update(RAY_USAGE_STATS_ENABLED='0', RAY_AUTH_MODE='disabled')
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, 'num_cpus': 1})
    cluster.add_node(**NODE, num_cpus=1)
    yield cluster
    cluster.shutdown()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})


@pytest.fixture
def address(cluster):
    return f'--ray={cluster.address}'


@pytest.fixture
def database(make_video, make_database):
    """Eight videos, one of which is none."""
    videos = [make_video(20, seed=seed).read_bytes() for seed in range(7)]
    return make_database([(video, i) for i, video in enumerate([*videos[:3], b'x', *videos[3:]])])


def extract(*flags):
    return tool_here.run_here('tools/extract_features.py', *flags)


def test_net(*flags):
    return tool_here.run_here('tools/test_net.py', *flags)


test_net.__test__ = False


def wait_for(is_there):
    end = time.monotonic() + SECONDS
    while not is_there():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_features_and_failures_are_the_same_bytes(tmp_path, address, database):
    flags = [f'--test_data={database}', extraction.save_weights(tmp_path), *extraction.FLAGS,
             '--features=final_avg,softmax,label', '--decode_type=uniform', '--clip_per_video=2',
             '--max_failures=1']  # fmt: skip
    one = extract(*flags, '--engine_threads=1', f'--output_path={tmp_path}/one/x.pickle')
    several = extract(*flags, address, '--ray_shards=5', f'--output_path={tmp_path}/ray/x.pickle')
    assert (one.returncode, several.returncode) == (0, 0), several.stderr
    assert several.stdout == one.stdout.replace('/one/', '/ray/')
    assert 'failed: 1' in several.stdout
    assert extraction.files_of(tmp_path / 'ray') == extraction.files_of(tmp_path / 'one')
    assert not (tmp_path / 'ray' / 'x.pickle.shards').exists()


def test_predictions_and_totals_are_the_same_bytes(tmp_path, address, database):
    flags = [f'--test_data={database}', extraction.save_weights(tmp_path), *extraction.FLAGS,
             '--clip_per_video=2']  # fmt: skip
    one = test_net(*flags, '--engine_threads=1', f'--output={tmp_path}/one/x.csv')
    several = test_net(*flags, address, '--ray_shards=3', f'--output={tmp_path}/ray/x.csv')
    assert (one.returncode, several.returncode) == (3, 3), several.stderr
    assert several.stdout == one.stdout
    assert extraction.files_of(tmp_path / 'ray') == extraction.files_of(tmp_path / 'one')


def test_files_of_each_video_are_the_same_bytes(tmp_path, address, make_video):
    videos = tmp_path / 'videos'
    videos.mkdir()
    for number in range(5):
        (videos / f'{number}.mp4').write_bytes(make_video(20, seed=number).read_bytes())
    (videos / 'none.mp4').write_bytes(b'x')
    flags = [f'--videos={videos}', '--features=data', '--clip_length_rgb=8',
             '--output_format=per_video', '--max_failures=1', '--engine_threads=1']  # fmt: skip
    one = extract(*flags, f'--output_path={tmp_path}/one')
    for more in ([], ['--overwrite=1']):
        several = extract(*flags, *more, address, '--ray_shards=3', f'--output_path={tmp_path}/ray')
        assert (one.returncode, several.returncode) == (0, 0), several.stderr
        assert several.stdout == one.stdout.replace(f'{tmp_path}/one', f'{tmp_path}/ray')
        assert extraction.files_of(tmp_path / 'ray') == extraction.files_of(tmp_path / 'one')


def test_overwrite_begins_again_and_what_is_complete_is_told(tmp_path, address, database, one_run):
    flags = [*pixels(database, tmp_path / 'ray'), address, '--ray_shards=4']
    shards = ShardFolder(tmp_path / 'ray' / 'x.pickle')
    shards.path.mkdir(parents=True)
    shards.finish(Shard(1, 4), 0, 0, {'of': 'another run'}, failed=0)
    found = extract(*flags)
    assert found.returncode == 1
    assert '1_of_4 was made with other arguments' in found.stderr
    found = extract(*flags, '--overwrite=1')
    assert found.returncode == 0, found.stderr
    assert extraction.files_of(tmp_path / 'ray') == one_run
    found = extract(*flags)
    assert found.returncode == 0
    assert 'is complete already' in found.stderr
    assert 'Ray' not in found.stderr


def pixels(database, folder):
    return [*PIXELS, f'--test_data={database}', '--max_failures=1',
            f'--output_path={folder}/x.pickle']  # fmt: skip


@pytest.fixture
def one_run(tmp_path, database):
    """What one process makes of the clips."""
    found = extract(*pixels(database, tmp_path / 'one'))
    assert found.returncode == 0, found.stderr
    return extraction.files_of(tmp_path / 'one')


def test_a_shard_whose_actor_is_killed_goes_to_another(
    tmp_path, address, database, one_run, monkeypatch
):
    monkeypatch.setattr('r2plus1d.cluster.run.open_program', ray_workers.killed_once)
    found = extract(*pixels(database, tmp_path / 'ray'), address, '--ray_shards=4')
    assert found.returncode == 0, found.stderr
    assert found.stderr.count('died; it is tried again') == 1
    assert 'shard 1/4: its actor on ' in found.stderr
    (tmp_path / 'ray' / 'died').unlink()
    assert extraction.files_of(tmp_path / 'ray') == one_run


def test_a_shard_that_kills_its_actors_is_named_and_the_rest_is_done(
    tmp_path, address, database, one_run, monkeypatch
):
    flags = [*pixels(database, tmp_path / 'ray'), address, '--ray_shards=4']
    with monkeypatch.context() as patch:
        patch.setattr('r2plus1d.cluster.run.open_program', ray_workers.killed_at_one)
        found = extract(*flags)
    assert (found.returncode, found.stdout) == (3, '')
    assert 'shard 1/4 was given up: its actor on ' in found.stderr
    assert 'died, 3 times; see ' in found.stderr
    assert '1 of 4 shards are not done' in found.stderr
    found = extract(*flags)
    assert found.returncode == 0, found.stderr
    assert '3 of 4 shards are done' in found.stderr
    assert extraction.files_of(tmp_path / 'ray') == one_run


def test_a_shard_whose_node_is_killed_goes_to_another(
    tmp_path, cluster, address, database, one_run, monkeypatch
):
    node = cluster.add_node(**NODE, num_cpus=1)
    folder = tmp_path / 'ray'
    folder.mkdir()
    (folder / 'doomed').write_text(node.node_id)

    def kill():
        wait_for((folder / 'started').exists)
        cluster.remove_node(node, allow_graceful=False)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    monkeypatch.setattr('r2plus1d.cluster.run.open_program', ray_workers.on_a_node_that_goes)
    found = extract(*pixels(database, folder), address, '--ray_shards=6')
    thread.join(SECONDS)
    assert found.returncode == 0, found.stderr
    started = (folder / 'started').read_text()
    told = f'shard {started}/6: its (actor on .* cannot be reached|node .* was lost); it is tried'
    assert re.search(told, found.stderr)
    for name in ('doomed', 'started'):
        (folder / name).unlink()
    assert extraction.files_of(folder) == one_run


class AddNode(logging.Handler):
    """Adds a node once the run says that it waits for one."""

    def __init__(self, cluster):
        super().__init__()
        self.cluster, self.node = cluster, None

    def emit(self, record):
        if 'this run waits for one' in record.getMessage():
            self.node = self.cluster.add_node(**NODE, num_cpus=2)


def test_a_node_that_joins_late_is_used(tmp_path, cluster, address, database, one_run, monkeypatch):
    monkeypatch.setattr(driver, 'SECONDS_BETWEEN_LOOKS', 0.5)
    handler = AddNode(cluster)
    driver.log.addHandler(handler)
    try:
        found = extract(*pixels(database, tmp_path / 'ray'), address, '--ray_cores=2')
    finally:
        driver.log.removeHandler(handler)
        cluster.remove_node(handler.node)
    assert found.returncode == 0, found.stderr
    assert 'no node has 2 cores for an actor' in found.stderr
    assert extraction.files_of(tmp_path / 'ray') == one_run


def begin(*flags):
    """Start a driver in a process of its own."""
    command = [sys.executable, ROOT / 'tools' / 'extract_features.py', *flags]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_driver_that_ends_goes_on_and_a_second_one_is_refused(
    tmp_path, address, database, one_run
):
    flags = [*pixels(database, tmp_path / 'ray'), address, '--ray_shards=4']
    shards = ShardFolder(tmp_path / 'ray' / 'x.pickle')
    last = shards.folder(Shard(3, 4))
    hold = Hold(last, last / 'lock')  # the driver cannot end before it is released
    for number, status in ((signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)):
        with begin(*flags) as process:
            wait_for(lambda: all(shards.is_done(Shard(i, 4)) for i in range(3)))
            wait_for((shards.path / 'driver.mark').exists)
            second = extract(*flags)
            process.send_signal(number)
            log = process.communicate(timeout=SECONDS)[1]
        assert process.returncode == status, log
        assert second.returncode == 1
        assert f'is being written by process {process.pid} on ' in second.stderr
        if number == signal.SIGTERM:
            assert log.endswith('extract_features.py: ended by SIGTERM\n')
            assert 'the actors have ended; 3 of 4 shards are done' in log
    hold.release()
    found = extract(*flags)
    assert found.returncode == 0, found.stderr
    assert '3 of 4 shards are done' in found.stderr
    assert extraction.files_of(tmp_path / 'ray') == one_run


def test_an_output_that_the_nodes_do_not_share_is_told(tmp_path, cluster, monkeypatch):
    shards = ShardFolder(tmp_path / 'x')
    monkeypatch.setattr(driver, 'SECONDS_FOR_FILES', 0.1)
    with (
        connected(cluster.address, Needs()),
        pytest.raises(InputError, match=r'shard 0/1 was done on another node, and .*x.shards does'),
    ):
        run_shards(ShardJob(ray_workers.no_notes, shards, 1, 1, {}), Needs())


def test_what_no_node_can_open_ends_the_run(tmp_path, cluster):
    shards = ShardFolder(tmp_path / 'x')
    with (
        connected(cluster.address, Needs()),
        pytest.raises(InputError, match=r'^the node .*: weights.pkl: No such file'),
    ):
        run_shards(ShardJob(ray_workers.refusing, shards, 3, 3, {}), Needs())


def test_an_earlier_run_decides_the_engine(tmp_path, cluster):
    shards = ShardFolder(tmp_path / 'x')
    worker = functools.partial(ray_workers.notes_only, tmp_path / 'x')
    job = ShardJob(worker, shards, 3, 30, {}, {'engine': 'other'})
    with (
        connected(cluster.address, Needs()),
        pytest.raises(InputError, match='engine is none, and elsewhere other'),
    ):
        run_shards(job, Needs())


@pytest.mark.parametrize(
    ('flags', 'message'),
    [
        (['--ray=127.0.0.1:1'], 'ray is 127.0.0.1:1, where no cluster answers: '),
        (['--ray=here'], 'ray is here; give auto, or HOST:PORT'),
        (['--ray=ray://127.0.0.1:1'], 'run this on a machine of the cluster'),
        (['--ray=auto', '--shard=0/2'], 'ray does all parts and merges them'),
        (['--ray=auto', '--merge=1'], 'ray does all parts and merges them'),
        (['--ray=auto', '--gpus=0'], 'gpus names GPUs, which Ray chooses; give num_gpus'),
        (['--ray=auto', '--stats=1'], 'stats is of one process; with ray, leave it out'),
        (['--ray_shards=2'], 'ray_shards=2 does nothing without ray'),
        (['--ray_cores=2'], 'ray_cores=2 does nothing without ray'),
    ],
)
def test_flags_that_cannot_be_are_refused(tmp_path, database, flags, message):
    given = [*PIXELS[:-1], f'--test_data={database}', f'--output_path={tmp_path}/x.pickle']
    found = extract(*given, *flags)
    assert found.returncode == 1, found.stderr
    assert message in found.stderr
    assert 'Traceback' not in found.stderr


LOCAL_CLUSTER = """
import logging, signal, sys
import psutil
from r2plus1d.cluster import connection
from r2plus1d.cluster.needs import Needs
from r2plus1d.errors import InputError
logging.basicConfig(level=logging.INFO)
connection._connect = lambda ray, address: False  # as where no cluster runs
handler = lambda *_: None
signal.signal(signal.SIGTERM, handler)
with connection.connected('auto', Needs()):
    print('not for stdout')
    children = psutil.Process().children(recursive=True)
    places = {c.laddr.ip for p in [psutil.Process(), *children]
              for c in p.net_connections('tcp') if c.status == 'LISTEN'}
    is_kept = signal.getsignal(signal.SIGTERM) is handler
print({place.removeprefix('::ffff:') for place in places}, is_kept)
print(not any(child.is_running() and child.status() != 'zombie' for child in children))
try:
    with connection.connected('auto', Needs(10_000)):
        pass
except InputError as error:
    print(error)
"""


def test_a_cluster_of_this_machine_listens_on_it_alone_and_ends(tmp_path):
    found = subprocess.run(
        [sys.executable, '-c', LOCAL_CLUSTER],
        capture_output=True, text=True, timeout=SECONDS, check=False, cwd=tmp_path,
    )  # fmt: skip
    listening, has_ended, refusal = found.stdout.splitlines()
    assert listening == "{'127.0.0.1'} True", found.stderr
    assert has_ended == 'True'
    assert refusal.startswith('an actor takes 10000 cores; this machine has ')
    lines = found.stderr.splitlines()
    assert len(lines) == 1, found.stderr
    assert 'no cluster runs here; one was started on 127.0.0.1 with ' in lines[0]


def run_benchmark(name, *flags):
    """Run it on one core, as the nodes have no more."""
    core = min(os.sched_getaffinity(0))
    return subprocess.run(
        [sys.executable, ROOT / 'benchmarks' / name, *flags],
        capture_output=True, text=True, timeout=SECONDS, check=False,
        preexec_fn=lambda: os.sched_setaffinity(0, {core}),
    )  # fmt: skip


def test_what_the_benchmarks_print(cluster, monkeypatch):
    monkeypatch.setenv('RAY_ADDRESS', cluster.address)  # no other cluster is started
    found = run_benchmark('driver_memory.py', '--records=80')
    assert re.search(r'\n80 records in 40 shards: peak \d+ MiB\n$', found.stdout), found.stderr
    flags = (*extraction.FLAGS[:3], '--engine=openvino', '--model_name=r2d')
    found = run_benchmark(
        'shards.py', *flags, '--videos=2', '--shards=2', '--repeats=1', '--num_frames=20'
    )
    lines = found.stdout.splitlines()[1:]
    assert len(lines) == 4, found.stderr
    assert lines[0].startswith('one process: ')
    assert all(re.search(r'\d s, \d+\.\d\d of one process$', line) for line in lines)
