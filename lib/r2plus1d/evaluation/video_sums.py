"""Sums over the clips of each video, and what they say about it; a video is known by its id."""

import pathlib
from typing import Any, Optional

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.evaluation.predictions import VideoScores
from r2plus1d.features.read import FeatureFile


class VideoSums:
    """Running sums of the clips' probabilities, one row for each distinct video id.

    They are added one after another in float64, so that they depend, to the last bit, only on the
    order of the rows, and not on the files that these are in.

    Attributes:
        clips: rows met, over all videos.
        clips_right: those of them whose most probable class is the label.
    """

    def __init__(self) -> None:
        self.clips = self.clips_right = 0
        self._paths: list[pathlib.Path] = []
        self._rows: dict[int, int] = {}  # video id: row of _table
        self._table: Any = None  # as `table`, with rows to spare; None before the first file

    def __len__(self) -> int:
        """Distinct videos."""
        return len(self._rows)

    @property
    def num_labels(self) -> Optional[int]:
        """Classes of the files added; None before the first."""
        return None if self._table is None else self._table['sums'].shape[1]

    @property
    def table(self) -> np.ndarray:
        """A structured array, one entry a video, ascending by video id.

        Its fields: video_id, label, clips, clips_right, summed (clips in the sums), all int64;
        sums, float64 (num_labels,); file, the number of the file in which the video was first met.
        """
        if self._table is None:
            raise InputError('no feature file was added')
        table = self._table[: len(self)]
        return table[np.argsort(table['video_id'])]

    @property
    def clip_accuracy(self) -> float:
        """Share of right clips among all, also with `max_clip`; 0 before any."""
        return self.clips_right / self.clips if self.clips else 0.0

    def add(self, file: FeatureFile, max_clip: int = 0) -> None:
        """Add the clips of a FeatureFile, of each video `max_clip` at most over all files; 0: all.

        Raises:
            InputError: a video with two labels, or other classes than before; nothing is added.
        """
        ids, first, of_clip = np.unique(file.video_ids, return_index=True, return_inverse=True)
        self._require_same_classes(file)
        _require_one_label(file, first[of_clip])
        self._require_known_labels(file, ids, file.labels[first])
        rows = self._rows_of(file, ids, file.labels[first])
        kept = np.ones(len(of_clip), bool)
        if max_clip:
            kept = _place_in_video(of_clip) < max_clip - self._table['summed'][rows][of_clip]
        right = self._sum(file, rows[of_clip], kept)
        self._table['clips'][rows] += np.bincount(of_clip)
        self._table['clips_right'][rows] += np.bincount(of_clip[right], minlength=len(ids))
        self._table['summed'][rows] += np.bincount(of_clip[kept], minlength=len(ids))
        self.clips += len(right)
        self.clips_right += int(right.sum())

    def _require_same_classes(self, file):
        if self.num_labels not in (None, file.num_labels):
            raise InputError(
                f'{file.path}: softmax has {file.num_labels} classes; '
                f'that of {self._paths[0]} has {self.num_labels}'
            )

    def _require_known_labels(self, file, ids, labels):
        rows = np.array([self._rows.get(video_id, -1) for video_id in ids.tolist()])
        known = np.flatnonzero(rows >= 0)
        if not len(known):
            return
        before = self._table['label'][rows[known]]
        wrong = np.flatnonzero(before != labels[known])
        if len(wrong):
            i = known[wrong[0]]
            raise InputError(
                f'video {ids[i]} has label {before[wrong[0]]} in '
                f'{self._paths[self._table["file"][rows[i]]]} and label {labels[i]} in {file.path}'
            )

    def _rows_of(self, file, ids, labels):
        """The rows of the videos `ids`, new ones for those that are not known."""
        rows = [self._rows.setdefault(video_id, len(self._rows)) for video_id in ids.tolist()]
        rows = np.array(rows)
        self._grow(file.num_labels)
        self._paths.append(file.path)
        new = self._table['clips'][rows] == 0
        self._table['video_id'][rows[new]] = ids[new]
        self._table['label'][rows[new]] = labels[new]
        self._table['file'][rows[new]] = len(self._paths) - 1
        return rows

    def _grow(self, num_labels):
        """Have a row for each video; at least twice as many as before, so that copies are few."""
        if self._table is None:
            counts = ('video_id', 'label', 'file', 'clips', 'clips_right', 'summed')
            fields = [(name, np.int64) for name in counts]
            self._table = np.zeros(0, [*fields, ('sums', np.float64, (num_labels,))])
        if len(self._table) < len(self):
            grown = np.zeros(max(len(self), 2 * len(self._table)), self._table.dtype)
            grown[: len(self._table)] = self._table
            self._table = grown

    def _sum(self, file, rows, kept):
        """Add clip i, if it is kept, to the sums of row rows[i]; return which clips are right."""
        right = np.empty(len(rows), bool)
        for block in file.blocks():
            softmax = np.asarray(file.softmax[block], np.float64)
            right[block] = softmax.argmax(axis=1) == file.labels[block]
            met, of_clip = np.unique(rows[block][kept[block]], return_inverse=True)
            sums = self._table['sums'][met]
            self._table['sums'][met] = _added(sums, softmax[kept[block]], of_clip)
        return right

    def scores(self) -> VideoScores:
        """The sums as VideoScores, ascending by video id."""
        table = self.table
        counts = {name: table[name] for name in ('clips_right', 'clips')}
        return VideoScores(
            table['video_id'], table['label'], table['sums'], table['summed'], counts
        )


def _require_one_label(file, first):
    """first[i]: the first row of the video of row i."""
    wrong = np.flatnonzero(file.labels != file.labels[first])
    if len(wrong):
        row, other = wrong[0], first[wrong[0]]
        raise InputError(
            f'{file.path}: video {file.video_ids[row]} has label {file.labels[other]} '
            f'in row {other} and label {file.labels[row]} in row {row}'
        )


def _place_in_video(of_clip):
    """How many rows before each are of the same video: [4, 7, 4, 4] -> [0, 0, 1, 2]."""
    order = np.argsort(of_clip, kind='stable')
    counts = np.bincount(of_clip)
    place = np.empty(len(of_clip), np.int64)
    place[order] = np.arange(len(of_clip)) - np.repeat(np.cumsum(counts) - counts, counts)
    return place


def _added(sums, softmax, of_clip):
    """`sums` (V x C) with softmax[i] (of N x C) added to row of_clip[i], one after another."""
    into = np.concatenate([np.arange(len(sums)), of_clip])
    terms = np.concatenate([sums, softmax])
    columns = [np.bincount(into, weights=column, minlength=len(sums)) for column in terms.T]
    return np.stack(columns, axis=1)
