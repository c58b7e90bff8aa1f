"""One record of a database: from its bytes to its clips, or why there are none."""

import dataclasses
import logging
import os
import typing
from collections.abc import Iterator, Sequence

import numpy as np

from r2plus1d.datasets.record import Record, decode, holds_path
from r2plus1d.errors import RecordError
from r2plus1d.sources.file_state import FileState, require_unchanged
from r2plus1d.video.clip import Clips
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.read_clips import read_clips

log = logging.getLogger(__name__)

Seen = tuple[typing.Optional[FileState], ...]  # of a file before: one look, or none


@dataclasses.dataclass(frozen=True)
class RecordNeeds:
    """What a record must hold besides a video.

    Attributes:
        use_local_file: the database holds paths of videos, not videos.
        num_labels: labels are 0 to num_labels - 1; None leaves them unchecked.
        multi_label: a record may have several labels; otherwise it has one.
        video_id: a video id is needed.
    """

    num_labels: typing.Optional[int]
    use_local_file: bool = False
    multi_label: bool = False
    video_id: bool = False


@dataclasses.dataclass(frozen=True)
class Sample:
    """One record: its clips, or why there are none.

    Attributes:
        index: position in the database's order of keys.
        key: the record's key.
        path: of the video file, None for a video stored in the database.
        labels: class indices.
        video_id, start_frame: as stored, or None.
        clips: Clips, or None for a record that failed.
        failure: the reason, or None.
    """

    index: int
    key: str
    path: typing.Optional[str] = None
    labels: tuple[int, ...] = ()
    video_id: typing.Optional[int] = None
    start_frame: typing.Optional[int] = None
    clips: typing.Optional[Clips] = None
    failure: typing.Optional[str] = None

    @property
    def name(self) -> str:
        """How to call it in a message: its key, and its path or video id if it has one."""
        known = self.path or (None if self.video_id is None else f'video {self.video_id}')
        return f'record {self.key}' + (f' ({known})' if known else '')


class SampleSource(typing.Protocol):
    """Samples, each once and in order, and the settings by which they are read."""

    settings: ClipSettings
    needs: RecordNeeds

    def __len__(self) -> int:
        """Number of samples."""

    def __iter__(self) -> Iterator[Sample]:
        """Yield every Sample."""


def read_sample(
    index: int,
    key: str,
    value: bytes,
    settings: ClipSettings,
    needs: RecordNeeds,
    *,
    draw: typing.Optional[int] = None,
    seen: Seen = (),
) -> Sample:
    """Return the Sample of one record; whatever is wrong with it becomes its `failure`.

    Args:
        draw: number that the random choices follow from; `index` if left out.
        seen: as open_record.
    """
    sample, source = open_record(index, key, value, needs, seen)
    if source is None:  # the record failed
        return sample
    draw = index if draw is None else draw
    try:
        clips = DECODERS.call(
            settings.budget, read_clips, source, settings, draw=draw, start_frame=sample.start_frame
        )
    except RecordError as error:
        return dataclasses.replace(sample, failure=error.reason)
    return with_clips(sample, clips)


def open_record(
    index: int, key: str, value: bytes, needs: RecordNeeds, seen: Seen = ()
) -> tuple[Sample, typing.Union[bytes, str, None]]:
    """Return (Sample without clips, bytes or path of its video) of a record.

    Whatever is wrong with the record becomes the Sample's `failure`.

    Args:
        seen: what was seen of its file before, if anything; one that has changed since fails.
    """
    sample = Sample(index, key)
    try:
        record = decode(value)
        path = os.fsdecode(record.video) if needs.use_local_file and holds_path(record) else None
        sample = Sample(index, key, path, record.labels, record.video_id, record.start_frame)
        require_record(record, path, needs)
        if seen:
            require_unchanged(record.video, *seen)
    except RecordError as error:
        return dataclasses.replace(sample, failure=error.reason), None
    return sample, path if needs.use_local_file else record.video


def with_clips(sample: Sample, clips: Clips) -> Sample:
    """Return `sample` with its Clips, and warn of what they had to do without."""
    if clips.num_undecodable:
        log.warning(
            '%s: %d packets or frames are damaged; clips are of what decodes, as in Caffe2',
            sample.name,
            clips.num_undecodable,
        )
    if clips.truncated:
        log.warning('%s: %s; clips are of what is there', sample.name, clips.truncated)
    elif clips.complaint and not clips.num_undecodable:
        log.warning('%s: %s; clips are of what FFmpeg reads', sample.name, clips.complaint)
    return dataclasses.replace(sample, clips=clips)


def require_record(record: Record, path: typing.Optional[str], needs: RecordNeeds) -> None:
    """Raise RecordError if a record lacks what is needed of it.

    Args:
        path: of its video, None if it holds the video itself.
    """
    if needs.use_local_file and path is None:
        raise RecordError('holds a video, not the path of one, which use_local_file is for')
    if not needs.use_local_file and holds_path(record):
        raise RecordError('holds the path of a video, not a video: --use_local_file=1 reads those')
    if not record.labels:
        raise RecordError('no label')
    if len(record.labels) > 1 and not needs.multi_label:
        raise RecordError(f'{len(record.labels)} labels; --multi_label=1 takes several')
    for label in record.labels:
        if needs.num_labels is not None and not 0 <= label < needs.num_labels:
            raise RecordError(f'label {label} is out of range: 0 to {needs.num_labels - 1}')
    if needs.video_id and record.video_id is None:
        raise RecordError('no video id, which get_video_id asks for')


def label_rows(samples: Sequence[Sample], rows: int, needs: RecordNeeds) -> np.ndarray:
    """Return the labels of `samples`, each repeated `rows` times, as the network takes them.

    Returns:
        int32 (len(samples) * rows,), or (len(samples) * rows, num_labels) of 0 and 1.
    """
    if not needs.multi_label:
        labels = np.array([sample.labels[0] for sample in samples], np.int32)
    else:
        assert needs.num_labels is not None
        labels = np.zeros((len(samples), needs.num_labels), np.int32)
        for row, sample in zip(labels, samples):
            row[list(sample.labels)] = 1
    return np.repeat(labels, rows, axis=0)
