"""What a network says of each frame of a video: of the clip whose middle is nearest."""

from collections.abc import Sequence

import numpy as np

from r2plus1d.errors import InputError
from r2plus1d.evaluation.video_classes import Prediction
from r2plus1d.networks.input import Input
from r2plus1d.pictures.activation_maps import spread


class Tracks:
    """Probabilities over time.

    Args:
        prediction: with clips, one of which did not fail at least.
        classes: numbers of the classes that are followed.
        required: frames from a clip's first to its last.

    Attributes:
        clips: the ClipPredictions that did not fail, in the order of their first frames.
    """

    def __init__(self, prediction: Prediction, classes: Sequence[int], required: int) -> None:
        good = [clip for clip in prediction.clips if clip.failure is None]
        if not good:
            raise InputError(f'the prediction of {prediction.path} has no clips')
        self.clips = sorted(good, key=lambda clip: clip.start_frame)
        middles = np.array([clip.start_frame + (required - 1) / 2 for clip in self.clips])
        self._borders = (middles[1:] + middles[:-1]) / 2
        self._values = np.stack([clip.probabilities[list(classes)] for clip in self.clips])

    def nearest(self, index: int) -> int:
        """Return the number, in `clips`, of the one whose middle is nearest to a frame."""
        return int(np.searchsorted(self._borders, index))

    def at(self, index: int) -> np.ndarray:
        """Return the probabilities of the classes at a frame, float32 (classes,)."""
        return self._values[self.nearest(index)]


class Heat:
    """The activation map of one class over time, from 0 to 1 over the whole video.

    Where a class is not among the best ones of a clip it has no map, and nothing is shown.

    Args:
        prediction: with maps.
        label: number of the class.
        given: what the network is given.
        tracks: Tracks of the prediction.

    Raises:
        InputError: a prediction without maps.
    """

    def __init__(self, prediction: Prediction, label: int, given: Input, tracks: Tracks) -> None:
        if not any(clip.maps for clip in tracks.clips):
            raise InputError(f'the prediction of {prediction.path} has no maps: predict(maps=True)')
        self._label, self._given, self._tracks = label, given, tracks
        maps = [clip.maps[label] for clip in tracks.clips if label in clip.maps]
        self._most = max((float(cells.max()) for cells in maps), default=0)

    def at(self, index: int, shape: Sequence[int]) -> np.ndarray:
        """Return the map of a frame of this shape (H, W, ...): float32 (H, W), 0 to 1."""
        height, width = shape[:2]
        clip = self._tracks.clips[self._tracks.nearest(index)]
        if self._label not in clip.maps or self._most <= 0:
            return np.zeros((height, width), np.float32)
        maps = clip.maps[self._label]
        moment = (index - clip.start_frame) / self._given.rate * maps.shape[1] / self._given.length
        cells = maps[:, int(np.clip(moment, 0, maps.shape[1] - 1))]
        return spread(np.maximum(cells, 0) / self._most, self._given, (width, height))
