"""What a network says of video files: the best classes of each one, and of each of its clips."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Optional, Protocol, Union

import numpy as np

from r2plus1d.errors import InputError, require_integer
from r2plus1d.evaluation.metrics import AGGREGATIONS, rank
from r2plus1d.inference.prediction import predict
from r2plus1d.sources.sample import Sample, SampleSource

Classes = tuple[tuple[Union[str, int], float], ...]
Seconds = tuple[Optional[float], Optional[float]]
NO_MAPS: Mapping[int, np.ndarray] = {}


@dataclasses.dataclass(frozen=True, eq=False)
class ClipPrediction:
    """What a network says of one clip of a video.

    Attributes:
        start_frame: the first frame of the clip, counted from 0.
        seconds: (begin, end) of the clip, each None where the file does not say.
        classes: as Prediction.classes.
        probabilities: float32 (num_labels,), the mean over the crops; empty for a clip that failed.
        failure: why there is no prediction, or None.
        maps: {number of a class of `classes`: float32 (crops, T, H, W)}, its activation map; empty
            where maps were not asked for.
    """

    start_frame: int
    seconds: Seconds
    classes: Classes
    probabilities: np.ndarray = dataclasses.field(repr=False)
    failure: Optional[str] = None
    maps: Mapping[int, np.ndarray] = dataclasses.field(default_factory=dict, repr=False)


@dataclasses.dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says of one video.

    Attributes:
        path: of the video.
        classes: ((name or number of the class, probability), ...), the most probable first.
        probabilities: float32 (num_labels,), over the clips; empty for a video that failed.
        failure: why there is no prediction, or None.
        clips: a ClipPrediction of each clip, in the order of the video; empty for a video of which
            there are no clips.
    """

    path: str
    classes: Classes
    probabilities: np.ndarray = dataclasses.field(repr=False)
    failure: Optional[str] = None
    clips: tuple[ClipPrediction, ...] = dataclasses.field(default=(), repr=False)

    @property
    def seconds(self) -> Seconds:
        """From the begin of the first clip to the end of the last one."""
        good = [clip.seconds for clip in self.clips if clip.failure is None]
        return (good[0][0], max(good, key=_end)[1]) if good else (None, None)


def _end(seconds):
    return -math.inf if seconds[1] is None else seconds[1]


class Mapper(Protocol):
    """Makes activation maps, see pictures.activation_maps.

    Attributes:
        blob: what the network has to give for them.
    """

    blob: str

    def maps(self, values: np.ndarray, classes: Sequence[int]) -> dict[int, np.ndarray]:
        """Return {class: float32 (rows, T, H, W)} from rows of the blob."""


@dataclasses.dataclass(frozen=True)
class PredictionSettings:
    """How the clips of a video become its prediction.

    Attributes:
        batch_size: samples that the engine gets at a time, over all devices.
        top_k: classes of each prediction.
        aggregation: `mean` or `max` over the clips of a video.
        class_names: of the classes, in order; None for numbers.
        mapper: makes the activation maps of the best classes of each clip; None for no maps.

    Raises:
        InputError: a value that is not allowed.
    """

    batch_size: int = 6
    top_k: int = 5
    aggregation: str = 'mean'
    class_names: Optional[Sequence[str]] = None
    mapper: Optional[Mapper] = None

    def __post_init__(self) -> None:
        if self.aggregation not in AGGREGATIONS:
            known = ', '.join(AGGREGATIONS)
            raise InputError(f'aggregation is {self.aggregation}; known: {known}')
        for name in ('top_k', 'batch_size'):
            require_integer(name, getattr(self, name), 1)

    def best(self, probabilities: np.ndarray) -> Classes:
        """Return ((name or number, probability), ...) of the best classes."""
        names = self.class_names or range(len(probabilities))
        return tuple((names[c], float(probabilities[c])) for c in self.best_numbers(probabilities))

    def best_numbers(self, probabilities: np.ndarray) -> list[int]:
        """Return the numbers of the best classes, the most probable first."""
        return [int(c) for c in rank(probabilities)[: self.top_k]]


class _Part(NamedTuple):
    """What one Sample gives: ClipPredictions and their rows, or the reason for having none."""

    clips: tuple[ClipPrediction, ...]
    rows: np.ndarray
    failure: Optional[str] = None


def predict_videos(
    source: SampleSource, engine: Any, settings: PredictionSettings
) -> Iterator[Prediction]:
    """Yield the Prediction of each video of `source`, as soon as it is known.

    Args:
        source: WholeVideos, or VideoFiles, whose samples are clips.
        engine: with its weights; it gives the class probabilities, and the mapper's blob.
    """
    with contextlib.closing(predict(source, engine, batch_size=settings.batch_size)) as predicted:
        parts = (
            (sample.path, _part(sample, outputs, source, engine.network.prediction, settings))
            for sample, outputs in predicted
        )
        for path, group in itertools.groupby(parts, key=lambda part: part[0]):
            yield _joined(str(path), [part for _, part in group], settings)


def _part(
    sample: Sample,
    outputs: Optional[Mapping[str, np.ndarray]],
    source: SampleSource,
    prediction: str,
    settings: PredictionSettings,
) -> _Part:
    nothing = np.empty(0, np.float32)
    if outputs is None or sample.clips is None:
        start, failure = sample.start_frame, sample.failure
        failed = () if start is None else (
            ClipPrediction(start, (None, None), (), nothing, failure),
        )  # fmt: skip
        return _Part(failed, nothing, failure)
    rows, crops = outputs[prediction], source.settings.crops
    clips = []
    for first in range(0, len(rows), crops):
        of_clip = slice(first, first + crops)
        probabilities = rows[of_clip].mean(axis=0)
        begin, end = (None if math.isnan(s) else s for s in sample.clips.seconds[first].tolist())
        maps = _maps(outputs, of_clip, probabilities, settings)
        start = int(sample.clips.starts[first])
        best = settings.best(probabilities)
        clips.append(ClipPrediction(start, (begin, end), best, probabilities, maps=maps))
    return _Part(tuple(clips), rows)


def _maps(outputs, of_clip, probabilities, settings):
    if settings.mapper is None:
        return NO_MAPS
    classes = settings.best_numbers(probabilities)
    return settings.mapper.maps(outputs[settings.mapper.blob][of_clip], classes)


def _joined(path: str, parts: Sequence[_Part], settings: PredictionSettings) -> Prediction:
    clips = tuple(clip for part in parts for clip in part.clips)
    good = [part.rows for part in parts if part.failure is None]
    if not good:
        return Prediction(path, (), np.empty(0, np.float32), parts[0].failure, clips)
    probabilities = AGGREGATIONS[settings.aggregation](np.concatenate(good), axis=0)
    return Prediction(path, settings.best(probabilities), probabilities, None, clips)
