"""The bundled sample: small videos of synthetic motion and the lists that name them.

    DIR/labels.txt               the classes, one a line
    DIR/test_list.csv            org_video,label,video_id
    DIR/videos/test/left_000.mp4

A video follows from (seed, split, number) and its class. The eight videos of a number begin with
the same frame and differ in nothing but motion: size, rate, codec, length, object, background and
camera are the same. What they look like is therefore no help, in training either.
"""

import csv
import io
import json
import os
import pathlib
import time
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Callable, Optional

import numpy as np

from r2plus1d.datasets import synthetic
from r2plus1d.results.complete import CSV_FILE, complete_file
from r2plus1d.video.encode import write_video

Watch = Callable[[Iterable[Any], int], Iterable[Any]]

VIDEOS_PER_CLASS = {'test': 5, 'train': 80}
SPLITS = tuple(VIDEOS_PER_CLASS)

REVISION = 1  # of what is drawn and how it is encoded: raise it and samples are made anew

SIZES = ((320, 240), (240, 320), (426, 240), (176, 144), (352, 288))
RATES = (25, 30, 15, 24)
ENCODINGS = (  # suffix, codec, options
    ('.mp4', 'libx264', {'preset': 'veryfast', 'crf': 23, 'movflags': 'faststart'}),
    ('.avi', 'mpeg4', {'qmin': 6, 'qmax': 6, 'g': 24}),
    ('.mkv', 'libx264', {'preset': 'veryfast', 'crf': 23, 'g': 30}),
)
SECONDS = (2, 4)
MIN_FRAMES = 40

MAX_THREADS = 8
LEFTOVER_SECONDS = 600  # a partial file this old belongs to no run


def create_split(
    output: pathlib.Path,
    split: str,
    *,
    seed: int = 0,
    videos_per_class: Optional[int] = None,
    watch: Optional[Watch] = None,
) -> int:
    """Make the videos of a split that are missing, then its list and the labels.

    Args:
        output: directory, a pathlib.Path.
        split: 'test' or 'train'; they share no video.
        seed: another seed replaces all videos of the split.
        videos_per_class: None takes VIDEOS_PER_CLASS.
        watch: wraps (iterable of videos as they are finished, how many), such as a progress bar.

    Returns:
        The number of videos in the list.
    """
    count = VIDEOS_PER_CLASS[split] if videos_per_class is None else videos_per_class
    folder = output / 'videos' / split
    folder.mkdir(parents=True, exist_ok=True)
    _discard_others(folder, {'revision': REVISION, 'seed': seed})
    videos = [(label, number) for number in range(count) for label in synthetic.CLASSES]
    paths = [folder / video_name(*video) for video in videos]
    missing = [(path, *video) for path, video in zip(paths, videos) if not path.exists()]
    _write_all(missing, seed, split, watch or (lambda finished, count: finished))
    _write_text(output / 'labels.txt', ''.join(f'{label}\n' for label in synthetic.CLASSES))
    _write_text(output / f'{split}_list.csv', _list(paths, videos))
    return len(videos)


def video_name(label: str, number: int) -> str:
    return f'{label}_{number:03d}{ENCODINGS[number % len(ENCODINGS)][0]}'


def video_scene(label: str, number: int, *, seed: int, split: str) -> tuple[synthetic.Scene, int]:
    """(Scene, frames a second) of a video of the sample."""
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), number])
    rate = RATES[number % len(RATES)]
    num_frames = max(MIN_FRAMES, round(rate * rng.uniform(*SECONDS)))
    size = SIZES[number % len(SIZES)]
    return synthetic.make_scene(label, rng, size=size, num_frames=num_frames), rate


def _write(path, label, number, *, seed, split):
    scene, rate = video_scene(label, number, seed=seed, split=split)
    _, codec, options = ENCODINGS[number % len(ENCODINGS)]
    write_video(path, synthetic.render(scene), fps=rate, codec=codec, options=options)


def _write_all(missing, seed, split, watch):
    if not missing:
        return
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as pool:
        jobs = [pool.submit(_write, *video, seed=seed, split=split) for video in missing]
        try:
            for job in watch(as_completed(jobs), len(jobs)):
                job.result()
        finally:
            for job in jobs:
                job.cancel()


def _discard_others(folder, settings):
    """Remove the videos that other settings made, and what killed runs left."""
    for partial in folder.glob('.*.partial'):
        if time.time() - partial.stat().st_mtime > LEFTOVER_SECONDS:
            partial.unlink()
    marker, text = folder / 'settings.json', json.dumps(settings) + '\n'
    if marker.exists() and marker.read_text() == text:
        return
    for label in synthetic.CLASSES:
        for path in folder.glob(f'{label}_[0-9][0-9][0-9]*.*'):
            path.unlink()
    _write_text(marker, text)  # last: a run killed before it discards them again


def _list(paths, videos):
    text = io.StringIO()
    rows = csv.writer(text, lineterminator='\n')
    rows.writerow(['org_video', 'label', 'video_id'])
    for video_id, (path, (label, _)) in enumerate(zip(paths, videos)):
        rows.writerow([path.resolve(), synthetic.CLASSES.index(label), video_id])
    return text.getvalue()


def _write_text(path, text):
    if path.exists() and path.read_text('utf-8', 'surrogateescape') == text:
        return
    with complete_file(path, 'w', private=True, **CSV_FILE) as file:
        file.write(text)
