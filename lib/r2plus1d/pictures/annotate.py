"""A video with what a network says of it: the best classes with bars, and where the evidence is."""

import itertools
import logging
import os
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Optional, Union

import numpy as np

from r2plus1d.errors import InputError, RecordError
from r2plus1d.evaluation.metrics import rank
from r2plus1d.evaluation.video_classes import Prediction
from r2plus1d.model import Model
from r2plus1d.pictures.drawing import Layout, Panel, blend, turn
from r2plus1d.pictures.lettering import require_matplotlib
from r2plus1d.pictures.tracks import Heat, Tracks
from r2plus1d.results.complete import complete_path, require_new, require_place
from r2plus1d.video.budget import DEFAULT_BUDGET, Budget
from r2plus1d.video.clip_settings import ClipSettings
from r2plus1d.video.decoders import DECODERS
from r2plus1d.video.encode import TimedFrame, write_video
from r2plus1d.video.shown import USUAL_RATE, add_sound, shown_frames

log = logging.getLogger(__name__)

AnyPath = Union[str, 'os.PathLike[str]']
SUFFIXES = ('.mp4', '.mkv', '.mov')
ENCODING = {'preset': 'veryfast', 'crf': 20}


def annotate(
    model: Model,
    prediction: Prediction,
    output: AnyPath,
    *,
    heatmap: bool = False,
    overwrite: bool = False,
    budget: Budget = DEFAULT_BUDGET,
) -> pathlib.Path:
    """Write the video of a Prediction with its best classes under it; its sound is kept.

    Under each frame stand the best classes of the video, and bars of the probabilities that the
    nearest clip gives them. Frames keep their times.

    Args:
        model: that made the prediction.
        prediction: of `predict`; with `maps=True` for a heat map.
        output: file to write; its suffix is one of SUFFIXES.
        heatmap: colour the places where the evidence for the video's best class is.
        overwrite: replace a file that is there.
        budget: Budget of decoding.

    Returns:
        The path of the output.

    Raises:
        InputError: an output that cannot be written, a prediction that failed or has no maps.
        RecordError: the video can no longer be read.
    """
    path, source = pathlib.Path(output), pathlib.Path(prediction.path)
    check_output(path, source, overwrite=overwrite)
    if prediction.failure is not None:
        raise InputError(f'{source} has no prediction: {prediction.failure}')
    best = [int(c) for c in rank(prediction.probabilities)[: len(prediction.classes)]]
    required = ClipSettings(**vars(model.input)).required
    tracks = Tracks(prediction, best, required)
    heat = Heat(prediction, best[0], model.input, tracks) if heatmap else None
    names = [str(name) for name, _ in prediction.classes]
    with complete_path(path, private=True) as partial:
        folder = tempfile.TemporaryDirectory(dir=path.parent, prefix='.')
        with folder as silent_folder:
            silent = pathlib.Path(silent_folder) / f'silent{path.suffix.lower()}'
            _draw(silent, source, names, tracks, heat, budget)
            if not _with_sound(silent, source, partial, budget):
                silent.replace(partial)
    return path


def check_output(path: pathlib.Path, source: pathlib.Path, *, overwrite: bool = False) -> None:
    """Raise InputError unless an annotated video of `source` can be written to `path`."""
    require_matplotlib()
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f'annotate is {path}; its name has to end in {", ".join(SUFFIXES)}')
    require_place(path)
    if path.resolve() == source.resolve():
        raise InputError(f'annotate is {path}, the video itself; name another file')
    require_new(path, overwrite)


def annotated_paths(
    target: AnyPath, videos: Sequence[pathlib.Path], *, overwrite: bool = False
) -> list[pathlib.Path]:
    """Return where the annotated video of each of `videos` goes.

    Args:
        target: a file that ends in one of SUFFIXES, for one video; otherwise a folder, in which
            each file has the name of its video, and a number behind it where two have one name.
        overwrite: allow files that are there; never one of `videos`.

    Raises:
        InputError: a file for several videos, or one that cannot be written.
    """
    target = pathlib.Path(target)
    if target.suffix.lower() in SUFFIXES and not target.is_dir():
        if len(videos) > 1:
            raise InputError(
                f'annotate is {target}, one file, and there are {len(videos)} videos: name a folder'
            )
        paths = [target]
    else:
        paths = _in_folder(target, videos)
    inputs = {video.resolve(): video for video in videos}
    for path, video in zip(paths, videos):
        check_output(path, inputs.get(path.resolve(), video), overwrite=overwrite)
    return paths


def _in_folder(folder, videos):
    taken = {}
    for video in videos:
        path, number = folder / f'{video.stem}{SUFFIXES[0]}', 1
        while path in taken:
            number += 1
            path = folder / f'{video.stem}_{number}{SUFFIXES[0]}'
        taken[path] = None
    return list(taken)


def _draw(
    silent: pathlib.Path, source: pathlib.Path, names: Sequence[str], tracks: Tracks,
    heat: Optional[Heat], budget: Budget,
) -> None:  # fmt: skip
    """Write the annotated frames, without sound."""
    frames = DECODERS.stream(budget, shown_frames, source, budget)
    first = next(frames, None)
    if first is None:
        raise RecordError('no frame of it decodes')
    rate = first.rate or USUAL_RATE

    def every() -> Iterator[TimedFrame]:
        layout = Layout.of(first)
        panel = Panel(layout, names)
        for index, frame in enumerate(itertools.chain([first], frames)):
            pixels = (
                blend(frame.pixels, heat.at(index, frame.pixels.shape)) if heat else frame.pixels
            )
            shown = layout.fitted(turn(pixels, frame.turned))
            seconds = index / rate if frame.seconds is None else frame.seconds
            picture = np.concatenate([shown, panel.drawn(tracks.at(index))])
            yield TimedFrame(picture, seconds)

    write_video(silent, every(), fps=rate, options=ENCODING)


def _with_sound(silent, source, target, budget):
    """Write the target with sound; return False, and say why, where there is none to be had."""
    suffix = silent.suffix
    try:
        return DECODERS.call(budget, add_sound, silent, source, target, suffix)
    except RecordError as error:
        log.warning('%s: the annotated video has no sound: %s', source, error.reason)
        return False
