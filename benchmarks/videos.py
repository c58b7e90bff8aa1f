"""The videos that the benchmarks generate, and databases of them or of their clips."""

import os

import numpy as np

from r2plus1d.datasets.database_writer import DatabaseWriter
from r2plus1d.datasets.record import Record
from r2plus1d.datasets.synthetic import CLASSES, make_scene, render
from r2plus1d.video.encode import write_video

LABEL = (0,)


def write_videos(folder, count, *, size, num_frames, fps):
    """Write so many videos, each with its number as seed; return their paths."""
    paths = [folder / f'{number}.mp4' for number in range(count)]
    for number, path in enumerate(paths):
        rng, label = np.random.default_rng(number), CLASSES[number % len(CLASSES)]
        scene = make_scene(label, rng, size=size, num_frames=num_frames)
        write_video(path, render(scene), fps=fps, options={'crf': 20})
    return paths


def write_database(path, videos):
    """Write a database that holds the videos themselves; return its path."""
    return write_records(path, [Record(video.read_bytes(), LABEL) for video in videos])


def write_clip_database(path, clips):
    """Write a database of clips (path of a video, start frame, video id); return its path."""
    return write_records(path, [Record(os.fsencode(v), LABEL, s, i) for v, s, i in clips])


def write_records(path, records):
    with DatabaseWriter(path, len(records)) as writer:
        for record in records:
            writer.add(record)
    return path
