"""How long a run in shards takes on many workers, by simulation, and what breaks first.

    .venv/bin/python benchmarks/cluster_simulation.py
    .venv/bin/python benchmarks/cluster_simulation.py --videos=240000 --workers=8,64 \\
        --shards_per_worker=4,40

A worker takes the next shard when it is free. It loads its network and what is known of all videos,
and works through the shard's videos. The time of a video varies, some workers are slow, and each
worker dies from time to time: then the shard waits to be queued again and goes on where it was. All
workers read from one storage. First the records are seen once by one worker; at the end the shards
are merged by one. Nothing is measured here: the rates are arguments.
"""

import dataclasses
import heapq

import numpy as np

from r2plus1d.cli import command_line, flag_types
from r2plus1d.cli.main import run

SIMULATION = {
    'videos': (flag_types.integers, [10**4, 10**6, 10**8], 'numbers of videos, between commas'),
    'workers': (flag_types.integers, [1, 100, 10**4], 'numbers of workers, between commas'),
    'shards_per_worker': (flag_types.integers, [40], 'shards for each worker, between commas'),
    'video_rate': (flag_types.number, 1.86, 'videos per second of a worker'),
    'spread': (flag_types.number, 1.0, "standard deviation of a video's time over its mean"),
    'slow_share': (flag_types.number_from_0, 0.02, 'share of workers that are slow'),
    'slow_factor': (flag_types.number, 3.0, 'times that a slow worker takes'),
    'days_to_failure': (flag_types.number, 100.0, 'mean days until a worker dies'),
    'requeue_seconds': (flag_types.number, 300.0, 'until a shard of a dead worker goes on'),
    'start_seconds': (flag_types.number, 20.0, 'until a process has its network'),
    'video_mb': (flag_types.number, 1.0, 'size of a video'),
    'storage_mb': (flag_types.number, 5000.0, 'MB per second of the shared storage'),
    'scan_rate': (flag_types.number, 20000.0, 'records per second that are seen once at the start'),
    'load_rate': (flag_types.number, 5e6, 'of these per second, when a shard starts'),
    'row_kb': (flag_types.number, 20.0, 'features of a video'),
    'merge_mb': (flag_types.number, 300.0, 'MB of features merged per second'),
    'memory_bytes': (flag_types.number, 110.0, 'bytes of each process for each record'),
    'memory_gb': (flag_types.number, 8.0, 'memory of a process'),
    'seed': (flag_types.integer(0), 0, 'of the random choices'),
}
COLUMNS = ('videos', 'workers', 'shards', 'hours', 'of the best', 'most is lost by', 'share lost')


@dataclasses.dataclass(frozen=True)
class Estimate:
    """One simulated run; all times are in seconds.

    Attributes:
        total: from the first start to the merged output.
        best: what the workers would take if nothing but the videos took time.
        lost: {what: seconds by which it makes the run longer}.
        fits: whether what is known of all records fits into a process.
    """

    shards: int
    total: float
    best: float
    lost: 'dict[str, float]'
    fits: bool


def main():
    args = command_line.parse(__doc__, SIMULATION)
    print('| ' + ' | '.join(COLUMNS) + ' |')
    print('|' + '---|' * len(COLUMNS))
    for videos in args.videos:
        for workers in args.workers:
            for each in args.shards_per_worker:
                print(row(videos, workers, simulate(args, videos, workers, each)), flush=True)


def simulate(args, videos, workers, shards_per_worker):
    """Return the Estimate of one run.

    Args:
        args: with the names of SIMULATION.
    """
    random = np.random.default_rng(args.seed)
    shards = max(1, min(videos, workers * shards_per_worker))
    active = min(workers, shards)
    sizes = np.diff(videos * np.arange(shards + 1) // shards)
    seconds = video_seconds(args, sizes, random)
    slow = np.where(random.random(active) < args.slow_share, args.slow_factor, 1.0)
    start = args.start_seconds + videos / args.load_rate
    ends, starts, failures = work_through(args, seconds, slow, start, random)
    last, mean = ends.max(), ends.mean()
    reading = videos * args.video_mb / args.storage_mb
    scan, merge = videos / args.scan_rate, videos * args.row_kb / 1000 / args.merge_mb
    lost = {
        'the first look at all records': scan,
        'starts of shards': starts / active,
        'dead workers': failures / active,
        'slow workers': float(seconds.sum() * (slow.mean() - 1)) / active,
        'waiting for the last shard': last - mean,
        'the storage': max(0.0, reading - last),
        'merging': merge,
    }
    best = videos / args.video_rate / workers
    fits = videos * args.memory_bytes <= args.memory_gb * 1e9
    return Estimate(shards, scan + max(last, reading) + merge, best, lost, fits)


def video_seconds(args, sizes, random):
    """Seconds of each shard's videos on a usual worker: sums of gamma-distributed times."""
    variance = args.spread**2
    return random.gamma(sizes / variance, variance / args.video_rate)


def work_through(args, seconds, slow, start, random):
    """Give each shard to the worker that is free first.

    Args:
        seconds: of each shard on a usual worker.
        slow: by how much each worker takes longer.
        start: seconds until a process begins with a shard.

    Returns:
        (when each worker ends, seconds of all starts, seconds lost by workers that died).
    """
    free = [(0.0, worker) for worker in range(len(slow))]
    rate, starts, lost = 1 / (args.days_to_failure * 86400), 0.0, 0.0
    for work in seconds:
        now, worker = heapq.heappop(free)
        took = start + work * slow[worker]
        deaths = random.poisson(took * rate)
        delay = deaths * (args.requeue_seconds + start)
        starts, lost = starts + start, lost + delay
        heapq.heappush(free, (now + took + delay, worker))
    return np.array([end for end, _ in free]), starts, lost


def row(videos, workers, found):
    """A line of the table."""
    what, seconds = max(found.lost.items(), key=lambda pair: pair[1])
    if not found.fits:
        what += '; the memory of a process'
    cells = (
        f'{videos:,}', f'{workers:,}', f'{found.shards:,}', f'{found.total / 3600:.3g}',
        f'{min(1.0, found.best / found.total):.0%}', what, f'{seconds / found.total:.0%}',
    )  # fmt: skip
    return '| ' + ' | '.join(cells) + ' |'


if __name__ == '__main__':
    run(main)
