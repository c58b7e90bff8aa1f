"""One command, several processes: on a CPU in the place of GPUs, through gloo on 127.0.0.1."""

import contextlib
import os
import re
import socket
import subprocess
import sys
import types

import numpy as np
import pytest

from conftest import ROOT
from r2plus1d.backends.installed import has
from r2plus1d.devices import Shard
from r2plus1d.errors import BackendError
from r2plus1d.results.hold import HeldError, Hold
from r2plus1d.training.launch import rank_arguments, run_together
from r2plus1d.weights.files import read_minidb

needs_torch = pytest.mark.skipif(not has('torch'), reason='needs PyTorch 2')
TOOL = str(ROOT / 'tools' / 'train_net.py')
FLAGS = (
    '--model_name=r2d', '--model_depth=10', '--width=0.0625', '--clip_length_rgb=8',
    '--num_labels=5', '--epoch_size=8', '--base_learning_rate=0.01', '--trainer=torch',
    '--num_epochs=1', '--batch_size=2',
)  # fmt: skip
LAST = 'r2d_w0.0625_1.mdl'


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Several share the clips of a batch, and other shares give other bits."""
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


@pytest.fixture
def together(tmp_path):
    """Return a function that runs Python texts as the processes of a run."""

    def run(*codes, **options):
        commands = [['-c', code] for code in codes]
        options = {'folder': tmp_path / 'run', 'run_id': 'r', 'machine': Shard(), **options}
        return run_together(commands, **options)

    return run


@contextlib.contextmanager
def held(folder, name):
    hold = Hold(folder, folder / name)
    yield
    hold.release()


def assert_same_training(one, other):
    ours, theirs = read_minidb(one), read_minidb(other)
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_allclose(array, theirs[name], rtol=1e-3, atol=1e-5, err_msg=name)


def test_each_process_has_its_number_and_its_device():
    lines = rank_arguments(['t.py', '--gpus=4,7'], [['--gpus=4'], ['--gpus=7']], Shard(1, 3))
    assert lines == [
        ['t.py', '--gpus=4,7', '--num_shards=6', '--shard_id=2', '--gpus=4'],
        ['t.py', '--gpus=4,7', '--num_shards=6', '--shard_id=3', '--gpus=7'],
    ]


def test_the_first_one_speaks_the_others_log(together, tmp_path, capfd):
    say = "import sys; print({0!r}); print('log ' + {0!r}, file=sys.stderr)"
    assert together(say.format('a'), say.format('b')) == 0
    out, err = capfd.readouterr()
    assert sorted(out) == ['\n', '\n', 'a', 'b']
    assert err == 'log a\n'
    assert (tmp_path / 'run' / 'rank_1.log').read_text() == 'log b\n'


def test_logs_are_numbered_over_the_machines(together, tmp_path):
    assert together('0', '0', machine=Shard(1, 3)) == 0
    assert [path.name for path in (tmp_path / 'run').glob('*.log')] == ['rank_3.log']


@pytest.mark.parametrize('lock', ['r_launch_0.lock', 'train_net.lock', 'train_net_1.lock'])
def test_a_second_run_touches_nothing_of_the_first(together, tmp_path, lock):
    place, log = tmp_path / 'run' / 'r_rendezvous', tmp_path / 'run' / 'rank_1.log'
    with held(tmp_path / 'run', lock):
        place.mkdir()
        log.write_text('of the first')
        with pytest.raises(HeldError, match='run is being written by process'):
            together('0', '0')
    assert place.exists()
    assert log.read_text() == 'of the first'
    assert together('0', '0') == 0


@needs_torch
def test_one_process_and_the_first_of_several_exclude_each_other(start_tool, database, tmp_path):
    with held(tmp_path / 's', 'train_net.lock'):
        for shard in ((), ('--num_shards=2', '--shard_id=0', '--run_id=r')):
            done = start_tool(
                'tools/train_net.py', f'--train_data={database}', *FLAGS, *shard,
                '--file_store_path=s',
            )  # fmt: skip
            assert (done.returncode, done.stdout) == (1, '')
            assert 's is being written by process' in done.stderr


@pytest.mark.parametrize(
    ('dies', 'status', 'said'),
    [
        ("import sys; sys.exit('no more memory')", 1, '(exit status 1): no more memory ('),
        ('import os, signal; os.kill(os.getpid(), signal.SIGKILL)', 137, '(signal 9): it said not'),
        ('import sys; sys.exit(3)', 3, '(exit status 3): it said nothing'),
    ],
)
def test_one_that_dies_ends_all(together, tmp_path, caplog, dies, status, said):
    endless = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))"
    endless += '\ntime.sleep(600)'
    assert together(endless, endless, dies) == status
    (record,) = caplog.records
    assert f'process 2 of 3 ended {said}' in record.getMessage()
    pid = (tmp_path / 'pid').read_text()
    assert not pid or not os.path.exists(f'/proc/{pid}/cmdline')  # noqa: PTH110


def test_the_first_one_is_not_blamed_for_another(together, tmp_path, caplog):
    """It fails as soon as its neighbour has gone, and may be seen first."""
    flag = tmp_path / 'gone'
    waits = f'import pathlib, sys, time\nwhile not pathlib.Path({str(flag)!r}).exists():\n'
    waits += ' time.sleep(0.01)\nsys.exit(1)'
    dies = f"import pathlib, sys; pathlib.Path({str(flag)!r}).touch(); sys.exit('the reason')"
    assert together(waits, dies) == 1
    assert 'process 1 of 2 ended (exit status 1): the reason' in caplog.records[0].getMessage()


def test_what_a_killed_run_left_is_not_in_the_way(together, tmp_path):
    place = tmp_path / 'run' / 'r_rendezvous'
    place.mkdir(parents=True)
    (place / 'machine_0').touch()
    code = f'import pathlib, sys; sys.exit(pathlib.Path({str(place)!r}).exists())'
    assert together(code, code) == 0
    place.mkdir()
    assert together(code, code, machine=Shard(0, 2)) == 1  # other machines may be there
    assert place.exists()


@needs_torch
def test_processes_of_one_command_are_replicas(database, tmp_path, run_tool):
    arguments = [TOOL, f'--train_data={database}', *FLAGS, f'--file_store_path={tmp_path / "s"}']
    commands = rank_arguments(arguments, [['--cpu_replicas=1']] * 2, Shard())
    assert run_together(commands, folder=tmp_path / 's', run_id='r2plus1d', machine=Shard()) == 0
    alone = run_tool(
        'tools/train_net.py', f'--train_data={database}', *FLAGS, '--cpu_replicas=2',
        '--file_store_path=a',
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    assert_same_training(tmp_path / 's' / LAST, tmp_path / 'a' / LAST)


@needs_torch
def test_several_gpus_are_refused_as_one_line_where_there_are_none(start_tool, database):
    done = start_tool('tools/train_net.py', f'--train_data={database}', *FLAGS, '--gpus=0,1')
    assert (done.returncode, done.stdout) == (1, '')
    # The first one has said it above, if it ends before the other.
    said = r'train_net\.py: gpus is .*; PyTorch sees no GPUs here'
    assert re.search(said, done.stderr), done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.search(rf'of 2 ended \(exit status 1\): ({said}|what it said is above)', last)
    assert 'Traceback' not in done.stderr


def torchrun_variables(rank, count, port):
    own = {'RANK': rank, 'WORLD_SIZE': count, 'LOCAL_RANK': rank, 'MASTER_PORT': port}
    texts = {name: str(value) for name, value in own.items()}
    return {**os.environ, **texts, 'MASTER_ADDR': '127.0.0.1', 'GLOO_SOCKET_IFNAME': 'lo'}


def free_port():
    with socket.create_server(('127.0.0.1', 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def run_ranks(database, tmp_path):
    """Return a function that runs a process for each folder, as torchrun does."""

    def run(*folders):
        port = free_port()
        command = [sys.executable, TOOL, f'--train_data={database}', *FLAGS]
        processes = [
            subprocess.Popen(
                [*command, f'--file_store_path={folder}'], cwd=tmp_path, text=True,
                env=torchrun_variables(rank, len(folders), port),
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
            for rank, folder in enumerate(folders)
        ]  # fmt: skip
        printed = [process.communicate(timeout=300) for process in processes]
        return [process.returncode for process in processes], printed

    return run


@needs_torch
def test_torchruns_variables_say_which_process_it_is(database, tmp_path, run_tool, run_ranks):
    statuses, ((first, log), (second, other_log)) = run_ranks('t', 't')
    assert statuses == [0, 0], log + other_log
    assert (first, second) == (f't/{LAST}\n', '')
    assert not list((tmp_path / 't').glob('*_rendezvous'))
    alone = run_tool(
        'tools/train_net.py', f'--train_data={database}', *FLAGS, '--cpu_replicas=2',
        '--file_store_path=a',
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    assert_same_training(tmp_path / 't' / LAST, tmp_path / 'a' / LAST)


@needs_torch
@pytest.mark.parametrize(
    ('change', 'flags', 'message'),
    [
        ({'MASTER_PORT': 'x'}, (), "RANK is set, and MASTER_PORT is 'x'"),
        ({'LOCAL_RANK': ''}, (), "RANK is set, and LOCAL_RANK is ''"),
        ({'MASTER_ADDR': ''}, (), 'RANK is set, and MASTER_ADDR is not'),
        ({}, ('--num_shards=2',), 'num_shards and shard_id do not go with RANK'),
        ({'LOCAL_RANK': '1'}, ('--gpus=0',), 'LOCAL_RANK is 1, and there are 1 GPUs in gpus'),
        ({}, ('--gpus=GPU-1',), 'gpus is GPU-1; training takes numbers'),
        ({'RANK': '2'}, (), 'shard_id is 2; with 2 shards 0 to 1'),
    ],
)
def test_torchruns_variables_that_are_wrong(
    database, run_tool, monkeypatch, change, flags, message
):
    for name, value in {**torchrun_variables(0, 2, 1), **change}.items():
        monkeypatch.setenv(name, value)
    done = run_tool('tools/train_net.py', f'--train_data={database}', *FLAGS, *flags)
    assert (done.returncode, done.stdout) == (1, '')
    assert message in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


@needs_torch
def test_what_goes_wrong_after_the_meeting_has_its_own_name():
    from r2plus1d.backends.pytorch import ranks

    address = '127.0.0.1', free_port()
    settings = types.SimpleNamespace(shard=Shard(0, 1), address=address)
    with pytest.raises(BackendError, match='^too little memory$'), ranks._open_store(settings):
        raise BackendError('too little memory')
