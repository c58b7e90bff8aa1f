"""The records of one video together: it is decoded once for all of them."""

import array
import contextlib
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from r2plus1d.datasets.record import decode
from r2plus1d.errors import RecordError
from r2plus1d.sources.file_state import FileState, describe_state, look_at
from r2plus1d.sources.sample import Sample, with_clips
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.prefetch import prefetch_streams
from r2plus1d.video.start_clips import Start, starting_clips

READY_BYTES = 256 << 20  # of clips that wait for the network
NO_START = -1
MISSING = FileState(-1, -1)


class Scan(NamedTuple):
    """What is known of records once each of them has been read.

    Attributes:
        groups: int64 (records,), the number of each one's video, in the order of first meeting.
        starts: int64 (records,), start frames; NO_START for a record that has none.
        identity: text that differs if the records do, or the files whose paths they hold.
        states: int64 (videos, 2), the FileState of each video's file, MISSING where none is.
    """

    groups: np.ndarray
    starts: np.ndarray
    identity: str
    states: np.ndarray

    def state_of(self, record: int) -> Optional[FileState]:
        """What was seen of the file of a record, None if there was none."""
        state = FileState(*self.states[self.groups[record]].tolist())
        return None if state == MISSING else state


def scan(records: Iterable[tuple[int, str, bytes]], count: int, use_local_file: bool) -> Scan:
    """Read every record, and see which are of one video: the same path, or the same bytes.

    Args:
        records: (index, key, value) of each one.
        count: number of records.
        use_local_file: they hold paths of videos.
    """
    numbers: dict[Any, int] = {}
    digest, states, is_without_file = hashlib.blake2b(digest_size=16), array.array('q'), False
    groups = np.empty(count, np.int64)
    starts = np.full(count, NO_START, np.int64)
    for index, key, value in records:
        digest.update(b'%d %d ' % (len(key), len(value)))
        digest.update(key.encode('utf-8', 'surrogateescape') + value)
        video, starts[index], path = _video_and_start(value, index, use_local_file)
        groups[index] = numbers.setdefault(video, len(numbers))
        state, is_new = None, 2 * len(numbers) > len(states)
        if is_new:
            state = look_at(path)
            states.extend(state or MISSING)
        if is_new if path is not None else not is_without_file:
            digest.update(describe_state(path, state).encode())
            is_without_file |= path is None
    return Scan(groups, starts, digest.hexdigest(), np.array(states, np.int64).reshape(-1, 2))


def are_of_one_video(one: bytes, other: bytes, use_local_file: bool) -> bool:
    """Whether two neighbouring records, as a database stores them, are of one video."""
    videos = [_video_and_start(value, i, use_local_file)[0] for i, value in enumerate((one, other))]
    return videos[0] == videos[1]


def _video_and_start(value, index, use_local_file):
    """(what tells a record's video from others, its start frame, path of the video or None)."""
    try:
        record = decode(value)
    except RecordError:
        return index, NO_START, None  # of no video; it fails when its turn comes
    start = NO_START if record.start_frame is None else record.start_frame
    path = record.video if use_local_file else None
    return hashlib.blake2b(record.video, digest_size=16).digest(), start, path


def next_change(groups: np.ndarray, place: int) -> int:
    """[5, 5, 5, 7], 1 -> 3: the first place from `place` on that differs from the one before."""
    changes = np.flatnonzero(groups[place:] != groups[place - 1 : -1])
    return place + int(changes[0]) if len(changes) else len(groups)


def grouped_samples(
    groups: Sequence[Sequence[int]],
    open_group: Callable[[Sequence[int]], tuple[list[Sample], Any]],
    settings: ClipSettings,
    *,
    threads: int,
    batch: int,
) -> Iterator[Sample]:
    """Yield the Samples of groups of records, each of one video, decoded ahead in threads.

    Args:
        groups: lists of record numbers.
        open_group: from such a list to ([Sample without clips], source of their video).
        settings: ClipSettings whose clips begin at given frames.
        threads, batch: see DatabaseSource.samples.
    """
    mean = max(1, sum(map(len, groups)) // max(1, len(groups)))
    streams = threads + -(-batch // mean)
    side, kind = settings.crop_size, np.float32 if settings.flow else np.uint8
    numbers = settings.rows * settings.channels * settings.length * side * side
    ready = READY_BYTES // (numbers * np.dtype(kind).itemsize * streams)
    tasks = ((group, open_group, settings) for group in groups)
    yield from prefetch_streams(
        _read_group, tasks, threads=threads, streams=streams, ahead=min(max(1, ready), batch)
    )


def _read_group(group, open_group, settings):
    samples, source = open_group(group)
    usable = [sample for sample in samples if sample.failure is None]
    starts = [Start(sample.index, sample.start_frame) for sample in usable]
    with contextlib.closing(_made(source, settings, starts)) as made:
        for sample in samples:
            if sample.failure is None:
                start, clips, failure = next(made)
                assert start.index == sample.index
                sample = (
                    dataclasses.replace(sample, failure=failure)
                    if failure
                    else with_clips(sample, clips)
                )
            yield sample


def _made(source, settings, starts):
    """What starting_clips yields; if its process is lost, the clips that are left fail."""
    num_made = 0
    clips = DECODERS.stream(settings.budget, starting_clips, source, settings, starts)
    try:
        with contextlib.closing(clips):
            for made in clips:
                num_made += 1
                yield made
    except RecordError as error:
        for start in starts[num_made:]:
            yield start, None, error.reason
