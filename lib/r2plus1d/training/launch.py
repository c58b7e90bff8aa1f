"""One command, several processes that train together: one for each GPU of this machine."""

import contextlib
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Optional

from r2plus1d.devices import Shard
from r2plus1d.errors import printable
from r2plus1d.results.hold import Hold

log = logging.getLogger(__name__)

PAUSE = 0.2  # seconds between two looks at the processes
PATIENCE = 30  # seconds that a process has to end before it is killed
LONGEST_LINE = 2000  # bytes of a log that are read for its last line


def rank_arguments(
    arguments: Sequence[str], of_devices: Sequence[Sequence[str]], machine: Shard
) -> list[list[str]]:
    """Return the command line of each process of this machine: a later flag replaces an earlier.

    Args:
        arguments: the program and what it was given.
        of_devices: the flags of each process's device, such as `--gpus=1`.
        machine: this machine among those that train together.
    """
    count = len(of_devices)
    return [
        [
            *arguments,
            f'--num_shards={machine.count * count}',
            f'--shard_id={machine.index * count + number}',
            *device,
        ]
        for number, device in enumerate(of_devices)
    ]


def hold_folder(folder: pathlib.Path, shard: Shard) -> Hold:
    """Keep other runs out of the folder, but not the other processes of this run.

    The first process of a run writes, whether there are others or not.

    Raises:
        HeldError: another run is under way in the folder.
    """
    process = f'_{shard.index}' if shard.index else ''
    return Hold(folder, folder / f'train_net{process}.lock')


def run_together(
    commands: Sequence[Sequence[str]], *, folder: pathlib.Path, run_id: str, machine: Shard
) -> int:
    """Run the processes until all have ended; the end of one that failed ends the others.

    The first one's output is this process's; the others log to `folder`/rank_N.log, with numbers
    that go on over the machines.

    Args:
        commands: as rank_arguments returns, after the interpreter.
        folder, run_id: of the run.
        machine: this machine among those that train together. If it is the only one, the processes
            talk over the loopback interface, and what an earlier run left of its meeting is
            removed.

    Returns:
        The exit status: 0, or that of the process that failed first.

    Raises:
        HeldError: another such run is under way in the folder.
    """
    environment, is_alone = dict(os.environ), machine.count == 1
    if is_alone:
        environment.setdefault('GLOO_SOCKET_IFNAME', 'lo')
    first = machine.index * len(commands)
    logs = [folder / f'rank_{first + number}.log' for number in range(len(commands))]
    with contextlib.ExitStack() as stack:
        # Before anything of the other run, its meeting or its logs, is touched
        lock = folder / f'{run_id}_launch_{machine.index}.lock'
        stack.callback(Hold(folder, lock).release)
        for number in range(first, first + len(commands)):
            # The processes go on if the one that started them is killed.
            hold_folder(folder, Shard(number, first + len(commands))).release()
        stack.enter_context(_meeting(folder / f'{run_id}_rendezvous', is_alone))
        processes = stack.enter_context(_ended())
        for path, command in zip(logs, commands):
            errors = None if path is logs[0] else stack.enter_context(path.open('wb'))
            processes.append(
                subprocess.Popen([sys.executable, *command], env=environment, stderr=errors)
            )
        failed = _wait(processes)
        if failed is None:
            return 0
        status = processes[failed].returncode
        said = _last_line(logs[failed]) if failed else 'what it said is above'
        log.error('process %d of %d ended (%s): %s', failed, len(commands), _word(status), said)
        return status if status > 0 else 128 - status


@contextlib.contextmanager
def _meeting(place: pathlib.Path, is_alone: bool) -> Iterator[None]:
    """Leave no meeting of processes that are gone."""
    if is_alone:
        shutil.rmtree(place, ignore_errors=True)
    yield
    if is_alone:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def _ended() -> 'Iterator[list[subprocess.Popen[bytes]]]':
    """Give a list of processes, which end with the block at the latest, all at the same time."""
    processes: list[subprocess.Popen[bytes]] = []
    try:
        yield processes
    finally:
        for process in processes:
            process.terminate()
        latest = time.monotonic() + PATIENCE
        for process in processes:
            try:
                process.wait(max(0, latest - time.monotonic()))
            except subprocess.TimeoutExpired:  # one that waits for a GPU heeds no signal
                process.kill()
                process.wait()


def _wait(processes: 'Sequence[subprocess.Popen[bytes]]') -> Optional[int]:
    """Wait for all; return the number of one that failed, None if none did.

    A process whose neighbour is gone fails too. So of several that fail within a moment, it is one
    that a signal ended, or else the last one: the first process is not blamed for another.
    """
    while True:
        states = [process.poll() for process in processes]
        if any(states):
            time.sleep(PAUSE)
            bad = [i for i, process in enumerate(processes) if process.poll()]
            killed = [i for i in bad if processes[i].returncode < 0]
            return (killed or bad)[-1]
        if all(state == 0 for state in states):
            return None
        time.sleep(PAUSE)


def _word(status: int) -> str:
    return f'signal {-status}' if status < 0 else f'exit status {status}'


def _last_line(path: pathlib.Path) -> str:
    """The last line of a log that says something."""
    with path.open('rb') as file:
        file.seek(max(0, path.stat().st_size - LONGEST_LINE))
        lines = file.read().decode(errors='replace').split('\n')
    said = [line.strip() for line in lines if line.strip()]
    return f'{printable(said[-1]) if said else "it said nothing"} ({path})'
